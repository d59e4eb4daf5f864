//! Hooks in Python: what they see of circusd, what they may do, and what becomes of those that misbehave.
//! The recorded cases of circus 0.17.2 are those of `tests/golden/behaviours.jsonl` whose name begins with
//! `hook`; what ours does better stands in `docs/differences.md` under "Hooks".

use circus_e2e::{Daemon, Gate, Python, TestEnv, process::Handle};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// A world whose hooks are run by the Python of the tests.
pub(super) fn world(test: &str) -> Option<TestEnv> {
    let python = Python::for_test(test)?.program("python");
    Some(TestEnv::new().circus(&format!("python = {}", python.display())))
}

/// Writes a module beside the ini file, where hooks are found without further ado.
pub(super) fn module(env: &TestEnv, name: &str, text: &str) {
    fs::write(env.path(&format!("{name}.py")), text).expect("writable");
}

pub(super) fn read(env: &TestEnv, name: &str) -> String {
    fs::read_to_string(env.path(name)).unwrap_or_default()
}

/// JSON values that hooks have written, a line each.
pub(super) fn lines(env: &TestEnv, name: &str) -> Vec<Value> {
    let text = read(env, name);
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn started(reply: &Value) -> usize {
    reply["info"]["started"].as_array().map_or(0, Vec::len)
}

/// Pids in order of their appearance become p1, p2 and so on, as in the recordings.
#[derive(Default)]
struct Pids(Vec<Value>);

impl Pids {
    fn name(&mut self, pid: &Value) -> Value {
        let at = self.0.iter().position(|known| known == pid).unwrap_or_else(|| {
            self.0.push(pid.clone());
            self.0.len() - 1
        });
        json!(format!("p{}", at + 1))
    }

    fn replace(&mut self, object: &mut serde_json::Map<String, Value>) {
        for key in ["pid", "process_pid"] {
            if let Some(pid) = object.get(key).cloned() {
                object.insert(key.to_owned(), self.name(&pid));
            }
        }
    }
}

/// A recorded case and our circusd that follows it.
pub(super) struct Replay {
    pub(super) env: TestEnv,
    case: Value,
}

impl Replay {
    pub(super) fn of(name: &str) -> Option<Self> {
        let env = world(name)?;
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/behaviours.jsonl");
        let all = fs::read_to_string(path).expect("the recordings");
        let cases = all.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let mut cases = cases.into_iter().filter(|case| case["case"] == name);
        let case = cases.next().expect("the case is recorded");
        for (name, text) in case["files"].as_object().into_iter().flatten() {
            let path = env.path(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("writable");
            fs::write(path, text.as_str().expect("text")).expect("writable");
        }
        Some(Self { env, case })
    }

    /// Starts circusd with the watchers of the case; with `by_hand` they wait for `start`, so that a
    /// subscriber can be there before.
    pub(super) fn start(&self, by_hand: bool) -> Daemon {
        let config = self.case["config"].as_str().expect("a configuration");
        let watchers = &config[config.find("[watcher:").expect("a watcher")..];
        let hand = if by_hand { "autostart = false\n" } else { "" };
        let watchers = watchers.replacen('\n', &format!("\n{hand}"), 1);
        self.env.write_ini(&watchers);
        let mut command = self.env.command();
        for (name, value) in self.case["env"].as_object().into_iter().flatten() {
            let value = value.as_str().expect("text");
            command.env(name, value.replace("@DIR@", &self.env.directory().display().to_string()));
        }
        let log = self.env.path("circusd.log");
        let circusd = Daemon::spawn(command, self.env.endpoint(), self.env.pubsub_endpoint(), log);
        circusd.wait_for_answer();
        circusd
    }

    pub(super) fn observed(&self, key: &str) -> Vec<Value> {
        self.case["observed"][key].as_array().cloned().unwrap_or_default()
    }

    /// The recorded calls of hooks that begin before this time.
    fn calls_before(&self, time: f64) -> usize {
        let calls = self.observed("hook_calls");
        calls.iter().filter(|call| call[0].as_f64().is_some_and(|at| at < time)).count()
    }

    fn calls(&self) -> Vec<Value> {
        let mut pids = Pids::default();
        let mut calls = lines(&self.env, "hooks.log");
        for call in &mut calls {
            call[0] = Value::Null;
            let told = call[2].as_object_mut().expect("an object");
            for key in ["watcher", "arbiter", "hook_name", "time"] {
                told.remove(key);
            }
            pids.replace(told);
        }
        calls
    }

    fn recorded_calls(&self) -> Vec<Value> {
        let mut calls = self.observed("hook_calls");
        calls.iter_mut().for_each(|call| call[0] = Value::Null);
        calls
    }

    fn wait_for_calls(&self, circusd: &Daemon, count: usize) {
        let what = format!("{count} hooks have run");
        circusd.wait_until(&what, || (lines(&self.env, "hooks.log").len() >= count).then_some(()));
    }

    /// Plays a case with one watcher `w` from its start by hand to its end and compares events, calls of
    /// hooks and the status before the end.
    fn follow(self) {
        let circusd = self.start(true);
        let events = circusd.subscribe();
        circusd.ok_when_idle("start", &json!({"name": "w", "waiting": true}));
        for step in self.case["steps"].as_array().expect("steps") {
            let at = step["t"].as_f64().expect("a time");
            self.wait_for_calls(&circusd, self.calls_before(at));
            let text = step["do"].as_str().expect("text");
            if text.starts_with("os kill p1") {
                // What the recording did here and does not say: the hook says no from now on.
                fs::write(self.env.path("flag"), "").expect("writable");
                Handle::open(circusd.pids("w")[0]).expect("it runs").kill();
                circusd.wait_for_status("w", "stopped");
            } else if let Some((command, properties)) = text.split_once(" {") {
                let properties = serde_json::from_str(&format!("{{{properties}")).expect("JSON");
                circusd.ok_when_idle(command, &properties);
            }
        }
        let after = self.case["observed"]["status"].as_str();
        let stopped = self.case["steps"].to_string().contains("stop {");
        if let Some(status) = after.filter(|_| !stopped) {
            assert_eq!(circusd.ok("status", json!({"name": "w"}))["status"], status);
        }
        let recorded = self.observed("events");
        let recorded: Vec<Value> =
            recorded.iter().map(|event| json!([event[1], event[2]])).collect();
        circusd.quit();
        let mut pids = Pids::default();
        let mut seen = Vec::new();
        while seen.len() < recorded.len() {
            let (topic, mut payload) = events.next_event();
            payload.remove("time");
            pids.replace(&mut payload);
            seen.push(json!([topic, payload]));
        }
        assert_eq!(in_any_order_of_reaps(seen), in_any_order_of_reaps(recorded));
        if !self.recorded_calls().is_empty() {
            assert_eq!(self.calls(), self.recorded_calls());
        }
    }
}

/// Which of two processes that were stopped together is collected first does not matter.
fn in_any_order_of_reaps(mut events: Vec<Value>) -> Vec<Value> {
    let is_reap = |event: &Value| event[0].as_str().is_some_and(|topic| topic.ends_with("reap"));
    for group in events.chunk_by_mut(|a, b| is_reap(a) && is_reap(b)) {
        group.sort_by_key(ToString::to_string);
    }
    events
}

macro_rules! recorded {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            if let Some(replay) = Replay::of(stringify!($name)) {
                replay.follow();
            }
        })*
    };
}

recorded!(
    hook_after_spawn_false,
    hook_after_start_false,
    hook_before_signal_false,
    hook_before_spawn_false,
    hook_before_spawn_raises_on_respawn,
    hook_before_start_none,
    hook_before_start_raises,
    hook_before_start_raises_ignored,
    hook_stop_false_ignored,
);

#[test]
fn hook_found_through_env_pythonpath() {
    let Some(replay) = Replay::of("hook_found_through_env_pythonpath") else { return };
    let circusd = replay.start(false);
    circusd.wait_for_pids("w", 1);
    assert_eq!(replay.calls(), replay.recorded_calls());
}

/// The order of calls within each step; what our circusd does sooner, or for more processes, than the
/// recorded one is compared process by process.
#[test]
fn hooks_full_order() {
    let Some(replay) = Replay::of("hooks_full_order") else { return };
    let circusd = replay.start(false);
    let mut pids = circusd.wait_for_pids("w", 2);
    let mut begin = 0;
    let mut segments = Vec::new();
    let mut cut = |replay: &Replay| {
        let all = replay.calls();
        segments.push(all[begin..].to_vec());
        begin = all.len();
    };
    cut(&replay);
    for _ in 0..2 {
        let stats = circusd.ok("stats", json!({"name": "w", "extended": true}));
        assert_eq!(stats["info"][pids[0].to_string()]["extra"], "added");
    }
    cut(&replay);
    Handle::open(pids[0]).expect("it runs").kill();
    replay.wait_for_calls(&circusd, 14);
    cut(&replay);
    pids = circusd.wait_for_pids("w", 2);
    circusd.ok("signal", json!({"name": "w", "signum": "usr1"}));
    replay.wait_for_calls(&circusd, 26);
    cut(&replay);
    assert!(circusd.wait_for_pids("w", 2).iter().all(|pid| !pids.contains(pid)));
    circusd.ok_when_idle("restart", &json!({"name": "w", "waiting": true}));
    cut(&replay);
    circusd.ok_when_idle("reload", &json!({"name": "w", "waiting": true}));
    cut(&replay);
    circusd.quit();
    cut(&replay);
    let recorded = replay.recorded_calls();
    let lengths = [6, 4, 4, 12, 16, 8, 10];
    assert_eq!(recorded.len(), lengths.iter().sum::<usize>());
    let mut at = 0;
    for (number, (ours, length)) in segments.iter().zip(lengths).enumerate() {
        let theirs = &recorded[at..at + length];
        at += length;
        assert_eq!(sequences(ours, number), sequences(theirs, number), "step {number}");
    }
}

/// The names of the calls in their order, once without the collecting of processes and once for each
/// process, processes named by their place in the step. Reload: ours collects, theirs does not say so.
fn sequences(calls: &[Value], step: usize) -> (Vec<Value>, Vec<Vec<Value>>) {
    let (reload, replaced) = (step == 5, step == 3);
    let of_reaps = |call: &&Value| call[1].as_str().is_some_and(|name| name.ends_with("_reap"));
    let mut plain: Vec<Value> = calls
        .iter()
        .filter(|call| !of_reaps(call))
        .map(|call| json!([call[1], call[2]["signum"], call[2]["watcher_status"]]))
        .collect();
    if replaced {
        // Two replacements: theirs come after both deaths, ours each after its own.
        plain.sort_by_key(ToString::to_string);
    }
    let mut by_process: Vec<(Value, Vec<Value>)> = Vec::new();
    for call in calls.iter().filter(of_reaps).filter(|_| !reload) {
        let pid = &call[2]["process_pid"];
        let told = json!([call[1], call[2]["exit_code"], call[2]["process_status"]]);
        match by_process.iter_mut().find(|(known, _)| known == pid) {
            Some((_, told_before)) => told_before.push(told),
            None => by_process.push((pid.clone(), vec![told])),
        }
    }
    (plain, by_process.into_iter().map(|(_, told)| told).collect())
}

/// Differences: "Hooks that cannot be imported". The others run, as in the recording.
#[test]
fn hook_unresolvable() {
    let Some(replay) = Replay::of("hook_unresolvable") else { return };
    let circusd = replay.start(false);
    circusd.wait_for_pids("good", 1);
    circusd.wait_for_status("bad", "stopped");
    let reason = "hooks.before_start = no.such.hook: ";
    circusd.wait_until("the log says why", || {
        (circusd.log().contains(reason) && circusd.log().contains("No module named")).then_some(())
    });
    let cause = circusd.ok("why", json!({"name": "bad"}))["last_error"]["reason"].to_string();
    assert!(cause.contains("cannot be loaded: hooks.before_start = no.such.hook"), "{cause}");
    // It can be repaired without a restart of circusd.
    module(&replay.env, "repaired", "def hook(**kw): return True\n");
    let bad = json!({"name": "bad", "options": {"hooks.before_start": "no.such.hook2"}});
    let refused = circusd.call("set", bad);
    assert!(refused["reason"].as_str().is_some_and(|r| r.contains("no.such.hook2")), "{refused}");
    let good = json!({"name": "bad", "options": {"hooks.before_start": "repaired.hook"}});
    circusd.ok_when_idle("set", &good);
    assert_eq!(
        started(&circusd.ok_when_idle("start", &json!({"name": "bad", "waiting": true}))),
        1
    );
    let added = circusd.call(
        "add",
        json!({"name": "new", "cmd": "sleep 1000", "options": {"hooks": {"before_start": "no.hook"}}}),
    );
    assert_eq!(added["status"], "error", "{added}");
    assert_eq!(circusd.ok("list", json!({}))["watchers"], json!(["bad", "good"]));
}

/// Differences: "Error in `extended_stats`".
#[test]
fn hook_extended_stats_raises() {
    let Some(replay) = Replay::of("hook_extended_stats_raises") else { return };
    let circusd = replay.start(false);
    let pid = circusd.wait_for_pids("w", 1)[0];
    let stats = circusd.ok("stats", json!({"name": "w", "extended": true}));
    assert_eq!(stats["info"][pid.to_string()]["pid"], pid);
    circusd.wait_until("the log says why", || {
        circusd.log().contains("boom in extended_stats").then_some(())
    });
}

const LOOKING: &str = r#"
import json, os
def note(value):
    with open(os.path.join(os.path.dirname(__file__), 'seen'), 'a') as log:
        log.write(json.dumps(value, sort_keys=True) + '\n')

def look(watcher, arbiter, hook_name, pid):
    process = watcher.processes[pid]
    try:
        watcher.no_such_thing
    except AttributeError as error:
        note(str(error))
    note([watcher.name, watcher.res_name, watcher.cmd, watcher.numprocesses, len(watcher),
          watcher.stop_signal, watcher.graceful_timeout, watcher.is_active(), watcher.status(),
          dict(watcher.options())['custom'], watcher._options.get('custom'), watcher.env['MINE'],
          watcher.pids == [pid], watcher.get_active_pids() == [pid],
          process.wid, process.age() >= 0, process.status, process.info()['pid'] == pid])
    other = arbiter.get_watcher('OTHER')
    note([other.name, other.is_active(), sorted(w.name for w in arbiter.watchers),
          arbiter.statuses()['other'], arbiter.numwatchers(), arbiter.numprocesses() >= 1,
          arbiter.pid == os.getppid(), arbiter.check_delay, arbiter.endpoint.startswith('ipc://'),
          other.info()[other.pids[0]]['pid'] == other.pids[0]])
    try:
        arbiter.get_watcher('nobody')
    except KeyError:
        note('no such watcher')
    other.set_opt('graceful_timeout', 7)
    watcher.notify_event('mine', {'hello': 'world'})
    other.incr()
    return True
"#;

#[test]
fn a_hook_sees_its_watcher_and_the_whole_of_circusd() {
    let Some(env) = world("what hooks see") else { return };
    module(&env, "looking", LOOKING);
    let circusd = env.start(
        "[watcher:My App]\ncmd = sleep 1000\nautostart = false\ncustom = 42\ngraceful_timeout = 3\n\
         hooks.after_spawn = looking.look\n[env:My App]\nMINE = yes\n\
         [watcher:other]\ncmd = sleep 1000\n",
    );
    circusd.wait_for_pids("other", 1);
    let events = circusd.subscribe();
    let reply = circusd.ok_when_idle("start", &json!({"name": "my app", "waiting": true}));
    assert_eq!(started(&reply), 1, "{}", circusd.log());
    let seen = lines(&env, "seen");
    assert!(seen[0].as_str().is_some_and(|text| text.contains("no_such_thing")), "{seen:?}");
    let watcher = json!([
        "My App",
        "my_app",
        "sleep 1000",
        1,
        1,
        15,
        3.0,
        false,
        "starting",
        "42",
        "42",
        "yes",
        true,
        true,
        1,
        true,
        0,
        true
    ]);
    assert_eq!(seen[1], watcher);
    let circus =
        json!(["other", true, ["My App", "other"], "active", 2, true, true, 5.0, true, true]);
    assert_eq!(seen[2], circus);
    assert_eq!(seen[3], "no such watcher");
    assert_eq!(events.wait_for("watcher.my_app.mine")["hello"], "world");
    circusd.wait_for_pids("other", 2);
    let options = circusd.ok("get", json!({"name": "other", "keys": ["graceful_timeout"]}));
    assert_eq!(options["options"]["graceful_timeout"], 7.0);
}

#[test]
fn what_a_hook_assigns_holds_for_the_next_process() {
    let Some(env) = world("hooks that change the environment") else { return };
    module(
        &env,
        "changing",
        "def change(watcher, arbiter, hook_name):\n    \
             watcher.env['FROM_HOOK'] = 'set %d' % len(watcher)\n    \
             del watcher.env['UNWANTED']\n    \
             watcher.graceful_timeout = 4\n    \
             return True\n",
    );
    let circusd = env.start(
        "[watcher:web]\ncmd = sh -c 'echo $FROM_HOOK,$UNWANTED,$KEPT > out; exec sleep 1000'\n\
         hooks.before_spawn = changing.change\n[env:web]\nUNWANTED = 1\nKEPT = 2\n",
    );
    circusd.wait_for_pids("web", 1);
    circusd.wait_until("the process has printed", || {
        (read(&env, "out") == "set 0,,2\n").then_some(())
    });
    let options = circusd.ok("options", json!({"name": "web"}))["options"].clone();
    assert_eq!(
        (&options["env"]["FROM_HOOK"], &options["graceful_timeout"]),
        (&json!("set 0"), &json!(4.0))
    );
}

const MISBEHAVING: &str = r#"
import os, sys, threading
from circus import logger
here = os.path.dirname(os.path.abspath(__file__))
def crash(**kw):
    os._exit(3)
def sleep(**kw):
    open(os.path.join(here, 'asleep'), 'w').close()
    threading.Event().wait(60)
def shout(watcher, arbiter, hook_name):
    print('printed by', watcher.name)
    sys.stderr.write('and on stderr\n')
    logger.warning('logged by %s', watcher.name)
    return True
def leave(**kw):
    sys.exit('left')
def later(watcher, arbiter, hook_name):
    def run():
        # Goes on when the test has seen that the hook is over.
        with open(os.path.join(here, 'go')) as gate:
            gate.readline()
        arbiter.get_watcher('other').start()
    threading.Thread(target=run).start()
    return True
"#;

#[test]
fn a_hook_that_sleeps_is_given_up_and_holds_up_nobody_else() {
    let Some(env) = world("a hook that sleeps") else { return };
    module(&env, "bad", MISBEHAVING);
    let circusd = env.start(
        "[watcher:slow]\ncmd = sleep 1000\nautostart = false\nhooks.before_start = bad.sleep\n\
         hooks.timeout = 2\n[watcher:other]\ncmd = sleep 1000\n",
    );
    circusd.wait_for_pids("other", 1);
    let events = circusd.subscribe();
    circusd.ok_when_idle("start", &json!({"name": "slow"}));
    circusd.wait_until("the hook sleeps", || env.path("asleep").exists().then_some(()));
    circusd.ok_when_idle("restart", &json!({"name": "other", "waiting": true}));
    assert_eq!(circusd.ok("status", json!({"name": "slow"}))["status"], "stopped");
    let failure = events.wait_for("watcher.slow.hook_failure");
    assert_eq!(failure["error"], "timed out after 2 s");
    circusd.wait_for_status("slow", "stopped");
    // The next start begins anew.
    circusd.ok_when_idle(
        "set",
        &json!({"name": "slow", "options": {"hooks.before_start": "bad.shout"}}),
    );
    assert_eq!(
        started(&circusd.ok_when_idle("start", &json!({"name": "slow", "waiting": true}))),
        1
    );
}

#[test]
fn a_hook_that_crashes_its_python_has_failed_and_the_next_one_gets_another() {
    let Some(env) = world("a hook that crashes") else { return };
    module(&env, "bad", MISBEHAVING);
    let circusd = env.start(
        "[watcher:web]\ncmd = sleep 1000\nautostart = false\nhooks.before_start = bad.crash, true\n\
         hooks.after_start = bad.shout\nhooks.after_signal = bad.crash\n",
    );
    let events = circusd.subscribe();
    assert_eq!(
        started(&circusd.ok_when_idle("start", &json!({"name": "web", "waiting": true}))),
        1
    );
    let failure = events.wait_for("watcher.web.hook_failure");
    assert_eq!(failure["error"], "the Python that runs it is gone: it ended with status 3");
    assert_eq!(events.wait_for("watcher.web.hook_success")["name"], "after_start");
    let error = || events.wait_for("watcher.web.hook_failure")["error"].clone();
    for _ in 0..3 {
        circusd.ok("signal", json!({"name": "web", "signum": "CONT"}));
        assert_eq!(error(), failure["error"]);
    }
    circusd.ok("signal", json!({"name": "web", "signum": "CONT"}));
    assert!(error().as_str().is_some_and(|text| text.contains("3 times in a row")));
}

#[test]
fn what_hooks_print_and_log_is_in_the_log_and_exit_is_a_failure() {
    let Some(env) = world("a hook that prints") else { return };
    module(&env, "bad", MISBEHAVING);
    let circusd = env.start(
        "[watcher:web]\ncmd = sleep 1000\nautostart = false\nhooks.before_start = bad.shout\n\
         hooks.before_stop = bad.leave\n",
    );
    let events = circusd.subscribe();
    circusd.ok_when_idle("start", &json!({"name": "web", "waiting": true}));
    for text in ["printed by web", "and on stderr", "logged by web"] {
        circusd.wait_until(text, || circusd.log().contains(text).then_some(()));
    }
    circusd.ok_when_idle("stop", &json!({"name": "web", "waiting": true}));
    assert_eq!(events.wait_for("watcher.web.hook_failure")["error"], "left");
}

#[test]
fn a_thread_that_a_hook_leaves_behind_can_go_on_asking() {
    let Some(env) = world("a thread of a hook") else { return };
    module(&env, "bad", MISBEHAVING);
    let gate = Gate::at(env.path("go"));
    let circusd = env.start(
        "[watcher:web]\ncmd = sleep 1000\nhooks.before_start = bad.later\n\
         [watcher:other]\ncmd = sleep 1000\nautostart = false\n",
    );
    circusd.wait_for_pids("web", 1);
    circusd.wait_for_status("web", "active");
    gate.let_one_pass();
    circusd.wait_for_pids("other", 1);
}

#[test]
fn a_helper_has_nothing_of_circusd_but_its_socket() {
    let Some(env) = world("what a helper inherits") else { return };
    module(
        &env,
        "looking",
        "import json, os\n\
         def look(watcher, arbiter, hook_name):\n    \
             fds = [os.readlink('/proc/self/fd/' + fd) for fd in os.listdir('/proc/self/fd')\n           \
                    if os.path.exists('/proc/self/fd/' + fd) or fd in '012']\n    \
             kinds = sorted(fd.split(':')[0] for fd in fds)\n    \
             with open('seen', 'w') as seen:\n        \
                 seen.write(json.dumps([kinds, os.getsid(0) == os.getpid()]) + '\\n')\n    \
             return True\n",
    );
    let circusd = env.start(
        "[watcher:web]\ncmd = sleep 1000\nhooks.before_start = looking.look\n\
         stdout_stream.filename = out\n",
    );
    circusd.wait_for_pids("web", 1);
    let seen = &lines(&env, "seen")[0];
    // /dev/null, the pipe to the log twice, and the socket.
    assert_eq!(seen, &json!([["/dev/null", "pipe", "pipe", "socket"], true]));
}

#[test]
fn commands_bring_in_no_code_where_the_configuration_forbids_it() {
    let env = TestEnv::new().circus("allow_remote_python = no");
    let circusd = env.start("[watcher:web]\ncmd = sleep 1000\nhooks.before_stop = true\n");
    let pid = circusd.wait_for_pids("web", 1);
    for options in [
        json!({"hooks.before_start": "true"}),
        json!({"hooks": {"before_start": ["a.b", false]}}),
        json!({"stdout_stream.class": "my.Stream"}),
        json!({"stdout_stream": {"class": "my.Stream"}}),
    ] {
        let refused = circusd.call("set", json!({"name": "web", "options": options}));
        assert_eq!(refused["errno"], 3, "{options}: {refused}");
        let new = json!({"name": "new", "cmd": "sleep 1", "options": options});
        assert_eq!(circusd.call("add", new)["errno"], 3, "{options}");
    }
    circusd.ok_when_idle("set", &json!({"name": "web", "options": {"hooks.timeout": 5}}));
    assert_eq!(circusd.pids("web"), pid);
}

/// The way of the example for uWSGI: before the old process gets its signal it is told to pause, and a
/// process that does not come up well calls the reload off.
const LOSSLESS: &str = r#"
import os, signal
here = os.path.dirname(os.path.abspath(__file__))
def note(*words):
    with open(os.path.join(here, 'notes'), 'a') as notes:
        notes.write(' '.join(str(word) for word in words) + '\n')
def children_started(watcher, arbiter, hook_name, pid, **kwargs):
    note('started', watcher.processes[pid].wid)
    return not os.path.exists(os.path.join(here, 'flapping'))
def clean_stop(watcher, arbiter, hook_name, pid, signum, **kwargs):
    if len(watcher.processes) > watcher.numprocesses and signum == signal.SIGQUIT:
        mine = watcher.processes[pid]
        newer = [p for p, w in watcher.processes.items() if p != pid and w.started > mine.started]
        if len(newer) < watcher.numprocesses:
            return True
        watcher.send_signal(pid, signal.SIGCONT)
        note('paused', mine.wid)
    note('signal', int(signum))
    return True
def extended_stats(watcher, arbiter, hook_name, pid, stats, **kwargs):
    stats['load'] = watcher.processes[pid].wid
    for child in stats['children']:
        child['requests'] = 5
"#;

#[test]
fn a_lossless_reload_as_in_the_example_for_uwsgi() {
    let Some(env) = world("the hooks for uWSGI") else { return };
    module(&env, "lossless", LOSSLESS);
    let circusd = env.start(
        "[watcher:web]\ncmd = sh -c 'sleep 1000; :'\nstop_signal = QUIT\n\
         stop_children = true\nhooks.after_spawn = lossless.children_started\n\
         hooks.before_signal = lossless.clean_stop\nhooks.extended_stats = lossless.extended_stats\n",
    );
    let old = circusd.wait_for_pids("web", 1);
    circusd.ok_when_idle("reload", &json!({"name": "web", "waiting": true}));
    let new = circusd.wait_for_pids("web", 1);
    assert_ne!(old, new);
    // The signal that the hook sends asks the hook again.
    assert_eq!(read(&env, "notes"), "started 1\nstarted 2\nsignal 18\npaused 1\nsignal 3\n");
    circusd.wait_until("the child runs", || {
        let stats = circusd.ok("stats", json!({"name": "web", "extended": true}));
        let info = &stats["info"][new[0].to_string()];
        assert_eq!(info["load"], 2);
        (info["children"][0]["requests"] == 5).then_some(())
    });
    fs::write(env.path("flapping"), "").expect("writable");
    circusd.ok_when_idle("reload", &json!({"name": "web", "waiting": true}));
    assert_eq!(circusd.pids("web"), new);
}

/// All Pythons of this machine: the one of the tests, PyPy and `pythonX.Y` on PATH, and those that pyenv keeps.
pub(super) fn pythons(of_tests: PathBuf) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.retain(|folder| !folder.ends_with("shims"));
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let kept = fs::read_dir(home.join(".pyenv/versions")).into_iter().flatten().flatten();
    folders.extend(kept.map(|version| version.path().join("bin")));
    let names = ["2.7", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14"];
    let named = names.iter().map(|version| format!("python{version}"));
    let named = named.chain(["pypy3".to_owned()]);
    let all = named.flat_map(|name| folders.iter().map(move |folder| folder.join(&name)));
    let mut found: Vec<PathBuf> = all.filter(|program| program.is_file()).collect();
    found.push(of_tests);
    found
}

/// Says which constructs of the helper Python 2.7 does not have. What runs on 2.7 and on 3.6 runs on all
/// between and after them.
const TOO_NEW: &str = r"
import ast, sys
tree = ast.parse(open(sys.argv[1]).read(), feature_version=(3, 6))
new = (ast.JoinedStr, ast.AnnAssign, ast.Nonlocal, ast.NamedExpr, ast.AsyncFunctionDef, ast.YieldFrom, ast.Starred)
for node in ast.walk(tree):
    bad = isinstance(node, new)
    if isinstance(node, ast.FunctionDef):
        arguments = node.args.args + node.args.kwonlyargs
        bad = node.args.kwonlyargs or node.returns or any(a.annotation for a in arguments)
    if isinstance(node, ast.Raise):
        bad = node.cause
    if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'super':
        bad = not node.args
    if isinstance(node, ast.ClassDef):
        bad = not node.bases or node.keywords
    if bad and not (isinstance(node, ast.Starred) and isinstance(node.ctx, ast.Load)):
        sys.exit('line %d: %s' % (node.lineno, type(node).__name__))
";

#[test]
fn the_helper_is_written_for_python_2_7_and_later() {
    let Some(python) = Python::for_test("the syntax of the helper") else { return };
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../circusd/src/python/host.py");
    let checked = python.script(TOO_NEW, &[source]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn hooks_run_on_every_python_of_this_machine() {
    let Some(python) = Python::for_test("hooks on other Pythons") else { return };
    let pythons = pythons(python.program("python"));
    std::thread::scope(|scope| {
        for python in pythons {
            scope.spawn(move || {
                let env = TestEnv::new().circus(&format!("python = {}", python.display()));
                module(&env, "looking", LOOKING);
                module(
                    &env,
                    "writing",
                    "# -*- coding: utf-8 -*-\nfrom circus import logger\n\
                     def write(watcher, arbiter, hook_name, **kwargs):\n    \
                         logger.info('version of %s', watcher.name)\n    \
                         watcher.env['FROM_HOOK'] = watcher.env['MINE'] + '!'\n    return True\n",
                );
                let circusd = env.start(
                    "[watcher:My App]\ncmd = sh -c 'echo $FROM_HOOK > out; exec sleep 1000'\n\
                     custom = 42\ngraceful_timeout = 3\nautostart = false\n\
                     hooks.before_spawn = writing:write\nhooks.after_spawn = looking.look\n\
                     [env:My App]\nMINE = über\n[watcher:other]\ncmd = sleep 1000\n",
                );
                circusd.wait_for_pids("other", 1);
                let reply =
                    circusd.ok_when_idle("start", &json!({"name": "my app", "waiting": true}));
                assert_eq!(started(&reply), 1, "{}: {}", python.display(), circusd.log());
                assert_eq!(lines(&env, "seen").len(), 4, "{}", circusd.log());
                circusd.wait_until("the process has printed", || {
                    (read(&env, "out") == "über!\n").then_some(())
                });
            });
        }
    });
}
