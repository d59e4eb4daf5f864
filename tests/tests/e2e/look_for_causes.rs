//! `tail`, `events` and `why`: what is shown of a stack to whoever looks for a cause.

use circus_e2e::{Daemon, TestEnv, program};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// A worker that says something on both streams and stays.
const TALKER: &str = "sh -c 'echo hello; echo oops >&2; exec sleep 1000'";

fn circusctl(env: &TestEnv, arguments: &[&str]) -> (String, String, i32) {
    let output = Command::new(program::built("circusctl"))
        .args(["--endpoint", &env.endpoint(), "--timeout", "30"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("circusctl runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stdout), text(output.stderr), output.status.code().expect("a code"))
}

/// Waits until `tail --json` shows so many lines, and gives them without what is different each time.
fn tailed(env: &TestEnv, circusd: &Daemon, target: &str, count: usize) -> Vec<(String, String)> {
    circusd.wait_until(&format!("{target} has printed {count} lines"), || {
        let (out, _, code) = circusctl(env, &["--json", "tail", target]);
        assert_eq!(code, 0);
        let lines: Vec<Value> =
            out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let text = |line: &Value, key: &str| line[key].as_str().expect("text").to_owned();
        let mut lines: Vec<_> =
            lines.iter().map(|line| (text(line, "stream"), text(line, "text"))).collect();
        lines.sort();
        (lines.len() == count).then_some(lines)
    })
}

#[test]
fn listen_at_the_endpoint_for_commands_says_where_events_are() {
    let env = TestEnv::new();
    let _circusd = env.start("[watcher:w]\ncmd = sleep 1000\n");
    let mut listener = Command::new(program::built("circusctl"))
        .args(["--endpoint", &env.endpoint(), "listen"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("circusctl runs");
    let mut said = String::new();
    let stderr = listener.stderr.take().expect("a pipe");
    BufReader::new(stderr).read_line(&mut said).expect("readable");
    listener.kill().expect("it listens");
    listener.wait().expect("it was killed");
    let (here, there) = (env.endpoint(), env.pubsub_endpoint());
    let expected = format!("hint: {here} is for commands; events are published at {there}\n");
    assert_eq!(said, expected);
}

#[test]
fn tail_shows_both_streams_of_hosted_and_direct_workers() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let streams = "stdout_stream.class = StdoutStream\nstderr_stream.class = StdoutStream\n";
    let circusd = env.start(&format!(
        "[watcher:direct]\ncmd = {TALKER}\n{streams}\n[watcher:hosted]\ncmd = {TALKER}\nuse_papa = true\n\
         [watcher:plain]\ncmd = {TALKER}\n"
    ));
    let said = [("stderr", "oops"), ("stdout", "hello")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(tailed(&env, &circusd, "direct", 2), said);
    // The kernel hands its output out whether it has a stream or not.
    assert_eq!(tailed(&env, &circusd, "HOSTED:1", 2), said);
    assert_eq!(tailed(&env, &circusd, "hosted:2", 0), []);

    let (out, err, code) = circusctl(&env, &["tail", "plain"]);
    assert_eq!((out.as_str(), code), ("", 0));
    assert!(
        err.contains("stdout of plain goes straight to where circusd's own output goes"),
        "{err}"
    );
    let (out, err, _) = circusctl(&env, &["tail", "direct", "-n", "1"]);
    assert_eq!((out.lines().count(), err.as_str()), (1, ""));
    assert!(out.contains(" direct:1 "), "{out}");
    let (_, err, code) = circusctl(&env, &["tail", "direkt"]);
    assert_eq!(code, 3);
    assert!(
        err.starts_with("error: program direkt not found\nhint: did you mean `direct`?"),
        "{err}"
    );
    circusd.quit();
}

#[test]
fn tail_follows_across_a_restart_of_circusd() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let lines = program::fixture("lines 50");
    let circusd = env.start(&format!("[watcher:w]\ncmd = {lines}\nuse_papa = true\n"));
    circusd.wait_for_pids("w", 1);
    let mut child = Command::new(program::built("circusctl"))
        .args(["--endpoint", &env.endpoint(), "--json", "tail", "-f", "-n", "0", "w"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("circusctl runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut number = || {
        let line = lines.next().expect("it follows").expect("UTF-8");
        let line: Value = serde_json::from_str(&line).expect("JSON");
        let text = line["text"].as_str().expect("text").to_owned();
        text.split(' ').next().and_then(|number| number.parse::<u64>().ok()).expect("a number")
    };
    let first = number();
    assert_eq!(number(), first + 1);
    circusd.kill();
    let circusd = env.start_again();
    // What was printed in the gap was kept by the kernel, so no number is missing. Where the write had
    // happened and its confirmation had not, a line may come twice.
    let mut last = first + 1;
    for _ in 0..40 {
        let next = number();
        assert!(next <= last + 1, "{next} after {last}");
        last = last.max(next);
    }
    child.kill().expect("it follows until it is interrupted");
    child.wait().expect("it ended");
    circusd.ok("stop", json!({"waiting": true}));
    circusd.quit();
}

#[test]
fn why_explains_a_crash_loop() {
    let env = TestEnv::new();
    let circusd = env.start(
        "[watcher:broken]\ncmd = sh -c 'echo no database; exit 3'\nstdout_stream.class = StdoutStream\n\
         [watcher:killed]\ncmd = sleep 1000\n[watcher:off]\ncmd = sleep 1\nautostart = false\n\
         [watcher:typo]\ncmd = /nowhere/at/all\nmax_retry = -1\n",
    );
    let why = |name: &str| circusd.ok("why", json!({ "name": name }));
    let broken = circusd.wait_until("three ends are remembered", || {
        Some(why("broken"))
            .filter(|told| told["exits"].as_array().is_some_and(|list| list.len() >= 3))
    });
    let exit = &broken["exits"][1];
    assert_eq!(
        (&exit["exit_code"], &exit["signal"], &exit["wid"]),
        (&json!(3), &json!(null), &json!(1))
    );
    assert_eq!(exit["lines"], json!(["no database"]));
    let (out, _, code) = circusctl(&env, &["why", "broken"]);
    assert_eq!(code, 0);
    assert!(out.contains(": exit code 3 after 0."), "{out}");
    assert!(out.contains("\n    no database\n"), "{out}");

    let pid = circusd.wait_for_pids("killed", 1)[0];
    let kill = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(kill.expect("kill runs").success());
    let killed = circusd.wait_until("the end is remembered", || {
        Some(why("killed")).filter(|told| !told["exits"][0].is_null())
    });
    assert_eq!(
        (&killed["exits"][0]["signal"], &killed["exits"][0]["pid"]),
        (&json!("SIGKILL"), &json!(pid))
    );

    assert_eq!(
        (&why("off")["state"], &why("off")["waits_for"]),
        (&json!("stopped"), &json!("start"))
    );
    let typo = circusd.wait_until("the failed start is remembered", || {
        Some(why("typo")).filter(|told| !told["last_error"].is_null())
    });
    assert!(
        typo["last_error"]["reason"].as_str().expect("text").contains("/nowhere/at/all"),
        "{typo}"
    );
    assert_eq!(circusd.call("why", json!({"name": "nope"}))["reason"], "program nope not found");
    circusd.quit();
}

#[test]
fn a_slow_stop_tells_how_far_it_is() {
    let env = TestEnv::new();
    let fixture = program::fixture("ignore-term");
    let circusd = env.start(&format!(
        "[watcher:w]\ncmd = {fixture}\nnumprocesses = 2\ngraceful_timeout = 1000\n\
         stdout_stream.class = StdoutStream\n"
    ));
    circusd.wait_for_pids("w", 2);
    tailed(&env, &circusd, "w", 2); // Both ignore SIGTERM by now.
    let (out, err, code) = circusctl(&env, &["--timeout", "1", "stop", "w", "--waiting"]);
    assert_eq!((out.as_str(), code), ("", 1));
    assert!(err.contains("hint: stopping w: 2 of 2 left, "), "{err}");
    assert!(err.contains(" s of 1000 s\n"), "{err}");
    let told = circusd.ok("why", json!({"name": "w"}));
    assert_eq!((&told["state"], &told["waits_for"]), (&json!("stopping"), &json!("exits")));
}

#[test]
fn events_are_remembered_and_followed() {
    let env = TestEnv::new();
    let circusd = env.start("[watcher:My App]\ncmd = sleep 1000\n[watcher:b]\ncmd = sleep 1000\n");
    let pid = circusd.wait_for_pids("My App", 1)[0];
    circusd.wait_for_pids("b", 1);
    let (out, _, code) = circusctl(&env, &["events", "my app"]);
    assert_eq!(code, 0);
    assert!(out.contains(&format!(" my_app: process {pid} started\n")), "{out}");
    assert!(out.ends_with(" my_app: started\n") && !out.contains(" b: "), "{out}");

    let mut child = Command::new(program::built("circusctl"))
        .args(["--endpoint", &env.endpoint(), "--json", "events", "-f", "-n", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("circusctl runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut event = || -> Value {
        let line = lines.next().expect("it follows").expect("UTF-8");
        serde_json::from_str(&line).expect("JSON")
    };
    event(); // The latest of those before: now it follows.
    circusd.ok("stop", json!({"name": "b", "waiting": true}));
    let topics: Vec<_> = (0..3).map(|_| event()["topic"].clone()).collect();
    assert_eq!(topics, ["watcher.b.kill", "watcher.b.reap", "watcher.b.stop"]);
    child.kill().expect("it follows until it is interrupted");
    child.wait().expect("it ended");
    circusd.quit();
}
