//! Programs that run their watchers themselves, with `get_arbiter` and the `Arbiter` of the package that circusd
//! brings along: they get a circusd of their own, which does what the program says and ends with it.

use circus_e2e::process::{Handle, MARK};
use circus_e2e::program::built;
use circus_e2e::{PATIENCE, Python, TestEnv};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A program in Python that is part of the test's world.
fn program(python: &Python, env: &TestEnv, name: &str, code: &str) -> Command {
    let file = env.path(&format!("{name}.py"));
    fs::write(&file, code).expect("writable");
    let mut command = python.command();
    command.arg(file).args([env.endpoint(), env.pubsub_endpoint()]);
    command.env(MARK, env.id()).env("CIRCUSD", built("circusd"));
    command.current_dir(env.directory()).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// What it prints in its last line, which is JSON.
fn outcome(mut command: Command) -> Value {
    let output = command.stderr(Stdio::piped()).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    assert!(last.is_some(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    last.unwrap_or_default()
}

fn next_line(child: &mut Child) -> String {
    let mut line = String::new();
    let output = child.stdout.as_mut().expect("a pipe");
    BufReader::with_capacity(1, output).read_line(&mut line).expect("readable");
    line.trim_end().to_owned()
}

fn ends(pid: i32) -> bool {
    Handle::open(pid).is_none_or(|handle| handle.wait(PATIENCE))
}

/// As AiiDA runs its daemon: in the background, with a pidfile and a log, controlled by a client elsewhere.
const DAEMON: &str = r#"
import os, sys
from circus import get_arbiter
from circus import logger as circus_logger
from circus.circusd import daemonize
from circus.pidfile import Pidfile
from circus.util import check_future_exception_and_log, configure_logger

loglevel, logoutput = "INFO", "daemon.log"
config = {
    "logoutput": logoutput, "loglevel": loglevel, "debug": False, "statsd": False, "pidfile": "daemon.pid",
    "controller": sys.argv[1], "pubsub_endpoint": sys.argv[2], "multicast_endpoint": "",
    "watchers": [{
        "cmd": "sh -c 'echo \"started; $GREETING\"; exec sleep 1000'",
        "name": "worker",
        "numprocesses": 2,
        "virtualenv": None,
        "copy_env": True,
        "stdout_stream": {"class": "FileStream", "filename": "worker.log"},
        "stderr_stream": {"class": "FileStream", "filename": "worker.log"},
        "env": {"GREETING": "good morning ; all"},
    }],
}
daemonize()
arbiter = get_arbiter(**config)
pidfile = Pidfile(arbiter.pidfile)
pidfile.create(os.getpid())
configure_logger(circus_logger, loglevel, logoutput, arbiter.loggerconfig or None)
should_restart = True
while should_restart:
    try:
        future = arbiter.start()
        should_restart = False
        if check_future_exception_and_log(future) is None:
            should_restart = arbiter._restarting
    except Exception as exception:
        arbiter.loop.run_sync(arbiter._emergency_stop)
        raise exception
    except KeyboardInterrupt:
        pass
    finally:
        arbiter = None
        pidfile.unlink()
with open("ended", "w") as file:
    file.write("in order")
"#;

const CONTROL: &str = r#"
import json, os, select, subprocess, sys
from circus.client import CircusClient
from circus.exc import CallError

client = CircusClient(endpoint=sys.argv[1], timeout=60)

def call(command, **properties):
    return client.call({"command": command, "properties": properties})

# Goes on with what has been published since it looked, so that nothing slips between.
after = 0
while call("status", name="worker")["status"] != "active":
    news = call("events", after=after, wait=30)
    assert news["events"], "nothing happens"
    after = news["next"]
seen = {"list": call("list")["watchers"], "numprocesses": call("numprocesses", name="worker")["numprocesses"]}
seen["incr"] = call("incr", name="worker", nb=2, waiting=True)["numprocesses"]
seen["decr"] = call("decr", name="worker", nb=1, waiting=True)["numprocesses"]
seen["stats"] = sorted(next(iter(call("stats", name="worker")["info"].values())))[:3]
before = set(call("list", name="worker")["pids"])
seen["restart"] = call("restart", name="worker", waiting=True)["status"]
seen["replaced"] = not before & set(call("list", name="worker")["pids"])
with open("daemon.pid") as file:
    pid = int(file.read())
daemon = os.pidfd_open(pid)
tail = ["timeout", "60", "tail", "-F", "-n", "+1", "worker.log"]
with subprocess.Popen(tail, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as lines:
    seen["printed"] = sorted({lines.stdout.readline().rstrip() for _ in range(3)})
    lines.terminate()
seen["quit"] = call("quit", waiting=True)["status"]
assert select.select([daemon], [], [], 60)[0], "the daemon does not end"
assert os.path.exists("ended"), "it has not ended in order"
seen["pidfile"] = os.path.exists("daemon.pid")
print(json.dumps(seen))
"#;

#[test]
fn a_daemon_built_with_get_arbiter_is_controlled_by_a_client() {
    let world = |python: &Python| {
        let env = TestEnv::new();
        let mut daemon = program(python, &env, "daemon", DAEMON).spawn().expect("it runs");
        assert!(daemon.wait().expect("it goes into the background").success());
        outcome(program(python, &env, "control", CONTROL))
    };
    let seen: Vec<Value> = Python::both("get_arbiter").map(world).collect();
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
    for seen in seen {
        assert_eq!(seen["list"], json!(["worker"]));
        assert_eq!((&seen["incr"], &seen["decr"]), (&json!(4), &json!(3)));
        assert_eq!(seen["printed"], json!(["started; good morning ; all"]));
    }
}

#[test]
fn a_background_arbiter_is_used_like_the_original() {
    let Some(python) = Python::with_our_package("get_arbiter") else { return };
    let env = TestEnv::new();
    let code = r#"
import json, sys
from circus import get_arbiter
from circus.exc import AlreadyExist, CallError
from circus.sockets import CircusSocket

sys.path.append("modules")
socket = CircusSocket(name="web", host="127.0.0.1", port=0)
exact = "a ; b  \n c '\" $(circus.nothing) %s"
arbiter = get_arbiter(
    [{"cmd": ["sh", "-c", "printf %s \"$0\" > exact; exec sleep $1", exact, "1000"], "name": "My App"},
     {"cmd": "sleep 1000", "numprocesses": 2, "env": {"A": "1"}, "singleton": False, "answer": 42,
      "hooks": {"before_start": ("checks.before_start", False)}},
     {"cmd": "sh -c 'echo fd $1 > socket; exec sleep 1000' sh $(circus.sockets.web)", "name": "web",
      "use_sockets": True}],
    controller=sys.argv[1], pubsub_endpoint=sys.argv[2], multicast_endpoint="", env={"B": "2"},
    sockets=[socket], background=True)
seen = {"before": [arbiter.running, sorted(w.name for w in arbiter.iter_watchers()), arbiter.statuses.__name__]}
arbiter.start()
seen["running"] = arbiter.running
arbiter.start_watchers()
seen["statuses"] = arbiter.statuses()
watcher = arbiter.get_watcher("sleep")
seen["watcher"] = [watcher.status(), watcher.numprocesses, len(watcher), len(watcher.pids), watcher.answer,
                   dict(watcher.options())["env"]]
watcher.incr().result()
seen["numprocesses"] = [watcher.numprocesses, arbiter.numprocesses(), arbiter.numwatchers()]
seen["process"] = sorted(watcher.processes) == sorted(watcher.pids)
watcher.stop()
seen["stopped"] = [watcher.is_stopped(), watcher.is_active()]
added = arbiter.add_watcher("more", "sleep 1000")
added.start()
seen["added"] = [added.status(), arbiter.get_watcher("MORE") is added]
for wrong in [lambda: arbiter.add_watcher("more", "sleep 1"), lambda: arbiter.get_watcher("nosuch"),
              lambda: added.set_opt("numprocesses", "x"), lambda: added.nosuch]:
    try:
        wrong()
        seen.setdefault("wrong", []).append(None)
    except (AlreadyExist, CallError, KeyError, AttributeError) as error:
        seen.setdefault("wrong", []).append(type(error).__name__)
arbiter.rm_watcher("more")
seen["removed"] = "more" in arbiter.statuses()
seen["sockets"] = [arbiter.sockets["web"]["port"] > 0, arbiter.get_socket("web")["host"]]
arbiter.stop()
arbiter.stop()
seen["exact"] = open("exact").read() == exact
seen["socket"] = open("socket").read().split()[0]
seen["hook"] = open("hook").read()
seen["after"] = [arbiter.running, arbiter.is_alive(), watcher.status()]
print(json.dumps(seen))
"#;
    fs::create_dir(env.path("modules")).expect("writable");
    let hooks = "def before_start(watcher, arbiter, hook_name, **kwargs):\n    \
                 open('hook', 'w').write(watcher.name)\n    return True\n";
    fs::write(env.path("modules/checks.py"), hooks).expect("writable");
    let seen = outcome(program(python, &env, "library", code));
    let expected = json!({
        "before": [false, ["My App", "sleep", "web"], "statuses"],
        "running": true,
        "statuses": {"My App": "active", "sleep": "active", "web": "active"},
        "watcher": ["active", 2, 2, 2, "42", {"A": "1", "B": "2"}],
        "numprocesses": [3, 5, 3],
        "process": true,
        "stopped": [true, false],
        "added": ["active", true],
        "wrong": ["AlreadyExist", "KeyError", "CallError", "AttributeError"],
        "removed": false,
        "sockets": [true, "127.0.0.1"],
        "exact": true, "socket": "fd", "hook": "sleep",
        "after": [false, false, "stopped"],
    });
    assert_eq!(seen, expected);
}

#[test]
fn an_arbiter_that_cannot_run_says_why() {
    let Some(python) = Python::with_our_package("get_arbiter") else { return };
    let env = TestEnv::new();
    let code = r#"
import json, os, sys, tempfile
from circus import get_arbiter
from circus.arbiter import Arbiter, DaemonError
tempfile.tempdir = "temporary"
os.mkdir("temporary")
seen = []

def attempt(watchers, **options):
    options.setdefault("controller", sys.argv[1])
    try:
        get_arbiter(watchers, pubsub_endpoint=sys.argv[2], multicast_endpoint="", **options).start()
        seen.append(None)
    except Exception as error:
        seen.append([type(error).__name__, str(error)])

attempt([{"cmd": "sleep 1", "numprocesses": "many"}])
attempt([{"cmd": "sleep 1"}], background=True, controller="nonsense")
attempt([{"numprocesses": 1}])
attempt([{"cmd": "sleep 1", "hooks": {"before_start": lambda **kwargs: True}}])
attempt([{"cmd": "sleep 1", "stdout_stream": {"class": object()}}])
attempt([{"cmd": "sleep 1"}], nosuch=1)
os.environ["CIRCUSD"] = "/nonexistent/circusd"
attempt([{"cmd": "sleep 1"}])
seen.append(os.listdir("temporary"))
print(json.dumps(seen))
"#;
    let seen = outcome(program(python, &env, "wrong", code));
    let kinds: Vec<_> = seen.as_array().into_iter().flatten().map(|told| told[0].clone()).collect();
    let kinds = json!(kinds);
    let expected = json!([
        "DaemonError",
        "ZMQError",
        "KeyError",
        "ValueError",
        "ValueError",
        "TypeError",
        "DaemonError",
        null
    ]);
    assert_eq!(kinds, expected, "{seen}");
    assert_eq!(seen[7], json!([]), "the configuration is removed");
}

#[test]
fn circusd_ends_with_the_program_that_has_started_it() {
    let Some(python) = Python::with_our_package("get_arbiter") else { return };
    let code = r#"
import sys
from circus import get_arbiter
arbiter = get_arbiter([{"cmd": "sleep 1000", "name": "w"}], controller=sys.argv[1], pubsub_endpoint=sys.argv[2],
                      multicast_endpoint="")

def started(future):
    print(*arbiter.get_watcher("w").pids, arbiter._daemon.process.pid, flush=True)

arbiter.start(cb=started)
print("over", flush=True)
"#;
    for signal in ["TERM", "INT", "KILL"] {
        let env = TestEnv::new();
        let mut child = program(python, &env, "program", code).spawn().expect("it runs");
        let pids: Vec<i32> =
            next_line(&mut child).split(' ').map(|pid| pid.parse().expect("a pid")).collect();
        assert_eq!(pids.len(), 2);
        let killed = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(killed.expect("it runs").success());
        assert_eq!(next_line(&mut child), if signal == "KILL" { "" } else { "over" });
        child.wait().expect("it is our child");
        let begun = Instant::now();
        assert!(pids.iter().all(|pid| ends(*pid)), "{signal}: {:?}", begun.elapsed());
    }
}

#[test]
fn an_arbiter_can_run_an_ini_file() {
    let Some(python) = Python::with_our_package("load_from_config") else { return };
    let env = TestEnv::new();
    let ini = env.write_ini("[watcher:w]\ncmd = sleep 1000\nnumprocesses = 2\n");
    let code = r#"
import json, sys, threading
from circus.arbiter import Arbiter
from circus.client import CircusClient
arbiter = Arbiter.load_from_config("circus.ini")

def look(future):
    seen.append([arbiter.statuses(), arbiter.numprocesses(), arbiter.endpoint == sys.argv[1]])
    arbiter.reload_from_config()
    threading.Thread(target=arbiter.stop).start()

seen = []
arbiter.start(cb=look)
print(json.dumps(seen))
"#;
    assert!(ini.ends_with("circus.ini"));
    let seen = outcome(program(python, &env, "ini", code));
    assert_eq!(seen, json!([[{"w": "active"}, 2, true]]));
}
