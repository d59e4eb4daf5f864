//! `listen` against a publisher.

use crate::support::circusctl;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn events_appear_line_by_line_as_plain_text() {
    let publisher = zmq::Context::new().socket(zmq::XPUB).expect("socket");
    publisher.set_linger(0).expect("linger");
    publisher.bind("tcp://127.0.0.1:*").expect("a free port");
    let endpoint = publisher.get_last_endpoint().expect("bound").expect("utf-8");
    let mut child = circusctl()
        .args(["listen", "watcher.a", "watcher.b.", "--endpoint", &endpoint])
        // The variable names the controller and is of no use here.
        .env("CIRCUSCTL_ENDPOINT", "nonsense")
        .stdout(Stdio::piped())
        .spawn()
        .expect("circusctl runs");
    // An XPUB receives the subscriptions; events before them would be lost.
    let mut subscriptions: Vec<_> =
        (0..2).map(|_| publisher.recv_bytes(0).expect("a subscription")).collect();
    subscriptions.sort();
    assert_eq!(subscriptions, [b"\x01watcher.a".to_vec(), b"\x01watcher.b.".to_vec()]);

    for topic in ["watcher.c.stop", "watcher.a.spawn", "watcher.b.stop"] {
        publisher.send_multipart([topic, r#"{"time": 1.5}"#], 0).expect("sent");
    }
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut line = || lines.next().expect("a line").expect("UTF-8");
    assert_eq!(line(), r#"watcher.a.spawn: {"time": 1.5}"#);
    assert_eq!(line(), r#"watcher.b.stop: {"time": 1.5}"#);
    child.kill().expect("it runs until it is interrupted");
    child.wait().expect("it ended");
}
