//! Signals to circusd, and its end: in order, at every stage of its life, and at once when asked twice.

use circus_e2e::process::{Signal, is_alive};
use circus_e2e::program::fixture;
use circus_e2e::{Daemon, TestEnv};
use serde_json::json;
use std::os::unix::process::ExitStatusExt;

const TWO: &str = "[watcher:a]\ncmd = sleep 1000\n[watcher:b]\ncmd = sleep 1000\n";

/// Waits for an orderly end that leaves nothing behind.
fn ends_in_order(env: &TestEnv, circusd: Daemon) {
    assert!(circusd.wait().success());
    assert_eq!(env.processes(), [0; 0]);
    for endpoint in [env.endpoint(), env.pubsub_endpoint()] {
        let path = endpoint.trim_start_matches("ipc://").to_owned();
        assert!(!std::path::Path::new(&path).exists(), "{path} is left");
    }
}

/// sig_term, sig_int; QUIT does the same.
#[test]
fn term_int_and_quit_end_it_in_order() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let env = TestEnv::new();
        let circusd = env.start(TWO);
        circusd.wait_for_pids("b", 1);
        let events = circusd.subscribe();
        circusd.signal(signal);
        let mut seen: Vec<String> = (0..6).map(|_| events.next_event().0).collect();
        seen.sort();
        let of = |name: &str| ["kill", "reap", "stop"].map(|kind| format!("watcher.{name}.{kind}"));
        assert_eq!(seen, [of("a"), of("b")].concat());
        ends_in_order(&env, circusd);
    }
}

/// sig_kill and sig_usr1: the workers stay.
#[test]
fn kill_and_signals_without_a_handler_leave_the_workers() {
    for signal in [Signal::KILL, Signal::USR1] {
        let env = TestEnv::new();
        let circusd = env.start(TWO);
        let pid = circusd.wait_for_pids("a", 1)[0];
        circusd.signal(signal);
        assert_eq!(circusd.wait().signal(), Some(signal.as_raw()));
        assert!(is_alive(pid));
    }
}

/// sig_hup; WINCH is ignored.
#[test]
fn hup_reloads_every_watcher_and_reads_no_file() {
    let env = TestEnv::new();
    let circusd = env.start(TWO);
    let old = (circusd.wait_for_pids("a", 1), circusd.wait_for_pids("b", 1));
    circusd.wait_for_log("b started");
    env.write_ini(&format!("{TWO}[watcher:new]\ncmd = sleep 1000\n"));
    circusd.signal(Signal::WINCH);
    circusd.wait_for_log("SIG_WINCH");
    let events = circusd.subscribe();
    circusd.signal(Signal::HUP);
    events.wait_for("watcher.a.reload");
    events.wait_for("watcher.b.reload");
    let new = (circusd.pids("a"), circusd.pids("b"));
    assert!(new.0 != old.0 && new.1 != old.1);
    circusd.wait_for_log("Got signal SIG_HUP");
    circusd.wait_for_log("b reloaded");
    assert_eq!(circusd.ok("list", json!({}))["watchers"], json!(["a", "b"]));
}

/// quit_while_starting: there, quit is refused and the signal is lost.
#[test]
fn it_ends_at_every_stage_of_its_start() {
    let watcher = "[watcher:a]\ncmd = sleep 1000\nnumprocesses = 3\nwarmup_delay = 1000\n";
    for stage in ["Starting master", "sockets started", "waiting for commands"] {
        let env = TestEnv::new();
        env.write_ini(watcher);
        let circusd = env.spawn();
        circusd.wait_for_log(stage);
        circusd.ask_to_end();
        ends_in_order(&env, circusd);
    }
    let env = TestEnv::new();
    let circusd = env.start(watcher);
    circusd.wait_for_status("a", "starting");
    circusd.ok("quit", json!({"waiting": true}));
    ends_in_order(&env, circusd);
    // Before it has said anything, the signal itself ends it.
    let env = TestEnv::new();
    env.write_ini(watcher);
    let circusd = env.spawn();
    circusd.ask_to_end();
    circusd.wait();
    assert_eq!(env.processes(), [0; 0]);
}

/// sig_term_during_slow_stop: there, the signal is lost and quit refused. Two signals end it at once.
#[test]
fn the_second_signal_does_not_wait_for_stubborn_processes() {
    let env = TestEnv::new();
    let stubborn = fixture("ignore-term");
    let circusd = env.start(&format!(
        "[watcher:a]\ncmd = {stubborn}\ngraceful_timeout = 1000\n[watcher:b]\ncmd = sleep 1000\n"
    ));
    circusd.wait_for_pids("b", 1);
    circusd.wait_for_log("ready");
    circusd.ok("stop", json!({"name": "a"}));
    circusd.wait_for_status("a", "stopping");
    circusd.ask_to_end();
    circusd.wait_for_log("b stopped");
    circusd.wait_for_status("a", "stopping");
    circusd.ask_to_end();
    ends_in_order(&env, circusd);
}

/// quit_waiting.
#[test]
fn quit_that_waits_answers_when_everything_has_ended() {
    let env = TestEnv::new();
    let stubborn = fixture("ignore-term");
    let circusd = env.start(&format!("[watcher:a]\ncmd = {stubborn}\ngraceful_timeout = 0.3\n"));
    let pid = circusd.wait_for_pids("a", 1)[0];
    circusd.wait_for_log("ready");
    circusd.ok("quit", json!({"waiting": true}));
    assert!(!is_alive(pid));
    ends_in_order(&env, circusd);
}

#[test]
fn it_ends_under_load() {
    let env = TestEnv::new();
    let circusd = env.start(&format!(
        "[watcher:flood]\ncmd = {}\nnumprocesses = 2\nstdout_stream.filename = {}\n\
         [watcher:crash]\ncmd = {}\nnumprocesses = 3\n",
        fixture("flood"),
        "/dev/null",
        fixture("crash-after 1"),
    ));
    circusd.wait_for_pids("flood", 2);
    // Requests that nobody waits for.
    let context = zmq::Context::new();
    let socket = context.socket(zmq::DEALER).expect("a socket");
    socket.set_linger(0).expect("linger");
    socket.connect(&env.endpoint()).expect("a valid endpoint");
    for command in ["stats", "status", "incr", "decr", "reload"].iter().cycle().take(500) {
        let request = json!({"id": "x", "command": command, "properties": {"name": "crash"}});
        socket.send(request.to_string().as_bytes(), 0).expect("sent");
    }
    circusd.ask_to_end();
    ends_in_order(&env, circusd);
}
