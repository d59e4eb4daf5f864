//! The interactive shell with lines from a pipe, and what completion scripts are told.

use crate::support::{FakeCircusd, Ran, circusctl};
use serde_json::{Value, json};
use std::io::Write;
use std::process::Stdio;

/// A circusd with two watchers.
fn circusd(request: &Value) -> Vec<Vec<u8>> {
    let mut reply = match request["command"].as_str() {
        Some("status") => {
            json!({"status": "ok", "statuses": {"web": "active", "my app": "stopped"}})
        }
        Some("list") if request["properties"]["name"] == "web" => {
            json!({"status": "ok", "pids": [7, 8]})
        }
        Some("list") => json!({"status": "ok", "watchers": ["my app", "web"]}),
        Some("options") => json!({"status": "ok", "options": {"numprocesses": 1, "myopt": "x"}}),
        Some("incr") => json!({"status": "ok", "numprocesses": 2}),
        _ => json!({"status": "error", "reason": "no such thing", "errno": 3}),
    };
    reply["id"] = request["id"].clone();
    vec![reply.to_string().into_bytes()]
}

/// Types lines into the shell.
fn shell(lines: &str) -> (Ran, Vec<Value>) {
    let fake = FakeCircusd::start(circusd);
    let mut child = circusctl()
        .args(["--endpoint", fake.endpoint()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("circusctl runs");
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("it reads");
    let ran = child.wait_with_output().expect("it ends").into();
    (ran, fake.finish())
}

fn greeting() -> String {
    format!("circusctl {}\nmy app: stopped\nweb: active\n(circusctl) ", env!("CARGO_PKG_VERSION"))
}

#[test]
fn lines_from_a_pipe_are_commands() {
    let (ran, _) = shell("list web\nlist --json --prettify\nSTATUS\nEOF\nlist\n");
    let rest = ran.stdout.strip_prefix(&greeting()).expect("greeted");
    assert!(rest.starts_with("7,8\n(circusctl) {\n  \"id\": \""), "{rest}");
    assert!(rest.ends_with("(circusctl) *** Unknown syntax: STATUS\n(circusctl) \n"), "{rest}");
    assert_eq!((ran.stderr.as_str(), ran.code), ("hint: did you mean `status`?\n", 0));
}

#[test]
fn no_mistake_ends_the_shell() {
    let (ran, _) = shell("list --foo\nlist \"a\nlist --help\nget web\nnumwatchers\nlist\n");
    assert!(ran.stdout.contains("Usage: circusctl list"), "{ran:?}");
    assert!(ran.stdout.ends_with("(circusctl) my app,web\n(circusctl) \n"), "{ran:?}");
    assert!(ran.stderr.contains("error: unexpected argument '--foo' found\n"), "{ran:?}");
    assert!(ran.stderr.contains("error: a quote is not closed\n"), "{ran:?}");
    assert!(ran.stderr.contains("error: no such thing\n"), "{ran:?}");
    assert_eq!(ran.code, 0);
}

#[test]
fn an_empty_line_repeats_what_only_looks() {
    let (ran, requests) = shell("list\n\nincr web\n\n");
    let all = "my app,web\n(circusctl) my app,web\n(circusctl) ok\n(circusctl) (circusctl) \n";
    // The stand-in answers incr with a number although nobody waits for it.
    let all = all.replace("ok\n", "2\n");
    assert_eq!(ran.stdout, greeting() + &all);
    assert_eq!(requests.iter().filter(|request| request["command"] == "incr").count(), 1);
}

#[test]
fn help_lists_commands_and_explains_them() {
    let (ran, _) = shell("help\nhelp why\n? nosuch\n");
    let head = "\nDocumented commands (type help <topic>):\n========================================\nadd ";
    assert!(ran.stdout.contains(&(greeting() + head)), "{}", ran.stdout);
    assert!(ran.stdout.contains("\nUndocumented commands:\n======================\nEOF\n\n"));
    assert!(ran.stdout.contains("Usage: circusctl why"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("*** No help on nosuch\n(circusctl) \n"), "{}", ran.stdout);
}

#[test]
fn the_shell_starts_without_a_daemon() {
    let output = circusctl()
        .args(["--timeout", "0", "--endpoint", "ipc:///nowhere/at/all"])
        .output()
        .expect("circusctl runs");
    let ran = Ran::from(output);
    let expected = format!("circusctl {}\n(circusctl) \n", env!("CARGO_PKG_VERSION"));
    assert_eq!((ran.stdout, ran.code), (expected, 0));
    assert!(ran.stderr.starts_with("error: no circusd answers at ipc:///nowhere/at/all"));
}

/// What the completion script of the original is told.
fn completed(words: &str, at: usize) -> String {
    let fake = FakeCircusd::start(circusd);
    let output = circusctl()
        .env("AUTO_COMPLETE", "1")
        .env("COMP_WORDS", words)
        .env("COMP_CWORD", at.to_string())
        .env("CIRCUSCTL_ENDPOINT", fake.endpoint())
        .output()
        .expect("circusctl runs");
    fake.finish();
    let ran = Ran::from(output);
    assert_eq!((ran.stderr.as_str(), ran.code), ("", 1));
    ran.stdout
}

#[test]
fn completion_knows_commands_watchers_pids_and_keys() {
    assert_eq!(completed("circusctl st", 1), "start stats status stop\n");
    assert!(completed("circusctl", 1).starts_with("add decr discover dstats "));
    assert_eq!(completed("circusctl restart w", 2), "web\n");
    assert_eq!(completed("circusctl restart", 2), "my app web\n");
    assert_eq!(completed("circusctl stats web", 3), "7 8\n");
    assert_eq!(completed("circusctl get web my", 3), "myopt\n");
    assert_eq!(completed("circusctl set web numpr", 3), "numprocesses\n");
    assert_eq!(completed("circusctl set web numprocesses", 4), "\n");
    assert_eq!(completed("circusctl signal web 7 HU", 4), "HUP\n");
    assert_eq!(completed("circusctl start --match=g", 2), "--match=glob\n");
    assert!(completed("circusctl list --j", 2).starts_with("--json"));
}
