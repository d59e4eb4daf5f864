//! The plugin Flapping: the commands of the recording, what became of their faults, and its section in `options`.

use circus_e2e::process::Handle;
use circus_e2e::{Daemon, PATIENCE, TestEnv, program};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

/// A plugin between which and circusd every command is noted.
struct Observed {
    child: Child,
    /// The command, and whom it is for.
    commands: Receiver<(String, String)>,
    context: zmq::Context,
}

impl Observed {
    /// Runs the plugin with these options and waits until it hears events.
    fn start(env: &TestEnv, circusd: &Daemon, options: &str) -> Self {
        let context = zmq::Context::new();
        let endpoint = format!("ipc://{}", env.path("between").display());
        let front = context.socket(zmq::ROUTER).expect("a socket");
        front.bind(&endpoint).expect("bound");
        let back = context.socket(zmq::DEALER).expect("a socket");
        back.connect(&env.endpoint()).expect("a valid endpoint");
        let (noted, commands) = mpsc::channel();
        // Ends with the context.
        thread::spawn(move || {
            let mut plugin = Vec::new();
            loop {
                let mut items = [front.as_poll_item(zmq::POLLIN), back.as_poll_item(zmq::POLLIN)];
                if zmq::poll(&mut items, -1).is_err() {
                    return;
                }
                let (request, reply) = (items[0].is_readable(), items[1].is_readable());
                if request {
                    let mut frames = front.recv_multipart(0).expect("a request");
                    let body = frames.pop().expect("a body");
                    plugin = frames.remove(0);
                    let request: Value = serde_json::from_slice(&body).expect("JSON");
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    let command = text(&request["command"]);
                    if command != "dstats" {
                        // The test may have ended.
                        let _ = noted.send((command, text(&request["properties"]["name"])));
                    }
                    back.send(body, 0).expect("sent");
                }
                if reply {
                    let body = back.recv_bytes(0).expect("a reply");
                    front.send_multipart([plugin.clone(), body], 0).expect("sent");
                }
            }
        });
        let child = Command::new(program::built("circus-plugin"))
            .args(["--endpoint", &endpoint, "--pubsub", &env.pubsub_endpoint()])
            .args(["--check-delay", "1", "--config", options, "--log-output"])
            .arg(env.path("plugin.log"))
            .arg("circus.plugins.flapping.Flapping")
            .env(circus_e2e::process::MARK, env.id())
            .stdin(Stdio::null())
            .spawn()
            .expect("it starts");
        let observed = Self { child, commands, context };
        circusd.wait_until("the plugin hears events", || {
            // It asks for the options of a watcher that it knows to have died.
            for pid in circusd.pids("mark") {
                Handle::open(pid).iter().for_each(Handle::kill);
            }
            observed.commands.try_recv().ok()
        });
        observed
    }

    fn next(&self) -> (String, String) {
        self.commands.recv_timeout(PATIENCE).expect("a command in time")
    }

    fn next_for(&self, watcher: &str) -> String {
        loop {
            let (command, name) = self.next();
            if name == watcher {
                return command;
            }
            assert_eq!(name, "mark", "{command}");
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        let handle = Handle::open(i32::try_from(self.child.id()).expect("pids fit"));
        handle.expect("not waited for yet").terminate();
        let status = self.child.wait().expect("our child");
        if !thread::panicking() {
            assert!(status.success(), "it ends in order: {status}");
        }
        // The thread between ends, too.
        let _ = self.context.destroy();
    }
}

/// A watcher whose deaths are never flapping, for what is not about flapping.
const MARK: &str = "[watcher:mark]\ncmd = sleep 1000\nflapping.attempts = 1000000\n";

fn recorded(watcher: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/tools/flapping_0.12.1.jsonl");
    let text = std::fs::read_to_string(path).expect("the recording");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines
        .filter(|line| line["kind"] == "cmd" && line["data"]["properties"]["name"] == watcher)
        .map(|line| line["data"]["command"].as_str().expect("a command").to_owned())
        .collect()
}

#[test]
fn the_commands_are_those_of_the_recording() {
    let env = TestEnv::new().circus("check_delay = 0.2");
    let off = "autostart = False\n";
    let circusd = env.start(&format!(
        "{MARK}[watcher:crash]\ncmd = false\n{off}\
         [watcher:once]\ncmd = false\n{off}flapping.attempts = 3\nflapping.retry_in = 0.2\n\
         flapping.max_retry = 1\n\
         [watcher:inactive]\ncmd = false\n{off}flapping.active = False\n\
         [watcher:slow]\ncmd = sleep 0.5\n{off}\
         [watcher:bad]\ncmd = sleep 1000\nflapping.window = soon\n"
    ));
    circusd.wait_for_pids("bad", 1);
    let plugin = Observed::start(&env, &circusd, "retry_in:0.3:::max_retry:2");
    for (watcher, left_out) in [("crash", 0), ("once", 0)] {
        let expected = recorded(watcher);
        circusd.ok("start", json!({"name": watcher}));
        // The recording goes on with a `set`.
        let commands = expected.len() - usize::from(expected.ends_with(&["options".to_owned()]));
        for command in &expected[left_out..commands] {
            assert_eq!(&plugin.next_for(watcher), command, "{watcher}");
        }
        circusd.wait_for_status(watcher, "stopped");
    }
    circusd.ok("set", json!({"name": "once", "options": {"graceful_timeout": 1}}));
    assert_eq!(plugin.next_for("once"), "options");

    circusd.ok("start", json!({"name": "inactive"}));
    assert_eq!(plugin.next_for("inactive"), "options");
    // The last command of the recording for `slow` answers the end of the recording; entry "Flapping and a stop
    // by hand" of docs/differences.md.
    let mut slow = recorded("slow");
    assert_eq!(slow.pop().as_deref(), Some("stop"));
    circusd.ok("start", json!({"name": "slow"}));
    for command in slow {
        assert_eq!(plugin.next_for("slow"), command);
    }
    circusd.wait_for_status("inactive", "active");

    for pid in circusd.pids("bad") {
        Handle::open(pid).iter().for_each(Handle::kill);
    }
    assert_eq!(plugin.next_for("bad"), "options");
    let log = circusd.wait_until("the plugin tells", || {
        let log = std::fs::read_to_string(env.path("plugin.log")).expect("its log");
        log.contains("[watcher:bad]").then_some(log)
    });
    for text in [
        "crash: flapping detected: retry in 0.3s (attempt number 1)",
        "crash: flapping detected: retry in 0.3s (attempt number 2)",
        "crash: flapping detected: reached max retry limit",
        "once: flapping detected: retry in 0.2s (attempt number 1)",
        "[watcher:bad] flapping.window = soon: not a time; write seconds from 0 on",
    ] {
        assert_eq!(log.matches(text).count(), 1, "{text}\n{log}");
    }
}

#[test]
fn a_stop_by_hand_is_never_undone() {
    let env = TestEnv::new().circus("check_delay = 0.2");
    let circusd = env.start(&format!(
        "{MARK}[watcher:many]\ncmd = sleep 1000\nnumprocesses = 4\n\
         [watcher:crash]\ncmd = false\nautostart = False\n\
         [watcher:My Crash]\ncmd = false\nautostart = False\n"
    ));
    circusd.wait_for_pids("many", 4);
    let plugin = Observed::start(&env, &circusd, "retry_in:0.5");
    // Four processes end at once, and so they do in a restart; nobody is to think that they have crashed.
    circusd.ok("restart", json!({"name": "many", "waiting": true}));
    circusd.ok("stop", json!({"name": "many", "waiting": true}));
    circusd.ok("start", json!({"name": "crash"}));
    // `many` was asked about, perhaps, and nothing else.
    let mut seen = Vec::new();
    while seen.last() != Some(&("stop".to_owned(), "crash".to_owned())) {
        seen.push(plugin.next());
    }
    assert!(!seen.contains(&("stop".to_owned(), "many".to_owned())), "{seen:?}");
    // It is stopped for the time being; now somebody stops it for good.
    circusd.wait_for_status("crash", "stopped");
    circusd.ok("stop", json!({"name": "crash", "waiting": true}));
    assert_eq!(plugin.next_for("crash"), "start");
    circusd.wait_for_answer();
    assert_eq!(circusd.ok("status", json!({"name": "crash"}))["status"], "stopped");
    // The plugin knows the name in events only.
    circusd.ok("start", json!({"name": "My Crash"}));
    assert_eq!(plugin.next_for("my_crash"), "options");
    assert_eq!(plugin.next_for("my_crash"), "stop");
    assert_eq!(plugin.next_for("my_crash"), "start");
    assert_eq!(plugin.next_for("my_crash"), "stop");
    assert_eq!(circusd.ok("status", json!({"name": "many"}))["status"], "stopped");
}

#[test]
fn what_a_pause_has_stopped_is_started_by_the_next_circusd() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let stack = "[watcher:web]\ncmd = sleep 1000\nuse_papa = True\n\
                 [watcher:db]\ncmd = sleep 1000\nuse_papa = True\n";
    let circusd = env.start(stack);
    circusd.wait_for_pids("web", 1);
    circusd.wait_for_pids("db", 1);
    circusd.ok("stop", json!({"name": "web", "pause": true, "waiting": true}));
    circusd.ok("stop", json!({"name": "db", "waiting": true}));
    for (name, status) in [("web", "active"), ("db", "stopped")] {
        circusd.ok("start", json!({"name": name, "paused": true, "waiting": true}));
        assert_eq!(circusd.ok("status", json!({"name": name}))["status"], status);
    }
    circusd.ok("stop", json!({"name": "web", "pause": true, "waiting": true}));
    circusd.kill();
    let circusd = env.start_again();
    circusd.wait_for_pids("web", 1);
    assert_eq!(circusd.ok("status", json!({"name": "db"}))["status"], "stopped");
}

#[test]
fn its_watcher_is_like_that_of_the_recording() {
    let env = TestEnv::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/zmq");
    let ini = std::fs::read_to_string(folder.join("configs/plugins.ini")).expect("the file");
    // Endpoints are those of this test.
    let sections = ini.split_once("\n[").expect("more than [circus]").1;
    let circusd = env.start(&format!("[{sections}"));
    let lines = std::fs::read_to_string(folder.join("commands/plugins.jsonl")).expect("recorded");
    let recorded = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    for case in recorded.filter(|case| case["request"].is_object() && case["bug"] != true) {
        let request = &case["request"];
        let command = request["command"].as_str().expect("a command");
        let reply = circusd.ok(command, request["properties"].clone());
        match command {
            "list" => assert_eq!(reply["watchers"], case["reply"]["watchers"]),
            "numwatchers" => assert_eq!(reply["numwatchers"], case["reply"]["numwatchers"]),
            "status" => {
                let names = |reply: &Value| {
                    reply["statuses"].as_object().expect("statuses").keys().cloned().collect()
                };
                let (mut ours, mut theirs): (Vec<_>, Vec<_>) =
                    (names(&reply), names(&case["reply"]));
                ours.sort();
                theirs.sort();
                assert_eq!(ours, theirs);
            }
            "options" => compare_options(&reply["options"], &case["reply"]["options"]),
            other => panic!("nobody looks at {other}"),
        }
    }
}

/// Entries "Command line of a plugin", "Standard error of a built-in plugin without `logoutput`" and "`__name__` in
/// sections" of docs/differences.md.
fn compare_options(ours: &Value, theirs: &Value) {
    let theirs = theirs.as_object().expect("options");
    for (key, value) in theirs.iter().filter(|(key, _)| *key != "__name__" && *key != "env") {
        match key.as_str() {
            "cmd" => {
                let words = |cmd: &Value| {
                    let cmd =
                        cmd.as_str().expect("a text").replace("__name__:plugin:flapping:::", "");
                    cmd.split_once("--config ").expect("options").1.to_owned()
                };
                assert_eq!(words(&ours["cmd"]), words(value));
            }
            "close_child_stderr" => assert_eq!(ours[key], false),
            // Entry "`options` of a plugin".
            "args" | "stdout_stream_conf" | "stderr_stream_conf" if value.is_null() => {
                assert!(ours[key] == "" || ours[key] == json!({}), "{key}");
            }
            "working_dir" => assert!(ours[key].is_string()),
            _ if value.is_number() => assert_eq!(ours[key].as_f64(), value.as_f64(), "{key}"),
            _ => assert_eq!(&ours[key], value, "{key}"),
        }
    }
}
