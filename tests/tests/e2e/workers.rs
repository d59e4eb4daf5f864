//! Workers that several tests use, and what they wait for from them.

use circus_e2e::program::fixture;
use circus_e2e::{Daemon, TestEnv, env::free_port};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Hosted workers at a hosted socket of this port, and a hosted ticker that writes numbered lines into a file.
pub(crate) fn served_and_ticking(env: &TestEnv, port: u16) -> String {
    format!(
        "[socket:web]\nhost = 127.0.0.1\nport = {port}\nuse_papa = True\n\
         [watcher:web]\ncmd = {}\nnumprocesses = 3\nuse_sockets = True\nuse_papa = True\n\
         [watcher:ticker]\ncmd = {}\nuse_papa = True\n\
         stdout_stream.class = FileStream\nstdout_stream.filename = {}\n",
        fixture("serve-fd $(circus.sockets.web)"),
        fixture("lines 10"),
        env.path("ticker.log").display()
    )
}

/// The numbers in the ticker's file, complete lines only.
pub(crate) fn numbers(env: &TestEnv) -> Vec<u64> {
    let text = std::fs::read_to_string(env.path("ticker.log")).unwrap_or_default();
    let complete = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
    let number = |line: &str| line.split(' ').next().and_then(|word| word.parse().ok());
    complete.lines().map(|line| number(line).expect("a line begins with its number")).collect()
}

/// Waits until the ticker's file goes this far.
pub(crate) fn wait_for_number(env: &TestEnv, circusd: &Daemon, wanted: u64) {
    circusd.wait_until(&format!("the ticker's file has number {wanted}"), || {
        numbers(env).contains(&wanted).then_some(())
    });
}

/// Starts a watcher `w` whose process, the pid, takes no notice of SIGTERM and has a thousand seconds for it. At the
/// end of the test call [`give_up_patience`].
pub(crate) fn start_stubborn(env: &TestEnv) -> (Daemon, i32) {
    let output = env.path("output");
    let circusd = env.start(&format!(
        "[watcher:w]\ncmd = {}\ngraceful_timeout = 1000\nstdout_stream.filename = {}\n",
        fixture("ignore-term"),
        output.display()
    ));
    let pid = circusd.wait_for_pids("w", 1)[0];
    circusd.wait_until("it has blocked the signal", || {
        std::fs::read_to_string(&output).is_ok_and(|text| text == "ready\n").then_some(())
    });
    (circusd, pid)
}

/// Lets the stubborn process be killed at once: it would not end by itself.
pub(crate) fn give_up_patience(circusd: &Daemon) {
    circusd.ok("set", json!({"name": "w", "options": {"graceful_timeout": 0}}));
}

/// Starts a watcher `w` that so far waits for the first connection to the port.
pub(crate) fn start_on_demand(env: &TestEnv, numprocesses: u32) -> (Daemon, u16) {
    let port = free_port();
    let circusd = env.start(&format!(
        "[socket:s]\nhost = 127.0.0.1\nport = {port}\n[watcher:w]\non_demand = true\n\
         numprocesses = {numprocesses}\ncmd = {}\n",
        fixture("serve-fd $(circus.sockets.s)")
    ));
    circusd.wait_for_status("w", "stopped");
    (circusd, port)
}

/// Connects, and gives what a worker answers.
pub(crate) fn first_answer(port: u16) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("the socket is open");
    connection.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("the kernel takes it");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("a worker answers");
    answer
}
