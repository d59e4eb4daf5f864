//! UDP discovery, with the recorded datagrams.

use crate::recording::{self, Places};
use circus_e2e::{Daemon, PATIENCE, TestEnv};
use serde_json::Value;
use std::net::UdpSocket;

#[test]
fn discovery_answers_every_recorded_datagram() {
    let env = TestEnv::new();
    let mut places = Places::new(env.directory().display().to_string());
    let config = recording::folder().join("configs/multicast.ini");
    let text = places.translate(&std::fs::read_to_string(config).expect("a recorded config"));
    std::fs::write(env.path("circus.ini"), text).expect("writable");
    let endpoint = |port| format!("tcp://127.0.0.1:{port}");
    let (control, events) = (endpoint(places.port(21_555)), endpoint(places.port(21_556)));
    let circusd = Daemon::spawn(env.command(), control, events, env.path("circusd.log"));
    circusd.wait_for_answer();
    let lines = recording::lines("multicast.jsonl", &mut places);
    let datagrams: Vec<_> = lines.iter().filter(|line| line.contains_key("datagram")).collect();
    assert_eq!(datagrams.len(), 5);
    // Any address, so that the one that fits the destination is taken.
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
    for line in datagrams {
        let text = |key: &str| line[key].as_str().expect("text");
        let length =
            usize::try_from(line["datagram_bytes"].as_u64().expect("a number")).expect("small");
        let latin1 = text("datagram").chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1"));
        // Long ones are recorded shortened.
        let datagram: Vec<u8> = latin1.chain(std::iter::repeat(b'x')).take(length).collect();
        let answer = ask(&socket, &datagram, text("to"), || circusd.log());
        let Some((answer, from)) = answer else {
            return circus_e2e::python::unavailable("discovery", "this machine has no multicast");
        };
        let expected: Value = serde_json::from_str(text("reply")).expect("JSON");
        assert_eq!(serde_json::from_slice::<Value>(&answer).expect("JSON"), expected, "{line:?}");
        let to_group = !text("to").starts_with("127.");
        let port = |address: &str| address.rsplit(':').next().map(str::to_owned);
        // To the group the answer comes from the interface that the datagram came to.
        assert_eq!(port(&from), port(text("reply_from")));
        assert!(to_group || from == text("reply_from"), "{from}");
    }
}

/// Sends a datagram until there is an answer, because circusd begins to listen a little later. None when the system cannot
/// send it at all.
fn ask(
    socket: &UdpSocket,
    datagram: &[u8],
    to: &str,
    log: impl Fn() -> String,
) -> Option<(Vec<u8>, String)> {
    let deadline = std::time::Instant::now() + PATIENCE;
    let mut buffer = [0; 2048];
    socket.set_read_timeout(Some(std::time::Duration::from_millis(200))).expect("a time-out");
    loop {
        let sent = socket.send_to(datagram, to);
        if sent.is_err_and(|error| error.kind() == std::io::ErrorKind::NetworkUnreachable) {
            return None;
        }
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            return Some((buffer[..length].to_vec(), from.to_string()));
        }
        assert!(
            std::time::Instant::now() < deadline,
            "no answer to {} bytes\n{}",
            datagram.len(),
            log()
        );
    }
}
