//! Wrong input gets one clear sentence and the right code, and disturbs nothing else.

use circus_e2e::program::{self, run};
use circus_e2e::{Daemon, TestEnv};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::process::Output;

/// Runs circusd with its ini file to its end.
fn run_circusd(env: &TestEnv) -> Output {
    env.command().output().expect("circusd runs")
}

/// Runs our circusctl against the circusd of a test.
fn circusctl(env: &TestEnv, arguments: &[&str]) -> Output {
    let endpoint = env.endpoint();
    let all: Vec<_> = ["--endpoint", &endpoint].iter().chain(arguments).copied().collect();
    run(&program::built("circusctl"), &all)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// circusd with one worker, which must be the same at the end.
fn start(env: &TestEnv) -> (Daemon, Vec<i32>) {
    let circusd = env.start("[watcher:sleeper]\ncmd = sleep 1000\n");
    let pids = circusd.wait_for_pids("sleeper", 1);
    (circusd, pids)
}

fn only_ours() -> bool {
    program::another_circusd().is_none()
}

#[test]
fn a_missing_configuration_file_is_named() {
    let env = TestEnv::new();
    let output = run_circusd(&env);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("circus.ini"), "{}", stderr(&output));
    if only_ours() {
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
}

#[test]
fn a_syntax_error_is_named_with_its_line() {
    let env = TestEnv::new();
    std::fs::write(env.path("circus.ini"), "[circus]\n\n[watcher:web]\ncmd\n").expect("writable");
    let output = run_circusd(&env);
    if only_ours() {
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert!(text.contains("circus.ini") && text.contains('4'), "{text}");
    }
}

#[test]
fn an_option_that_is_no_number_is_named_with_its_section() {
    let env = TestEnv::new();
    env.write_ini("[watcher:web]\ncmd = sleep 1000\nnumprocesses = many\n");
    let output = run_circusd(&env);
    assert_eq!(output.status.code(), Some(1));
    if only_ours() {
        let text = stderr(&output);
        for part in ["circus.ini", "watcher:web", "numprocesses", "many"] {
            assert!(text.contains(part), "no {part} in: {text}");
        }
    }
}

#[test]
fn a_port_in_use_is_named_with_its_section() {
    if !only_ours() {
        return; // The original goes on without the socket.
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    for hosted in ["False", "True"] {
        let env = TestEnv::new();
        env.write_ini(&format!(
            "[socket:web]\nhost = 127.0.0.1\nport = {port}\nuse_papa = {hosted}\n\
             [watcher:sleeper]\ncmd = sleep 1000\n"
        ));
        let output = run_circusd(&env);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("web") && text.contains(&port.to_string()), "{text}");
    }
}

#[test]
fn an_endpoint_in_use_is_named() {
    if !only_ours() {
        return; // The original ends with 0.
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("tcp://{}", taken.local_addr().expect("bound"));
    let env = TestEnv::new();
    let path = env.write_ini("[watcher:sleeper]\ncmd = sleep 1000\n");
    let text = std::fs::read_to_string(&path).expect("just written");
    std::fs::write(&path, text.replace(&env.endpoint(), &endpoint)).expect("writable");
    let output = run_circusd(&env);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&endpoint), "{}", stderr(&output));
    assert_eq!(env.processes(), [0; 0], "nothing was started, or nothing is left of it");
}

#[test]
fn a_second_circusd_does_not_take_the_endpoint_away() {
    if !only_ours() {
        return; // The original takes it.
    }
    let env = TestEnv::new();
    let (circusd, pids) = start(&env);
    let second = env.spawn();
    assert_eq!(second.wait().code(), Some(1));
    let log = circusd.log();
    assert!(log.contains(&env.endpoint()) && log.contains("in use"), "{log}");
    assert_eq!(circusd.pids("sleeper"), pids);
}

#[test]
fn a_start_that_fails_leaves_no_socket_behind() {
    if !only_ours() {
        return; // The original goes on without the socket.
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let env = TestEnv::new();
    let path = env.path("a.sock");
    env.write_ini(&format!(
        "[socket:a]\npath = {}\n[socket:b]\nhost = 127.0.0.1\nport = {port}\n\
         [watcher:sleeper]\ncmd = sleep 1000\n",
        path.display()
    ));
    let output = run_circusd(&env);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains(&port.to_string()), "{}", stderr(&output));
    assert!(!path.exists());
}

#[test]
fn an_unknown_signal_is_refused() {
    let env = TestEnv::new();
    let (circusd, pids) = start(&env);
    if !only_ours() {
        return; // The original shows an accident of its own.
    }
    let output = circusctl(&env, &["signal", "sleeper", "FOO"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).starts_with("error: signal invalid"), "{}", stderr(&output));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    assert_eq!(circusd.pids("sleeper"), pids);
}

#[test]
fn an_unknown_command_is_refused() {
    let env = TestEnv::new();
    let (circusd, pids) = start(&env);
    let reply = circusd.call("frobnicate", json!({}));
    assert_eq!((&reply["status"], &reply["errno"]), (&json!("error"), &json!(2)));
    assert_eq!(reply["reason"], "unknown command: 'frobnicate'");
    assert_eq!(circusctl(&env, &["frobnicate"]).status.code(), Some(2));
    assert_eq!(circusd.pids("sleeper"), pids);
}

#[test]
fn a_message_that_is_not_json_is_answered() {
    let env = TestEnv::new();
    let (circusd, pids) = start(&env);
    let frames: &[&[u8]] = if only_ours() {
        &[b"{", b"", b"[]", b"null", b"\xff\xfe", b"{} {}", &[b'['; 100_000]]
    } else {
        &[b"{", b"\xff\xfe"] // The original answers no others.
    };
    for frame in frames {
        let reply: Value = serde_json::from_slice(&circusd.exchange(frame)).expect("JSON");
        assert_eq!(reply["status"], "error", "{frame:?}");
        assert_eq!((&reply["errno"], &reply["id"]), (&json!(1), &json!(null)), "{frame:?}");
    }
    assert_eq!(circusd.pids("sleeper"), pids);
}

#[test]
fn an_endless_line_is_refused_by_the_kernel() {
    let env = TestEnv::new().kernel_on_a_port();
    if env.has_no_kernel() {
        return;
    }
    let circusd = env.start("[watcher:sleeper]\ncmd = sleep 1000\nuse_papa = True\n");
    let pids = circusd.wait_for_pids("sleeper", 1);
    let mut other = env.kernel();
    let mut client = env.kernel();
    client.send(&[b'x'; 10_000_000]);
    client.send(b"\n");
    client.finish();
    let answer = client.rest();
    assert!(answer.contains("Error: "), "{answer}");
    assert!(answer.len() < 1000, "the line is not sent back");
    let listed = other.command("list processes");
    assert!(listed.contains(&format!("circus.sleeper.1 pid={} running=True", pids[0])), "{listed}");
    assert_eq!(circusd.pids("sleeper"), pids);
}

#[test]
fn subscribers_that_come_and_go_are_let_go_of_without_an_event() {
    if !only_ours() {
        return;
    }
    let env = TestEnv::new();
    let (circusd, _) = start(&env);
    let memory = || {
        let path = format!("/proc/{}/status", circusd.pid());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
    };
    let come_and_go = |count: usize| (0..count).for_each(|_| drop(circusd.subscribe()));
    come_and_go(100);
    let before = memory();
    come_and_go(800);
    // One that is held takes more than ten.
    let grown = memory().saturating_sub(before);
    assert!(grown < 3000, "{grown} kB more");
}
