//! Output streams that are Python classes of the user: what they are told, and what becomes of output when
//! they are slow, raise or crash. `stream_custom_class` is recorded in `tests/golden/behaviours.jsonl`.

use super::python_hooks::{Replay, lines, module, pythons, read, world};
use circus_e2e::program::fixture;
use circus_e2e::{Daemon, Gate, Python, TestEnv};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// A class that notes everything it is told.
const RECORDING: &str = r#"
import json, os
here = os.path.dirname(os.path.abspath(__file__))
def note(*words):
    with open(os.path.join(here, 'notes'), 'a') as notes:
        notes.write(json.dumps(words) + '\n')
class Recording(object):
    def __init__(self, **options):
        note('init', options)
    def open(self):
        note('open')
    def close(self):
        note('close')
    def __call__(self, data):
        note('data', data['name'], data['data'].decode('latin-1'), 'timestamp' in data)
        if b'boom' in data['data']:
            raise ValueError('boom')
        if b'crash' in data['data'] and not os.path.exists(os.path.join(here, 'crashed')):
            open(os.path.join(here, 'crashed'), 'w').close()
            os._exit(3)
class Plain(object):
    def __init__(self, filename, gate=None):
        self.file = open(os.path.join(here, filename), 'ab')
        self.gate = gate
    def __call__(self, data):
        assert isinstance(data['data'], bytes) and len(data['data']) <= 1024
        if self.gate:
            with open(self.gate) as gate:
                gate.readline()
            self.gate = None
        self.file.write(data['data'])
        self.file.flush()
"#;

/// What the class has noted: everything but output, and the output put together by stream.
fn notes(env: &TestEnv) -> (Vec<Value>, BTreeMap<String, String>) {
    let (output, told): (Vec<Value>, Vec<Value>) =
        lines(env, "notes").into_iter().partition(|note| note[0] == "data");
    let mut streams = BTreeMap::new();
    for piece in output {
        let name = piece[1].as_str().expect("a name").to_owned();
        *streams.entry(name).or_insert_with(String::new) += piece[2].as_str().expect("text");
    }
    (told, streams)
}

fn wait_for_output(env: &TestEnv, circusd: &Daemon, stream: &str, expected: &str) {
    circusd.wait_until(&format!("{stream} has got {expected:?}"), || {
        (notes(env).1.get(stream).map(String::as_str) == Some(expected)).then_some(())
    });
}

#[test]
fn stream_custom_class() {
    let Some(replay) = Replay::of("stream_custom_class") else { return };
    let calls = || lines(&replay.env, "rec.log");
    let data = |calls: &[Value]| calls.iter().filter(|call| call[0] == "data").count();
    let circusd = replay.start(false);
    let wait_for_data = |count| {
        circusd.wait_until("the output is there", || (data(&calls()) == count).then_some(()));
    };
    wait_for_data(2);
    circusd.ok_when_idle("restart", &json!({"name": "a", "waiting": true}));
    wait_for_data(4);
    circusd.ok_when_idle("stop", &json!({"name": "a", "waiting": true}));
    circusd.ok_when_idle("start", &json!({"name": "a", "waiting": true}));
    wait_for_data(6);
    circusd.quit();
    // Which of the two streams gets its line first is up to the pipes.
    let in_any_order = |mut calls: Vec<Value>| {
        for group in calls.chunk_by_mut(|a, b| a[0] == "data" && b[0] == "data") {
            group.sort_by_key(ToString::to_string);
        }
        calls
    };
    assert_eq!(in_any_order(calls()), in_any_order(replay.observed("calls")));
}

#[test]
fn a_class_that_raises_loses_the_piece_and_one_that_crashes_is_made_again() {
    let Some(env) = world("a stream class that raises") else { return };
    module(&env, "streams", RECORDING);
    let gate = Gate::at(env.path("go"));
    let circusd = env.start(&format!(
        "[watcher:web]\n\
         cmd = sh -c 'echo one; {0}; echo boom; {0}; echo crash; {0}; echo two; exec sleep 1000'\n\
         stdout_stream.class = streams.Recording\nstdout_stream.colour = blue\n",
        gate.wait()
    ));
    wait_for_output(&env, &circusd, "stdout", "one\n");
    gate.let_one_pass();
    wait_for_output(&env, &circusd, "stdout", "one\nboom\n");
    gate.let_one_pass();
    let objects = || notes(&env).0.iter().filter(|note| note[0] == "init").count();
    circusd.wait_until("there is another object", || (objects() == 2).then_some(()));
    gate.let_one_pass();
    wait_for_output(&env, &circusd, "stdout", "one\nboom\ncrash\ntwo\n");
    assert!(circusd.log().contains("ValueError: boom"), "{}", circusd.log());
    assert!(circusd.log().contains("are lost on the way to its stream class"), "{}", circusd.log());
    let init = json!(["init", {"colour": "blue"}]);
    let told = [init.clone(), json!(["open"]), init, json!(["open"])];
    assert_eq!(notes(&env).0, told);
    // The process has noticed nothing.
    assert_eq!(circusd.pids("web").len(), 1);
}

#[test]
fn every_byte_reaches_a_slow_class_in_pieces() {
    let Some(env) = world("a slow stream class") else { return };
    module(&env, "streams", RECORDING);
    let size = 600_000;
    let gate = Gate::at(env.path("go"));
    let circusd = env.start(&format!(
        "[watcher:flood]\ncmd = {}\nrespawn = false\nstdout_stream.class = streams.Plain\n\
         stdout_stream.filename = theirs\nstdout_stream.gate = {}\n\
         [watcher:check]\ncmd = {}\nrespawn = false\nstdout_stream.filename = {}\n",
        fixture(&format!("flood {size}")),
        gate.path().display(),
        fixture(&format!("flood {size}")),
        env.path("ours").display(),
    ));
    let size_of = |name| fs::metadata(env.path(name)).map_or(0, |file| file.len());
    circusd.wait_until("the other one is through", || (size_of("ours") == size).then_some(()));
    assert_eq!(size_of("theirs"), 0, "the class has not taken anything yet");
    gate.let_one_pass();
    circusd.wait_until("everything is written", || (size_of("theirs") == size).then_some(()));
    let of = |name| fs::read(env.path(name)).expect("readable");
    assert!(of("theirs") == of("ours"));
}

#[test]
fn a_stream_class_is_set_and_changed_while_the_watcher_runs() {
    let Some(env) = world("a stream class by command") else { return };
    module(&env, "streams", RECORDING);
    // It prints all the time, also while the class is changed.
    let circusd = env.start(&format!(
        "[watcher:web]\ncmd = sh -c 'n=0; while :; do n=$((n+1)); echo $n; sleep 0.02; done'\n\
         stdout_stream.filename = {}\n",
        env.path("out").display()
    ));
    let pid = circusd.wait_for_pids("web", 1);
    let set = |options: Value| {
        let properties = json!({"name": "web", "options": options, "waiting": true});
        circusd.ok_when_idle("set", &properties)
    };
    let missing =
        json!({"name": "web", "options": {"stdout_stream": {"class": "streams.Missing"}}});
    let refused = circusd.wait_until("it is refused", || {
        let reply = circusd.call("set", missing.clone());
        Some(reply).filter(|reply| reply["reason"].to_string().contains("Missing"))
    });
    assert_eq!(refused["status"], "error");
    set(json!({"stdout_stream": {"class": "streams.Recording", "a": "1"}}));
    circusd.wait_until("the class gets output", || (!notes(&env).1.is_empty()).then_some(()));
    set(json!({"stdout_stream.a": "2"}));
    circusd.wait_until("the old object is closed", || {
        notes(&env).0.contains(&json!(["close"])).then_some(())
    });
    let seen = notes(&env).1["stdout"].len();
    circusd.wait_until("the new one gets output", || {
        (notes(&env).1["stdout"].len() > seen).then_some(())
    });
    let mut told = notes(&env).0;
    told.retain(|note| note[0] == "init");
    assert_eq!(told, [json!(["init", {"a": "1"}]), json!(["init", {"a": "2"}])]);
    assert_eq!(circusd.pids("web"), pid);
    circusd.quit();
    // Nothing is lost or doubled on the way from the file to the first object and on to the second.
    let all = read(&env, "out") + &notes(&env).1["stdout"];
    let numbers: Vec<u64> = all.lines().map(|line| line.parse().expect("a number")).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{numbers:?}");
}

#[test]
fn a_hosted_process_gives_its_class_the_time_as_well() {
    let Some(env) = world("a stream class of hosted processes") else { return };
    if env.has_no_kernel() {
        return;
    }
    module(&env, "streams", RECORDING);
    let circusd = env.start(
        "[watcher:web]\ncmd = sh -c 'echo out; echo err >&2; exec sleep 1000'\nuse_papa = true\n\
         stdout_stream.class = streams.Recording\nstderr_stream.class = streams.Recording\n",
    );
    wait_for_output(&env, &circusd, "stdout", "out\n");
    wait_for_output(&env, &circusd, "stderr", "err\n");
    assert!(lines(&env, "notes").iter().all(|note| note[0] != "data" || note[3] == true));
}

#[test]
fn stream_classes_run_on_every_python_of_this_machine() {
    let Some(python) = Python::for_test("stream classes on other Pythons") else { return };
    std::thread::scope(|scope| {
        for python in pythons(python.program("python")) {
            scope.spawn(move || {
                let env = TestEnv::new().circus(&format!("python = {}", python.display()));
                module(&env, "streams", RECORDING);
                let circusd = env.start(
                    "[watcher:web]\ncmd = sh -c \"printf 'a\\\\0\\\\377\\\\303\\\\274\\\\n'; exec sleep 1000\"\n\
                     stdout_stream.class = streams.Plain\nstdout_stream.filename = out\n",
                );
                circusd.wait_until("the output is there", || {
                    let out = fs::read(env.path("out")).unwrap_or_default();
                    (out == b"a\0\xff\xc3\xbc\n").then_some(())
                });
            });
        }
    });
}
