//! The plugins Statsd and FullStats against a real UDP peer: the datagrams of the recording of circus 0.17.2.

use circus_e2e::process::Handle;
use circus_e2e::{Daemon, PATIENCE, TestEnv, program};
use serde_json::{Value, json};
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

/// A statsd that keeps what it is told.
struct Statsd {
    socket: UdpSocket,
}

impl Statsd {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time");
        Self { socket }
    }

    fn port(&self) -> u16 {
        self.socket.local_addr().expect("an address").port()
    }

    fn next(&self) -> String {
        let mut buffer = [0; 1024];
        let length = self.socket.recv(&mut buffer).expect("a datagram in time");
        String::from_utf8(buffer[..length].to_vec()).expect("UTF-8")
    }

    /// What has come until circusd's answer to an event of our own.
    fn until_now(&self, circusd: &Daemon) -> Vec<String> {
        let mark = "circus.demo.watcher.mark.updated:1|c";
        circusd.ok("set", json!({"name": "mark", "options": {"graceful_timeout": 1}}));
        std::iter::repeat_with(|| self.next()).take_while(|metric| metric != mark).collect()
    }
}

fn recording() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/tools/statsd_0.17.2.jsonl");
    let text = std::fs::read_to_string(path).expect("the recording");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The steps of the recording, each with the metrics that follow it.
fn steps() -> Vec<(String, Vec<String>)> {
    let mut steps: Vec<(String, Vec<String>)> = Vec::new();
    for line in recording() {
        let data = line["data"].as_str().unwrap_or_default();
        match line["kind"].as_str() {
            Some("step") if data.starts_with("circusctl ") || data.starts_with("kill ") => {
                steps.push((data.to_owned(), Vec::new()));
            }
            Some("udp") if data.starts_with("circus.demo.") => {
                if let Some((_, metrics)) = steps.last_mut() {
                    metrics.push(data.to_owned());
                }
            }
            _ => {}
        }
    }
    steps
}

const STACK: &str = "[watcher:web]\ncmd = sleep 1000\nnumprocesses = 2\n\
     [watcher:off]\ncmd = sleep 1000\nautostart = False\n[watcher:My App]\ncmd = sleep 1000\n\
     [watcher:mark]\ncmd = sleep 1000\nautostart = False\n";

#[test]
fn every_event_is_the_datagram_of_the_recording() {
    let (env, statsd) = (TestEnv::new(), Statsd::start());
    let circusd = env.start(&format!(
        "{STACK}[plugin:statsd]\nuse = circus.plugins.statsd.StatsdEmitter\n\
         application_name = demo\nhost = 127.0.0.1\nport = {}\n",
        statsd.port()
    ));
    circusd.wait_for_pids("web", 2);
    statsd.socket.set_nonblocking(true).expect("it can");
    circusd.wait_until("the plugin listens", || {
        let set = json!({"name": "web", "options": {"graceful_timeout": 30}});
        circusd.ok_when_idle("set", &set);
        statsd.socket.recv(&mut [0; 1024]).ok()
    });
    statsd.socket.set_nonblocking(false).expect("it can");
    statsd.until_now(&circusd);
    let mut played = 0;
    for (step, expected) in steps() {
        if step == "circusctl quit" {
            break; // In which order everything ends is not told by anybody.
        }
        carry_out(&circusd, &env, &step);
        let watcher = match step.split(' ').nth(2).expect("a name") {
            "my" => "my_app",
            "<pid" | "of" => "web",
            name => name,
        };
        let prefix = format!("circus.demo.watcher.{watcher}.");
        let mut expected: Vec<String> =
            expected.into_iter().filter(|metric| metric.starts_with(&prefix)).collect();
        add_what_differs(&step, &prefix, &mut expected);
        let mut found = Vec::new();
        while found.len() < expected.len() {
            found.push(statsd.next());
        }
        found.extend(statsd.until_now(&circusd));
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{step}\n{}", circusd.log());
        played += 1;
    }
    assert!(played > 12, "the recording was played: {played}");
}

/// Entry "`reap` events" of docs/differences.md: every process that has ended is announced, also those that
/// `decr` and `reload` end.
fn add_what_differs(step: &str, prefix: &str, expected: &mut Vec<String>) {
    let reaps = match step {
        "circusctl decr web" => 1,
        "circusctl reload web" => 2,
        _ => 0,
    };
    expected.extend(std::iter::repeat_n(format!("{prefix}reap:1|c"), reaps));
}

fn carry_out(circusd: &Daemon, env: &TestEnv, step: &str) {
    if step.starts_with("kill ") {
        let pid = circusd.pids("web")[0];
        Handle::open(pid).expect("it runs").kill();
        return;
    }
    let words = step.strip_prefix("circusctl ").expect("a command").replace("my app", "my\0app");
    let words: Vec<String> = words.split(' ').map(|word| word.replace('\0', " ")).collect();
    let endpoint = env.endpoint();
    let output = Command::new(program::built("circusctl"))
        .args(["--endpoint", &endpoint])
        .args(words)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{step}: {output:?}");
}

#[test]
fn full_stats_sends_the_gauges_of_the_recording_and_no_events() {
    let (env, statsd) = (TestEnv::new(), Statsd::start());
    let circusd = env.start(&format!(
        "{STACK}[plugin:fs]\nuse = circus.plugins.statsd.FullStats\napplication_name = full\n\
         host = 127.0.0.1\nport = {}\nsample_rate = 0.5\nloop_rate = 0.1\n",
        statsd.port()
    ));
    circusd.wait_for_pids("web", 2);
    circusd.wait_for_pids("My App", 1);
    let form = |metric: &str| {
        let (name, value) = metric.split_once(':').expect("a metric");
        let (value, kind) = value.split_once('|').expect("a value");
        let value = match value {
            "<FLOAT>" => "float",
            "<INT>" => "int",
            value if name.ends_with("watchers_num") => value,
            value if value.contains('.') && value.parse::<f64>().is_ok() => "float",
            value if value.parse::<u64>().is_ok() => "int",
            value => value,
        };
        format!("{name}:{value}|{kind}")
    };
    let recorded: Vec<String> = recording()
        .iter()
        .filter_map(|line| line["data"].as_str().filter(|_| line["kind"] == "udp"))
        .filter(|metric| metric.starts_with("circus.full.") && !metric.contains(".burn."))
        .map(form)
        .collect();
    // The recording has two rounds; the watcher `mark` is ours and stopped.
    let expected = &recorded[..recorded.len() / 2];
    let mark = "circus.full.watcher._stats.mark.watchers_num:0|g|@0.5";
    let first = expected[0].as_str();
    // A round that began before all processes were there is not the one.
    let round = circusd.wait_until("a round as recorded", || {
        let round: Vec<String> = std::iter::once(first.to_owned())
            .chain(
                std::iter::repeat_with(|| form(&statsd.next()))
                    .skip_while(|metric| metric != first)
                    .skip(1)
                    .take(expected.len()),
            )
            .filter(|metric| metric != mark)
            .collect();
        (round == expected).then_some(round)
    });
    assert!(round.iter().all(|metric| metric.contains("._stats.")), "{round:?}");
}
