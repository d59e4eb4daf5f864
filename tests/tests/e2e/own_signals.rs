//! Signals to circusd itself, and how it ends. The names in the comments are cases of
//! `tests/golden/behaviours.jsonl`.

use circus_e2e::{Daemon, TestEnv, process};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const TWO: &str =
    "[watcher:a]\ncmd = sleep 1000\n[watcher:off]\ncmd = sleep 1000\nautostart = no\n";

fn send(circusd: &Daemon, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(circusd.pid()).expect("pids fit"));
    kill(pid, signal).expect("it runs");
}

/// `sig_term`, `sig_int`
#[test]
fn term_int_and_quit_end_it_in_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let env = TestEnv::new();
        let circusd = env.start(TWO);
        let pid = circusd.wait_for_pids("a", 1)[0];
        let events = circusd.subscribe();
        send(&circusd, signal);
        let reap = events.wait_for("watcher.a.reap");
        assert_eq!((&reap["process_pid"], &reap["exit_code"]), (&json!(pid), &json!(-15)));
        events.wait_for("watcher.a.stop");
        assert_eq!(circusd.wait().code(), Some(0), "{signal}");
        assert!(!process::is_alive(pid));
    }
}

/// `sig_hup`
#[test]
fn hup_reloads_what_runs_and_starts_nothing() {
    let env = TestEnv::new();
    let circusd = env.start(TWO);
    let pid = circusd.wait_for_pids("a", 1)[0];
    let events = circusd.subscribe();
    send(&circusd, Signal::SIGHUP);
    events.wait_for("watcher.a.reload");
    assert_ne!(circusd.wait_for_pids("a", 1)[0], pid);
    assert_eq!(circusd.ok("status", json!({"name": "off"}))["status"], "stopped");
}

/// `sig_kill`, `sig_usr1`
#[test]
fn workers_outlive_a_circusd_that_is_killed() {
    for signal in [Signal::SIGKILL, Signal::SIGUSR1] {
        let env = TestEnv::new();
        let circusd = env.start(TWO);
        let pid = circusd.wait_for_pids("a", 1)[0];
        send(&circusd, signal);
        assert_eq!(circusd.wait().signal(), Some(signal as i32));
        assert!(process::is_alive(pid));
    }
}

/// `sig_term_during_slow_stop`, `quit_waiting`
#[test]
fn the_end_comes_although_a_slow_stop_is_under_way() {
    let env = TestEnv::new();
    let fixture = circus_e2e::program::fixture("ignore-term");
    let output = env.path("output");
    let circusd = env.start(&format!(
        "[watcher:slow]\ncmd = {fixture}\ngraceful_timeout = 1\nstdout_stream.filename = {}\n\
         [watcher:a]\ncmd = sleep 1000\n",
        output.display()
    ));
    circusd.wait_until("it has blocked the signal", || {
        std::fs::read_to_string(&output).is_ok_and(|text| text == "ready\n").then_some(())
    });
    let (slow, quick) = (circusd.wait_for_pids("slow", 1)[0], circusd.wait_for_pids("a", 1)[0]);
    circusd.ok("restart", json!({"name": "slow"}));
    // Answered when everything has been stopped.
    circusd.ok("quit", json!({"waiting": true}));
    assert!(!process::is_alive(slow) && !process::is_alive(quick));
    assert!(circusd.wait().success());
}

/// `quit_while_starting`
#[test]
fn the_end_comes_although_watchers_are_being_started() {
    let env = TestEnv::new().circus("warmup_delay = 1000");
    let circusd =
        env.start("[watcher:a]\ncmd = sleep 1000\npriority = 1\n[watcher:b]\ncmd = sleep 1000\n");
    circusd.wait_for_pids("a", 1);
    assert_eq!(circusd.ok("status", json!({"name": "b"}))["status"], "stopped");
    assert!(circusd.terminate().success());
}

/// `multicast_bad`
#[test]
fn a_bad_discovery_address_is_only_a_warning() {
    for address in ["udp://127.0.0.1:12345", "nonsense", "udp://237.0.0.1"] {
        let env = TestEnv::new().circus(&format!("multicast_endpoint = {address}"));
        let text = std::fs::read_to_string(env.write_ini(TWO)).expect("text");
        // The first one counts, and the test's own says that there is none.
        std::fs::write(env.path("circus.ini"), text.replacen("multicast_endpoint =\n", "", 1))
            .expect("writable");
        let circusd = env.start_again();
        circusd.wait_for_pids("a", 1);
        assert!(circusd.log().contains("multicast_endpoint"), "{address}: {}", circusd.log());
    }
}

/// `circusctl_rm_nostop`
#[test]
fn our_circusctl_sends_nostop() {
    let env = TestEnv::new();
    let circusd = env.start(TWO);
    let pid = circusd.wait_for_pids("a", 1)[0];
    let client = circus_e2e::program::built("circusctl");
    let output =
        circus_e2e::program::run(&client, &["--endpoint", &env.endpoint(), "rm", "a", "--nostop"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n");
    assert_eq!(circusd.ok("list", json!({}))["watchers"], json!(["off"]));
    assert!(process::is_alive(pid));
}

#[test]
fn signals_cost_no_reply() {
    let env = TestEnv::new();
    let circusd = env.start(TWO);
    let client = circusd.client();
    client.set_rcvtimeo(20_000).expect("a timeout");
    let (count, on_their_way) = (20_000, 20);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // It has no meaning for circusd, but is handled.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                send(&circusd, Signal::SIGWINCH);
            }
        });
        let ask = |id: u32| {
            let request = json!({"id": id, "command": "numwatchers", "properties": {}});
            client.send(&request.to_string(), 0).expect("sent");
        };
        (0..on_their_way).for_each(ask);
        let answered = (0..count).take_while(|id| {
            if id + on_their_way < count {
                ask(id + on_their_way);
            }
            client.recv_bytes(0).is_ok()
        });
        let answered = answered.count();
        over.store(true, Ordering::Relaxed);
        assert_eq!(answered, count as usize);
    });
    assert!(circusd.quit().success());
}
