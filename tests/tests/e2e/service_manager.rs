//! circusd under a service manager: the datagrams of sd_notify(3), on a path and on an abstract name.

use circus_e2e::process::Signal;
use circus_e2e::{PATIENCE, TestEnv};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The next message that is not a sign of life.
fn next(socket: &UnixDatagram) -> String {
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    loop {
        let mut buffer = [0; 1024];
        let count = socket.recv(&mut buffer).expect("a message in time");
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        if text != "WATCHDOG=1" {
            return text;
        }
    }
}

#[test]
fn it_is_told_of_readiness_reloads_and_the_end() {
    let env = TestEnv::new();
    let socket = UnixDatagram::bind(env.path("notify")).expect("a socket");
    env.write_ini("[watcher:a]\ncmd = sleep 1000\ncopy_env = true\n");
    let mut command = env.command();
    command.env("NOTIFY_SOCKET", env.path("notify"));
    let circusd = env.spawn_as(command);
    let ready = format!("READY=1\nSTATUS=Running\nMAINPID={}", circusd.pid());
    assert_eq!(next(&socket), ready);
    let pid = circusd.wait_for_pids("a", 1)[0];
    circusd.wait_for_log("a started");
    let environment = std::fs::read(format!("/proc/{pid}/environ")).expect("it runs");
    let environment = String::from_utf8_lossy(&environment).into_owned();
    assert!(environment.contains("CIRCUS_TEST_ID") && !environment.contains("NOTIFY_SOCKET"));
    circusd.signal(Signal::HUP);
    let reloading = next(&socket);
    let time = reloading.strip_prefix("RELOADING=1\nSTATUS=Reloading\nMONOTONIC_USEC=");
    assert!(time.is_some_and(|time| time.parse::<u64>().is_ok()), "{reloading}");
    assert_eq!(next(&socket), ready);
    circusd.ask_to_end();
    assert_eq!(next(&socket), "STOPPING=1\nSTATUS=Stopping");
    assert!(circusd.wait().success());
}

#[test]
fn signs_of_life_come_on_an_abstract_socket_and_from_a_daemon() {
    let env = TestEnv::new().circus("pidfile = x.pid");
    let name = format!("circusd-e2e-{}", env.id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixDatagram::bind_addr(&address).expect("a socket");
    env.write_ini("[watcher:a]\ncmd = sleep 1000\n");
    let mut command = env.command();
    command.arg("--daemon").env("NOTIFY_SOCKET", format!("@{name}"));
    command.env("WATCHDOG_USEC", "20000");
    assert!(command.status().expect("it runs").success());
    let pid = std::fs::read_to_string(env.path("x.pid")).expect("written");
    assert_eq!(next(&socket), format!("READY=1\nSTATUS=Running\nMAINPID={}", pid.trim()));
    let mut buffer = [0; 64];
    for _ in 0..3 {
        let count = socket.recv(&mut buffer).expect("a message in time");
        assert_eq!(&buffer[..count], b"WATCHDOG=1");
    }
}
