//! The command line of circusd: what it says and how it ends when it does not run as a daemon.
#![expect(clippy::unwrap_used, reason = "a test fails loudly")]

use std::fs;
use std::process::{Command, Output};

fn circusd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_circusd")).args(arguments).output().unwrap()
}

fn with_file(text: &str, before: &[&str]) -> (Output, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("circus.ini");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    let mut arguments = before.to_vec();
    arguments.push(path);
    (circusd(&arguments), path.to_owned())
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_version_stands_alone_on_its_line() {
    let output = circusd(&["--version"]);
    assert!(output.status.success());
    let expected = format!("{}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn without_a_file_the_usage_is_shown() {
    let output = circusd(&[]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("Usage: circusd"));
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    assert_eq!(circusd(&["--bogus"]).status.code(), Some(2));
}

#[test]
fn a_missing_file_is_one_clear_sentence() {
    let output = circusd(&["/nowhere/circus.ini"]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "circusd: /nowhere/circus.ini: the configuration file does not exist\n";
    assert_eq!(stderr(&output), expected);
}

#[test]
fn every_problem_of_a_file_is_listed_with_its_place() {
    let text = "[watcher:x]\ncmd = sleep 1\nstop_signal = FOO\nnumprocesses = two\n";
    let (output, path) = with_file(text, &["--check"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(
        said.contains(&format!("{path}:3: [watcher:x] stop_signal = FOO: not a signal")),
        "{said}"
    );
    assert!(said.contains(&format!("{path}:4: [watcher:x] numprocesses = two: ")), "{said}");
}

#[test]
fn an_endless_file_is_refused_and_an_endless_include_left_out() {
    let output = circusd(&["--check", "/dev/zero"]);
    assert_eq!(output.status.code(), Some(1));
    let expected =
        "circusd: /dev/zero: is longer than 16777216 bytes, so it is no configuration file\n";
    assert_eq!(stderr(&output), expected);
    let (output, _) = with_file("[circus]\ninclude = /dev/zero\n", &["--check"]);
    assert!(output.status.success());
    assert!(stderr(&output).contains("/dev/zero: is longer than"), "{}", stderr(&output));
}

#[test]
fn a_syntax_error_names_file_and_line() {
    let (output, path) = with_file("[watcher:x]\ncmd\n", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with(&format!("circusd: {path}:2: ")), "{}", stderr(&output));
}

#[test]
fn a_good_file_passes_the_check() {
    let (output, _) = with_file("[watcher:x]\ncmd = sleep 1\n", &["--check"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n");
}

#[test]
fn the_resolved_configuration_is_printed_as_json() {
    let (output, _) = with_file("[watcher:x]\ncmd = sleep 1\n", &["--dump-config"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["watchers"][0]["cmd"], "sleep 1");
}

#[test]
fn a_bad_papa_endpoint_names_its_key() {
    let text = "[circus]\nendpoint = ipc:///tmp/circusd-cli-test-a.sock\n\
        pubsub_endpoint = ipc:///tmp/circusd-cli-test-b.sock\npapa_endpoint = tcp://10.0.0.1:1\n\
        [watcher:x]\ncmd = sleep 1\nuse_papa = true\n";
    let (output, _) = with_file(text, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("papa_endpoint = tcp://10.0.0.1:1"), "{}", stderr(&output));
}
