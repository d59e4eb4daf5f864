//! The page for Prometheus, read by Prometheus' own checker.

use circus_e2e::env::free_port;
use circus_e2e::process::Handle;
use circus_e2e::program;
use circus_e2e::python::{say_skipped, unavailable};
use circus_e2e::{PATIENCE, Python, TestEnv};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// Sends a request and gives head and body.
fn ask(port: u16, method: &str, path: &str, accept: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("circusd serves metrics");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

fn page(port: u16) -> String {
    let (head, body) = ask(port, "GET", "/metrics", "text/plain");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body
}

/// The value of a sample, by its name and labels as printed.
fn value(page: &str, sample: &str) -> Option<f64> {
    let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a number"))
}

const SECTIONS: &str = "[watcher:Web App]\ncmd = sh -c \"echo hello; exec sleep 1000\"\n\
    numprocesses = 2\nstdout_stream.class = FileStream\nstdout_stream.filename = web.log\n\
    [watcher:hosted]\ncmd = sleep 1000\nuse_papa = True\n\
    [watcher:off]\ncmd = sleep 1000\nautostart = False\n\
    [socket:lazy]\nhost = 127.0.0.1\nport = 0\n";

#[test]
fn prometheus_accepts_the_page_and_it_tells_what_has_happened() {
    if program::another_circusd().is_some() {
        return say_skipped("metrics: only our circusd has them");
    }
    let port = free_port();
    let env = TestEnv::new().circus(&format!("metrics_endpoint = {port}"));
    let circusd = env.start(SECTIONS);
    let pids = circusd.wait_for_pids("web app", 2);
    circusd.wait_for_pids("hosted", 1);
    let socket = circusd.ok("listsockets", json!({}))["sockets"][0]["port"].clone();
    let socket = u16::try_from(socket.as_u64().expect("a port")).expect("a port");
    let _waiting = TcpStream::connect(("127.0.0.1", socket)).expect("circusd listens");
    Handle::open(pids[0]).expect("it runs").kill();
    let text = circusd.wait_until("the restart is counted", || {
        let text = page(port);
        let restarts = "circus_watcher_restarts_total{watcher=\"Web App\",cause=\"signal\"}";
        let output = "circus_watcher_output_bytes_total{watcher=\"Web App\"}";
        // Three processes have said `hello`.
        (value(&text, restarts) == Some(1.0) && value(&text, output) == Some(18.0)).then_some(text)
    });
    let is =
        |sample: &str, expected: f64| assert_eq!(value(&text, sample), Some(expected), "{text}");
    let above =
        |sample: &str| assert!(value(&text, sample).is_some_and(|v| v > 0.0), "{sample}: {text}");
    is("circus_watcher_processes_wanted{watcher=\"Web App\"}", 2.0);
    is("circus_watcher_processes_running{watcher=\"Web App\"}", 2.0);
    is("circus_watcher_processes_running{watcher=\"off\"}", 0.0);
    is("circus_watcher_status{watcher=\"off\",status=\"stopped\"}", 1.0);
    is("circus_watcher_dropped_bytes_total{watcher=\"Web App\"}", 0.0);
    is(&format!("circus_socket_backlog{{socket=\"lazy\",address=\"127.0.0.1:{socket}\"}}"), 1.0);
    above("circus_watcher_resident_memory_bytes{watcher=\"hosted\"}");
    above("circus_watcher_open_fds{watcher=\"Web App\"}");
    above("circus_kernel_resident_memory_bytes");
    above("circus_uptime_seconds");
    assert!(value(&text, "circus_loop_lag_seconds").is_some());
    circusd.ok("restart", json!({"name": "hosted", "waiting": true}));
    let text = page(port);
    is_asked(&text);
    accepted_by_promtool(&text);
    let (_, open) = ask(port, "GET", "/metrics", "application/openmetrics-text; version=1.0.0");
    accepted_by_a_parser_of_open_metrics(&open);
    let counters = circusd.ok("counters", json!({}));
    let web = &counters["counters"]["Web App"];
    assert_eq!((&web["wanted"], &web["restarts"]["signal"]), (&json!(2), &json!(1)), "{counters}");
}

fn is_asked(text: &str) {
    let restarts = "circus_watcher_restarts_total{watcher=\"hosted\",cause=\"asked\"}";
    assert_eq!(value(text, restarts), Some(1.0), "{text}");
}

/// Prometheus' own checker reads the page and finds nothing to complain about.
fn accepted_by_promtool(text: &str) {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match promtool {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return unavailable("the page of metrics", "promtool is not installed");
        }
        promtool => promtool.expect("promtool runs"),
    };
    let mut stdin = promtool.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

/// What the parser of Prometheus' own Python client understands, a sample a line.
const PARSE: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.argv[1]):
    for sample in family.samples:
        labels = ','.join('%s=%s' % pair for pair in sorted(sample.labels.items()))
        print(family.type, sample.name, '{%s}' % labels, float(sample.value))
";

/// A strict parser of OpenMetrics reads every sample of the page, and as what it is.
fn accepted_by_a_parser_of_open_metrics(page: &str) {
    let Some(python) = Python::with_metrics_parser("the page of OpenMetrics") else { return };
    let output = python.script(PARSE, &[page]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{page}");
    let read = String::from_utf8_lossy(&output.stdout);
    let samples = page.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(read.lines().count(), samples, "{read}\n{page}");
    for sample in [
        "counter circus_watcher_restarts_total {cause=asked,watcher=hosted} 1.0",
        "gauge circus_watcher_processes_wanted {watcher=Web App} 2.0",
    ] {
        assert!(read.lines().any(|line| line == sample), "{sample} is not in\n{read}");
    }
}

#[test]
fn the_page_speaks_http_as_scrapers_and_people_expect() {
    if program::another_circusd().is_some() {
        return say_skipped("metrics: only our circusd has them");
    }
    let port = free_port();
    let env = TestEnv::new().circus(&format!("metrics_endpoint = localhost:{port}"));
    let _circusd = env.start("");
    let (head, body) = ask(port, "GET", "/metrics", "application/openmetrics-text; version=1.0.0");
    assert!(head.to_lowercase().contains("content-type: application/openmetrics-text"), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    let status = |method: &str, path: &str| ask(port, method, path, "*/*").0;
    assert!(status("GET", "/").starts_with("HTTP/1.1 404"));
    assert!(status("POST", "/metrics").starts_with("HTTP/1.1 405"));
    assert!(status("HEAD", "/metrics").starts_with("HTTP/1.1 200"));
    // What is no request is closed and harms nobody.
    let mut rubbish = TcpStream::connect(("127.0.0.1", port)).expect("circusd serves metrics");
    rubbish.write_all(&[0xff; 100_000]).unwrap_or_default();
    assert!(status("GET", "/metrics").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_port_that_is_taken_is_told_and_the_watchers_run_all_the_same() {
    if program::another_circusd().is_some() {
        return say_skipped("metrics: only our circusd has them");
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let env = TestEnv::new().circus(&format!("metrics_endpoint = {port}"));
    let circusd = env.start("[watcher:web]\ncmd = sleep 1000\n");
    circusd.wait_for_pids("web", 1);
    let log = circusd.log();
    assert!(log.contains("cannot serve metrics on") && log.contains("going on without"), "{log}");
}
