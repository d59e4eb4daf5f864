//! The statistics feed: what circusd-stats publishes, for whom, and who can read it.

use circus_e2e::program;
use circus_e2e::python::say_skipped;
use circus_e2e::{Daemon, PATIENCE, Python, TestEnv};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// The feed of a test, read as any subscriber would.
struct Feed {
    socket: zmq::Socket,
}

impl Feed {
    fn subscribe(env: &TestEnv, topic: &str) -> Self {
        Self::at(&endpoint(env), topic)
    }

    fn at(point: &str, topic: &str) -> Self {
        let socket = zmq::Context::new().socket(zmq::SUB).expect("a socket");
        socket.set_linger(0).expect("linger");
        socket.set_reconnect_ivl(5).expect("interval");
        socket.set_rcvtimeo(i32::try_from(PATIENCE.as_millis()).expect("fits")).expect("time");
        socket.set_subscribe(topic.as_bytes()).expect("a topic");
        socket.connect(point).expect("a valid endpoint");
        Self { socket }
    }

    fn next(&self) -> (String, Value) {
        let frames = self.socket.recv_multipart(0).expect("a message in time");
        let [topic, payload] = frames.try_into().expect("two frames");
        let topic = String::from_utf8(topic).expect("UTF-8");
        (topic, serde_json::from_slice(&payload).expect("JSON"))
    }

    /// The first message that fits.
    fn until(&self, what: &str, fits: impl Fn(&str, &Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (topic, payload) = self.next();
            if fits(&topic, &payload) {
                return payload;
            }
            assert!(Instant::now() < deadline, "never published: {what}");
        }
    }

    fn topic(&self, wanted: &str) -> Value {
        self.until(wanted, |topic, _| topic == wanted)
    }
}

fn endpoint(env: &TestEnv) -> String {
    format!("ipc://{}", env.path("stats").display())
}

/// A world whose circusd runs circusd-stats ten times a second.
fn world() -> TestEnv {
    let env = TestEnv::new();
    let lines = format!("statsd = True\nstats_endpoint = {}\nstats_interval = 0.1", endpoint(&env));
    env.circus(&lines)
}

fn skipped(what: &str) -> bool {
    let other = program::another_circusd().is_some();
    if other {
        say_skipped(&format!("{what}: it is about our circusd-stats"));
    }
    other
}

/// The keys of a payload, and whether each value is null, a number, a text or a list.
fn shape(payload: &Value) -> BTreeSet<(String, &'static str)> {
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(text) if text.parse::<f64>().is_err() && text.starts_with('<') => {
            // Placeholders of the recording name their kind.
            match text.trim_matches(['<', '>']).split(':').next() {
                Some("int" | "float") => "number",
                _ => "text",
            }
        }
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    payload
        .as_object()
        .expect("an object")
        .iter()
        .map(|(key, value)| (key.clone(), kind(value)))
        .collect()
}

#[test]
fn topics_and_payloads_are_those_of_the_recording() {
    if skipped("the recorded feed") {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/zmq/stats.jsonl");
    let recording = std::fs::read_to_string(path).expect("the recording");
    let steady = recording
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .find(|case| case["case"] == "stats/steady")
        .expect("the case");
    let env = world();
    let circusd = env.start(
        "[watcher:kids]\ncmd = sh -c \"sleep 1000 & wait\"\n\
         [watcher:Mixed Case]\ncmd = sleep 1000\n[watcher:sleeper]\ncmd = sleep 1000\n\
         [watcher:off]\ncmd = sleep 1000\nautostart = False\n\
         [socket:web]\nhost = 127.0.0.1\nport = 0\n",
    );
    circusd.wait_for_pids("circusd-stats", 1);
    let feed = Feed::subscribe(&env, "stat.");
    for message in steady["messages"].as_array().expect("messages") {
        let topic = message["topic"].as_str().expect("text");
        let head = topic.split('<').next().expect("a first part");
        let each = topic.contains('<');
        let payload = feed.until(topic, |found, _| {
            let rest = found.strip_prefix(head);
            let number = |rest: &str| rest.parse::<u32>().is_ok();
            if each { rest.is_some_and(number) } else { rest == Some("") }
        });
        let (ours, recorded) = (shape(&payload), shape(&message["payload"]));
        assert!(recorded.is_subset(&ours), "{topic}: {ours:?} lacks some of {recorded:?}");
        // docs/differences.md, "Statistics": sockets say more.
        let more: Vec<_> = ours.difference(&recorded).map(|(key, _)| key.as_str()).collect();
        assert!(more.is_empty() || more == ["backlog", "connections"], "{topic}: {more:?}");
    }
}

#[test]
fn watchers_processes_and_sockets_are_followed_as_they_come_and_go() {
    if skipped("following") {
        return;
    }
    let env = world();
    let circusd = env.start(
        "[watcher:web]\ncmd = sleep 1000\n[watcher:other]\ncmd = sleep 1000\n\
         [socket:s]\nhost = 127.0.0.1\nport = 0\n",
    );
    let first = circusd.wait_for_pids("web", 1)[0];
    let feed = Feed::subscribe(&env, "stat.");
    let pids = |wanted: Value| {
        feed.until(&format!("web with {wanted}"), |topic, payload| {
            topic == "stat.web" && payload["pid"] == wanted
        });
    };
    pids(json!([first]));
    circusd.ok("incr", json!({"name": "web", "waiting": true}));
    let both = circusd.wait_for_pids("web", 2);
    pids(json!(both));
    // A harmless signal hides nobody, as it does with the original.
    circusd.ok("signal", json!({"name": "web", "signum": "CONT"}));
    pids(json!(both));
    circusd.ok("add", json!({"name": "Later One", "cmd": "sleep 1000", "start": true}));
    feed.until("a watcher that was added", |topic, _| topic == "stat.later one");
    circusd.ok("rm", json!({"name": "later one", "waiting": true}));
    circusd.ok("stop", json!({"name": "web", "waiting": true}));
    // Two rounds of another watcher without it.
    for _ in 0..2 {
        feed.topic("stat.other");
    }
    for _ in 0..2 {
        let mut topics = Vec::new();
        while topics.last().is_none_or(|last| last != "stat.other") {
            topics.push(feed.next().0);
        }
        assert!(!topics.iter().any(|topic| topic.starts_with("stat.web")), "{topics:?}");
        assert!(!topics.iter().any(|topic| topic.starts_with("stat.later")), "{topics:?}");
    }
}

#[test]
fn circusd_its_kernel_and_its_helpers_are_the_watcher_circus() {
    if skipped("the watcher circus") {
        return;
    }
    let env = world();
    let circusd = env.start("[watcher:hosted]\ncmd = sleep 1000\nuse_papa = True\n");
    circusd.wait_for_pids("hosted", 1);
    let helper = circusd.wait_for_pids("circusd-stats", 1)[0];
    let feed = Feed::subscribe(&env, "stat.circus");
    let summary = feed.until("all three", |topic, payload| {
        topic == "stat.circus" && payload["pid"].as_array().is_some_and(|pids| pids.len() == 3)
    });
    assert!(summary["age"].is_f64());
    let mut roles = BTreeSet::new();
    while roles.len() < 3 {
        let (topic, payload) = feed.next();
        let Some(name) = payload["name"].as_str() else { continue };
        assert_eq!(topic, format!("stat.circus.{}", payload["pid"]));
        if name == "circusd-stats" {
            assert_eq!(payload["pid"], helper);
        }
        if name == "circusd" {
            assert_eq!(payload["pid"], circusd.pid());
            assert_eq!(payload["children"], json!([]), "workers are told under their own names");
        }
        roles.insert(name.to_owned());
    }
    let expected = ["circusd", "circusd-stats", "papa-kernel"].map(str::to_owned);
    assert_eq!(roles, BTreeSet::from(expected));
}

#[test]
fn children_are_published_with_the_cpu_that_they_use() {
    if skipped("children") {
        return;
    }
    let env = world();
    let circusd = env.start("[watcher:parent]\ncmd = sh -c \"while :; do :; done & sleep 1000\"\n");
    let pid = circusd.wait_for_pids("parent", 1)[0];
    let feed = Feed::subscribe(&env, "stat.parent.");
    let payload = feed.until("a busy child", |_, payload| {
        let children = payload["children"].as_array().expect("a list");
        children.iter().any(|child| child["cpu"].as_f64().is_some_and(|cpu| cpu > 1.0))
    });
    assert_eq!(payload["pid"], pid);
    // The command knows it as well, which the original does not.
    let busy = circusd.wait_until("stats shows the CPU of the child", || {
        let info = circusd.ok("stats", json!({"name": "parent", "fresh": true}));
        let children = info["info"][pid.to_string()]["children"].clone();
        let children = children.as_array().expect("a list").clone();
        children.into_iter().find(|child| child["cpu"].as_f64().is_some_and(|cpu| cpu > 1.0))
    });
    assert_eq!(busy["cmdline"], "sh");
}

#[test]
fn connections_are_counted_whether_they_wait_or_were_accepted() {
    if skipped("connections") {
        return;
    }
    let env = world();
    let circusd =
        env.start("[socket:lazy]\nhost = 127.0.0.1\nport = 0\n[watcher:other]\ncmd = sleep 1000\n");
    circusd.wait_for_pids("circusd-stats", 1);
    let sockets = circusd.ok("listsockets", json!({}));
    let (fd, port) = (sockets["sockets"][0]["fd"].clone(), sockets["sockets"][0]["port"].clone());
    let feed = Feed::subscribe(&env, "stat.sockets");
    let quiet = feed.topic("stat.sockets");
    assert_eq!(quiet["reads"], 0);
    let port = u16::try_from(port.as_u64().expect("a port")).expect("a port");
    let _connection = TcpStream::connect(("127.0.0.1", port)).expect("circusd listens");
    let hit = feed.until("a hit", |topic, payload| {
        topic == format!("stat.sockets.{fd}") && payload["reads"] == 1
    });
    assert_eq!((&hit["backlog"], &hit["connections"]), (&json!(1), &json!(0)));
    assert_eq!(hit["address"], format!("127.0.0.1:{port}"));
}

#[test]
fn nothing_is_measured_while_nobody_listens() {
    if skipped("resting") {
        return;
    }
    let env = world();
    let circusd = env.start("[watcher:web]\ncmd = sleep 1000\n");
    let helper = circusd.wait_for_pids("circusd-stats", 1)[0];
    let feed = Feed::subscribe(&env, "stat.web");
    feed.topic("stat.web");
    drop(feed);
    // At rest it waits without a time-out: the kernel shows the call that a thread sleeps in, and a poll
    // without an end has all bits set (-1) as its third argument.
    circusd.wait_until("circusd-stats rests", || {
        let call = std::fs::read_to_string(format!("/proc/{helper}/syscall")).unwrap_or_default();
        let words: Vec<_> = call.split(' ').collect();
        let timeout = words.get(3).map(|word| word.trim_start_matches("0x"))?;
        (timeout == "ffffffffffffffff" || timeout == "ffffffff").then_some(())
    });
    // And it is there again for the next one.
    Feed::subscribe(&env, "stat.web").topic("stat.web");
}

#[test]
fn the_original_stats_client_reads_our_feed() {
    let Some(python) = Python::for_test("the original StatsClient") else { return };
    if skipped("our feed") {
        return;
    }
    let env = world();
    let circusd = env.start(
        "[watcher:web]\ncmd = sleep 1000\nnumprocesses = 2\n[socket:s]\nhost = 127.0.0.1\nport = 0\n",
    );
    let pids = circusd.wait_for_pids("web", 2);
    let code = "import sys\n\
                from circus.stats.client import StatsClient\n\
                seen = set()\n\
                for watcher, subtopic, stat in StatsClient(endpoint=sys.argv[1]):\n\
                \x20   if watcher == 'web' and subtopic is None:\n\
                \x20       assert sorted(stat['pid']) == sorted(map(int, sys.argv[2:])), stat\n\
                \x20   seen.add((watcher, subtopic is None))\n\
                \x20   if len(seen) == 6:\n\
                \x20       break\n\
                print(sorted(seen))\n";
    let arguments = [endpoint(&env), pids[0].to_string(), pids[1].to_string()];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = python.script(code, &arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    let expected = "[('circus', False), ('circus', True), ('sockets', False), ('sockets', True), \
                    ('web', False), ('web', True)]";
    assert_eq!(text.trim(), expected, "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn circusd_stats_ends_with_the_circusd_that_started_it_and_recovers_otherwise() {
    if skipped("its end") {
        return;
    }
    let env = world();
    let circusd = env.start("[watcher:web]\ncmd = sleep 1000\nuse_papa = True\n");
    let helper = circusd.wait_for_pids("circusd-stats", 1)[0];
    let handle = circus_e2e::process::Handle::open(helper).expect("it runs");
    // A second one by hand, which nobody takes along.
    let point = format!("ipc://{}", env.path("by-hand").display());
    let mut by_hand = stats(&env, &["--statspoint", &point]).spawn().expect("it is built");
    let socket = Feed::at(&point, "stat.");
    let pid = circusd.wait_for_pids("web", 1)[0];
    socket.topic("stat.web");
    circusd.kill();
    assert!(handle.wait(PATIENCE), "circusd-stats outlives its circusd");
    let circusd = env.start_again();
    assert_eq!(circusd.wait_for_pids("web", 1), [pid]);
    circusd.ok("incr", json!({"name": "web", "waiting": true}));
    let pids = circusd.wait_for_pids("web", 2);
    socket.until("the second process of the second circusd", |topic, payload| {
        topic == "stat.web" && payload["pid"] == json!(pids)
    });
    by_hand.kill().expect("it is our child");
    by_hand.wait().expect("it is our child");
    drop(circusd);
}

/// circusd-stats by hand against the circusd of a test.
fn stats(env: &TestEnv, more: &[&str]) -> Command {
    let mut command = Command::new(program::built("circusd-stats"));
    command
        .args(["--endpoint", &env.endpoint(), "--pubsub", &env.pubsub_endpoint()])
        .args(["--interval", "0.1"])
        .args(more)
        .env(circus_e2e::process::MARK, env.id())
        .stdin(Stdio::null());
    command
}

#[test]
fn a_lone_circusd_file_publishes_statistics() {
    if skipped("one binary") {
        return;
    }
    let env = world();
    let alone = env.path("circusd");
    std::fs::copy(program::circusd(), &alone).expect("a copy");
    env.write_ini("[watcher:web]\ncmd = sleep 1000\n");
    let mut command = Command::new(&alone);
    command
        .arg(env.path("circus.ini"))
        .current_dir(env.directory())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env(circus_e2e::process::MARK, env.id())
        .stdin(Stdio::null());
    let log = env.path("circusd.log");
    let circusd = Daemon::spawn(command, env.endpoint(), env.pubsub_endpoint(), log);
    circusd.wait_for_answer();
    Feed::subscribe(&env, "stat.web").topic("stat.web");
    let options = circusd.ok("options", json!({"name": "circusd-stats"}));
    let cmd = options["options"]["cmd"].as_str().expect("text").to_owned();
    assert!(cmd.starts_with(&format!("{} circusd-stats ", alone.display())), "{cmd}");
}

#[test]
fn wrong_endpoints_are_told_in_one_sentence() {
    let env = TestEnv::new();
    let run = |arguments: &[&str]| {
        let output = Command::new(program::built("circusd-stats"))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("it is built");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let point = format!("ipc://{}", env.path("feed").display());
    let nobody = format!("ipc://{}", env.path("nobody").display());
    let (code, text) = run(&["--endpoint", &nobody, "--statspoint", &point]);
    assert_eq!(code, Some(1));
    assert!(text.starts_with(&format!("error: no circusd answers at {nobody}")), "{text}");
    let (code, text) = run(&["--endpoint", "web", "--statspoint", &point]);
    assert_eq!(code, Some(1));
    assert!(text.contains("`web` is not an endpoint"), "{text}");
    let (code, text) = run(&["--statspoint", "tcp://nonsense"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.starts_with("error: cannot publish on tcp://nonsense"), "{text}");
    let (code, _) = run(&["--interval", "0"]);
    assert_eq!(code, Some(2));
}

#[test]
fn a_reload_of_the_file_leaves_circusd_stats_alone() {
    if skipped("reloads") {
        return;
    }
    let env = world();
    let circusd = env.start("[watcher:web]\ncmd = sleep 1000\n");
    let helper = circusd.wait_for_pids("circusd-stats", 1);
    circusd.wait_for_pids("web", 1);
    env.write_ini("[watcher:other]\ncmd = sleep 1000\n");
    circusd.ok("reloadconfig", json!({"waiting": true}));
    circusd.wait_for_pids("other", 1);
    assert_eq!(circusd.pids("circusd-stats"), helper);
}
