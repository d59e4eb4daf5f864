//! Users' Python code, unmodified, against our daemon: the client classes and a plugin of their own, with the
//! package `circus` from PyPI and with the one that circusd brings along.

use circus_e2e::program::run;
use circus_e2e::{Python, TestEnv};
use serde_json::{Value, json};
use std::process::{Command, Stdio};

const SECTIONS: &str = "[watcher:w]\ncmd = sleep 1000\nnumprocesses = 2\nanswer = 42\n";

/// Runs a script against the endpoint and reads its last line as JSON.
fn last_line(python: &Python, env: &TestEnv, code: &str) -> Value {
    let output = python.script(code, &[&env.endpoint(), &env.pubsub_endpoint()]);
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    assert!(last.is_some(), "{text}{errors}");
    last.unwrap_or_default()
}

#[test]
fn circus_client_calls_and_reads_replies_of_its_own() {
    Python::both("CircusClient").for_each(calls);
}

fn calls(python: &Python) {
    let env = TestEnv::new();
    let circusd = env.start(SECTIONS);
    let pids = circusd.wait_for_pids("w", 2);
    let code = r#"
import json, sys
from circus.client import CircusClient
from circus.exc import CallError
client = CircusClient(endpoint=sys.argv[1], timeout=30)
seen = {}
seen["watchers"] = client.send_message("list")["watchers"]
seen["pids"] = client.send_message("list", name="w")["pids"]
seen["incr"] = client.send_message("incr", name="w", waiting=True)["numprocesses"]
seen["answer"] = client.send_message("get", name="w", keys=["answer"])["options"]
seen["stopped"] = client.send_message("stop", name="w", waiting=True)["status"]
seen["started"] = len(client.send_message("start", name="w", waiting=True)["info"]["started"])
seen["error"] = client.send_message("status", name="nosuch")["reason"]
# A call that gives up leaves a late reply behind, which the next call must not take for its own.
client.timeout = 0.001
try:
    client.send_message("restart", name="w", waiting=True)
    seen["late"] = None
except CallError as error:
    seen["late"] = str(error)
client.timeout = 30
client._timeout = 30
seen["next"] = client.send_message("numwatchers")["numwatchers"]
client.stop()
print(json.dumps(seen))
"#;
    let seen = last_line(python, &env, code);
    assert_eq!(
        seen,
        json!({"watchers": ["w"], "pids": pids, "incr": 3, "answer": {"answer": "42"},
            "stopped": "ok", "started": 3, "error": "program nosuch not found", "late": seen["late"],
            "next": 1})
    );
}

#[test]
fn async_circus_client_waits_for_several_replies() {
    Python::both("AsyncCircusClient").for_each(waits);
}

fn waits(python: &Python) {
    let env = TestEnv::new();
    let circusd = env.start(SECTIONS);
    let pids = circusd.wait_for_pids("w", 2);
    let code = r#"
import asyncio, json, sys
from circus.client import AsyncCircusClient

async def main():
    client = AsyncCircusClient(endpoint=sys.argv[1])
    seen = {"pids": (await client.send_message("list", name="w"))["pids"]}
    restarted = await client.send_message("restart", name="w", waiting=True)
    seen["stopped"] = restarted["info"]["stopped"]
    seen["status"] = (await client.send_message("status", name="w"))["status"]
    client.stop()
    print(json.dumps(seen))

asyncio.run(main())
"#;
    let seen = last_line(python, &env, code);
    let mut stopped = pids.clone();
    stopped.sort_unstable();
    assert_eq!(seen, json!({"pids": pids, "stopped": stopped, "status": "active"}));
}

#[test]
fn circus_consumer_follows_events() {
    Python::both("CircusConsumer").for_each(follows);
}

fn follows(python: &Python) {
    let env = TestEnv::new();
    let circusd = env.start(SECTIONS);
    circusd.wait_for_pids("w", 2);
    let code = r#"
import json, sys
from circus.client import CircusClient
from circus.consumer import CircusConsumer
client = CircusClient(endpoint=sys.argv[1], timeout=30)
consumer = CircusConsumer(["watcher.w."], endpoint=sys.argv[2])
with consumer:
    # Until the subscription has arrived nothing is published to it.
    while not consumer.pubsub_socket.poll(100):
        client.send_message("set", name="w", options={"max_retry": 5})
    client.send_message("incr", name="w")
    for topic, message in consumer:
        if not topic.endswith(b".updated"):
            print(json.dumps({"topic": topic.decode(), "payload": json.loads(message)}))
            break
"#;
    let seen = last_line(python, &env, code);
    assert_eq!(seen["topic"], "watcher.w.spawn");
    assert!(circusd.pids("w").contains(
        &i32::try_from(seen["payload"]["process_pid"].as_i64().expect("a pid")).expect("a pid")
    ));
}

#[test]
fn a_plugin_of_a_users_own_calls_casts_and_gets_events() {
    Python::both("a CircusPlugin").for_each(runs_a_plugin);
}

fn runs_a_plugin(python: &Python) {
    let env = TestEnv::new();
    let code = r#"
import json
from circus.plugins import CircusPlugin

class Recorder(CircusPlugin):
    name = "recorder"

    def handle_init(self):
        self.path = self.config["path"]
        self.asked = False

    def ask(self):
        self.asked = True
        status = self.call("status", name="w")["status"]
        answer = self.call("options", name="w")["options"]["answer"]
        self.note({"status": status, "answer": answer, "active": self.active})

    def handle_recv(self, data):
        if not self.asked:
            self.ask()
        watcher, action, message = self.split_data(data)
        message = self.load_message(message)
        if action == "reap":
            self.cast("incr", name="w")
        self.note({"watcher": watcher, "action": action, "pid": message.get("process_pid")})

    def note(self, what):
        with open(self.path, "a") as file:
            file.write(json.dumps(what) + "\n")
"#;
    std::fs::write(env.path("recorder.py"), code).expect("writable");
    let circusd = env.start(SECTIONS);
    let pids = circusd.wait_for_pids("w", 2);
    let notes = env.path("notes");
    let mut plugin = python.command();
    plugin
        .args(["-c", "from circus import plugins;plugins.main()"])
        .args(["--endpoint", &env.endpoint(), "--pubsub", &env.pubsub_endpoint()])
        .args(["--config", &format!("path:{}", notes.display()), "recorder.Recorder"])
        .env(circus_e2e::process::MARK, env.id())
        .current_dir(env.directory())
        .stdin(Stdio::null());
    let mut plugin = plugin.spawn().expect("it is installed");
    let noted = || -> Vec<Value> {
        let text = std::fs::read_to_string(&notes).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let has = |what: &Value| noted().iter().any(|note| note == what);
    let first = json!({"status": "active", "answer": "42", "active": true});
    // Its subscription may arrive later than its requests.
    circusd.wait_until("the plugin gets events", || {
        circusd.ok("set", json!({"name": "w", "options": {"max_retry": 5}}));
        noted().iter().any(|note| note["action"] == "updated").then_some(())
    });
    circusd.wait_until("the plugin has asked", || has(&first).then_some(()));
    circusd.ok("decr", json!({"name": "w", "waiting": true}));
    let reaped = json!({"watcher": "w", "action": "reap", "pid": pids[0]});
    circusd.wait_until("the plugin has seen the end", || has(&reaped).then_some(()));
    // Its cast takes the decrement back.
    circusd.wait_until("the plugin has its way", || (circusd.pids("w").len() == 2).then_some(()));
    plugin.kill().expect("it is our child");
    plugin.wait().expect("it is our child");
}

#[test]
fn circusctl_listens_to_events() {
    let env = TestEnv::new();
    let Some(python) = Python::for_test("circusctl listen") else { return };
    let circusd = env.start(SECTIONS);
    circusd.wait_for_pids("w", 2);
    let output = env.path("listened");
    let file = std::fs::File::create(&output).expect("writable");
    let mut listener = Command::new(python.program("circusctl"))
        .args(["--endpoint", &env.pubsub_endpoint(), "listen", "watcher.w"])
        .env("PYTHONUNBUFFERED", "1")
        .stdin(Stdio::null())
        .stdout(file)
        .spawn()
        .expect("it is installed");
    circusd.wait_until("an event is printed", || {
        circusd.ok("set", json!({"name": "w", "options": {"max_retry": 5}}));
        let text = std::fs::read_to_string(&output).unwrap_or_default();
        text.contains("watcher.w.updated").then_some(())
    });
    listener.kill().expect("it is our child");
    listener.wait().expect("it is our child");
}

#[test]
fn circusctl_restarts_and_reloads_everything() {
    let env = TestEnv::new();
    let Some(python) = Python::for_test("circusctl restart") else { return };
    let circusd = env.start(SECTIONS);
    let client = python.program("circusctl");
    let mut before = circusd.wait_for_pids("w", 2);
    for command in ["restart", "reload", "start", "stop"] {
        let words = ["--timeout", "30", "--endpoint", &env.endpoint(), command, "--waiting"]
            .map(String::from);
        let output = run(&client, &words.each_ref().map(String::as_str));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n", "{command}: {output:?}");
        let now = circusd.pids("w");
        let kept = now.iter().filter(|pid| before.contains(pid)).count();
        assert_eq!(kept, if command == "start" { 2 } else { 0 }, "{command}: {before:?} {now:?}");
        before = now;
    }
}
