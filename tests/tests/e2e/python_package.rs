//! The Python package `circus` that circusd brings along: who gets it, and that programs notice no difference
//! from the one on PyPI, in what works and in what fails.

use crate::python_hooks::{lines, module};
use circus_e2e::program::{built, run};
use circus_e2e::python::our_package;
use circus_e2e::{Daemon, Python, TestEnv};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;

const SECTIONS: &str = "[watcher:w]\ncmd = sleep 1000\nnumprocesses = 2\n";

fn stats_endpoint(env: &TestEnv) -> String {
    format!("ipc://{}", env.path("stats").display())
}

/// What a script prints in its last line, which is JSON.
fn outcome(python: &Python, env: &TestEnv, code: &str) -> Value {
    let output = python
        .command()
        .args(["-c", code])
        .args([&env.endpoint(), &env.pubsub_endpoint(), &stats_endpoint(env)])
        .current_dir(env.directory())
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    assert!(last.is_some(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    last.unwrap_or_default()
}

/// Runs the script with both packages, each against a circusd of its own, and gives what both say.
fn same(test: &str, sections: &str, code: &str) -> Option<Value> {
    let world = |python: &Python| {
        let env = TestEnv::new();
        let circusd: Daemon = env.start(sections);
        circusd.wait_for_pids("w", 2);
        outcome(python, &env, code)
    };
    let theirs = world(Python::for_test(test)?);
    let ours = world(Python::with_our_package(test)?);
    assert_eq!(ours, theirs);
    Some(ours)
}

#[test]
fn a_client_fails_in_the_same_way_with_both_packages() {
    let code = r#"
import json, sys, time
from circus.client import CircusClient, cast_message, make_json, make_message
from circus.exc import CallError

def attempt(function, *arguments, **keywords):
    try:
        answer = function(*arguments, **keywords)
    except BaseException as error:
        return [type(error).__module__, type(error).__name__, str(error)]
    if isinstance(answer, dict):
        answer = {key: value for key, value in answer.items() if key not in ("time", "id")}
    return answer

client = CircusClient(endpoint=sys.argv[1], timeout=0.2)
request = {"command": "numwatchers", "id": "mine"}
seen = [
    make_message("a", b=1, c=None), cast_message("a", x=2), make_json("a", b=1).decode(), make_message("a"),
    # Nobody answers a cast, and the next call is not confused by that.
    attempt(client.call, cast_message("incr", name="w")),
]
client.timeout = 30000
end = time.time() + 60
while client.send_message("numprocesses", name="w")["numprocesses"] != 3:
    assert time.time() < end, "the cast is not heard"
seen += [
    attempt(client.send_message, "numprocesses", name="w"),
    attempt(client.call, request), request["id"] == "mine",
    attempt(client.call, "numwatchers"),
    attempt(client.call, {"command": "list", "properties": {"x": object()}})[:2],
    attempt(client.call, {"command": "LIST"}),
    attempt(client.send_message, "nosuch"),
    attempt(client.send_message, "status", name="nosuch"),
    attempt(client.send_message, "incr"),
    attempt(client.send_message, "signal", name="w", signum="nosuch")["status"],
    attempt(CircusClient, endpoint="nonsense")[:2],
    attempt(CircusClient, endpoint=sys.argv[1], ssh_server="nobody@localhost")[:2],
    attempt(client.stop), attempt(client.send_message, "list")[:2],
]
nobody = CircusClient(endpoint="ipc:///nonexistent/socket", timeout=0.1)
seen.append(attempt(nobody.send_message, "list"))
print(json.dumps(seen))
"#;
    let Some(seen) = same("errors of CircusClient", SECTIONS, code) else { return };
    let timed_out = json!(["circus.exc", "CallError", "Timed out."]);
    assert_eq!(seen[4], timed_out);
    assert_eq!(seen[5]["numprocesses"], 3);
    assert_eq!(seen.as_array().and_then(|all| all.last()), Some(&timed_out));
}

/// `docs/differences.md`, "The Python package": several calls at once.
#[test]
fn an_async_client_gives_each_of_several_calls_its_own_answer() {
    let Some(python) = Python::with_our_package("AsyncCircusClient") else { return };
    let env = TestEnv::new();
    let circusd = env.start(SECTIONS);
    circusd.wait_for_pids("w", 2);
    let code = r#"
import asyncio, json, sys
from circus.client import AsyncCircusClient

async def main():
    client = AsyncCircusClient(endpoint=sys.argv[1])
    calls = [client.send_message("restart", name="w", waiting=True), client.send_message("numwatchers")]
    calls += [client.send_message("numprocesses", name="w") for _ in range(5)]
    answers = await asyncio.gather(*calls)
    client.stop()
    client.stop()
    print(json.dumps(["info" in answers[0], answers[1]["numwatchers"], [a["numprocesses"] for a in answers[2:]]]))

asyncio.run(main())
"#;
    let answers = outcome(python, &env, code);
    assert_eq!((&answers[0], &answers[1]), (&json!(true), &json!(1)), "{answers}");
    assert_eq!(answers[2].as_array().map(Vec::len), Some(5), "{answers}");
}

#[test]
fn what_plugins_import_gives_the_same_with_both_packages() {
    let code = r#"
import json, os, socket
from circus import logger, version_info
from circus.plugins import CircusPlugin, _cfg2str, _str2cfg
from circus.plugins.statsd import BaseObserver, StatsdClient, StatsdEmitter
from circus.util import (bytes2human, env_to_str, get_default_gid, get_username_from_uid, human2bytes,
    parse_env_dict, parse_env_str, replace_gnu_args, resolve_name, to_bool, to_bytes, to_gid, to_signum, to_str,
    to_uid)

def attempt(function, *arguments, **keywords):
    try:
        answer = function(*arguments, **keywords)
    except Exception as error:
        return type(error).__name__
    return answer if isinstance(answer, (bool, int, str, list, dict, tuple)) else repr(answer)

os.environ["SOME"] = " value "
seen = [logger.name, version_info]
for function, inputs in [
    (human2bytes, ["1", "1K", "1k", "1.5M", "0B", "2g", "3 MB", "x", "", "1kilo", "10 kilo", "1Ki", "5%", "-1K", "7Y"]),
    (bytes2human, [0, 1, 1023, 1024, 1536, 10 ** 9, -1, "x", 1.5]),
    (to_bool, ["yes", "TRUE", " on ", "1", "0", "no", "Off", "x", "", True, False, 1, None]),
    (to_signum, ["TERM", "sigterm", "9", 9, "QUIT", "nosuch", "", " 15 ", "SIGRTMIN+1", None]),
    (to_uid, ["root", 0, "0", "nosuchuser", 99999999, None]), (to_gid, ["root", 0, "0", "nosuch", None]),
    (get_default_gid, [0, 99999999]), (get_username_from_uid, [0, 99999999]),
    (to_str, ["a", b"a", b"\xff", 1, None]), (to_bytes, ["a", b"a", "\xe9", 1]),
    (parse_env_str, ["A=1,B=2", " a = 2 , b=3", "", "A", "A=$SOME"]),
    (parse_env_dict, [{"a": "$SOME", " c ": "${SOME}", "d": "x$SOMEY", "e": "$some"}]),
    (env_to_str, [{"b": "2", "a": "1"}, {}]),
    (resolve_name, ["json.decoder.JSONDecoder", "json:JSONDecoder", "nosuch.mod", "os.nosuch", "nosuch", "json:nosuch"]),
    (_str2cfg, ["a:1::: b : 2 3:::c:::d:10:20:::e:", ""]), (_cfg2str, [{"b": "1", "a": "2 3"}]),
    (CircusPlugin.load_message, [b'{"a": 1}', "[1]"]),
]:
    seen.append([function.__name__, [attempt(function, value) for value in inputs]])
seen.append(replace_gnu_args("a $(circus.x) ((circus.wid)) $(CIRCUS.env.HOME) $(cir.x)", x=1, wid="2", env={"home": "/h"}))
seen.append(CircusPlugin.split_data([b"watcher.w.spawn", b"{}"]))

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 0))
server.settimeout(30)
port = server.getsockname()[1]
client = StatsdClient(host="127.0.0.1", port=port, prefix="p", sample_rate=1)
for send in [lambda: client.send("b", "1|c"), lambda: client.send("b", "1|c", 0.5), lambda: client.increment("x"),
             lambda: client.increment("x", 3), lambda: client.decrement("x"), lambda: client.gauge("g", 1.5),
             lambda: client.timed("t", 7)]:
    send()
    seen.append(server.recv(100).decode())
emitter = StatsdEmitter("tcp://127.0.0.1:1", "tcp://127.0.0.1:1", 5.0, None, host="127.0.0.1", port=str(port),
                        application_name="a", sample_rate="0.2")
emitter.handle_recv([b"watcher.w.spawn", b"{}"])
seen += [server.recv(100).decode(), emitter.config, emitter.active, emitter.name, BaseObserver.default_app_name]
observer = BaseObserver("tcp://127.0.0.1:1", "tcp://127.0.0.1:1", 5.0, None, loop_rate="0.5", host="127.0.0.1")
seen += [observer.loop_rate, observer.prefix, attempt(observer.look_after), attempt(observer.handle_recv, [b"", b""])]
plugin = CircusPlugin("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", 5.0, None, active="no", x="1")
seen += [plugin.active, plugin.config, plugin.check_delay, plugin.running, attempt(plugin.start),
         attempt(plugin.handle_recv, []), attempt(plugin.call, "list")]
print(json.dumps(seen, default=repr))
"#;
    let Some(seen) = same("helpers of plugins", SECTIONS, code) else { return };
    assert!(seen.to_string().contains(r#""circus.a.watcher.w.spawn:1|c|@0.2""#), "{seen}");
}

#[test]
fn statistics_are_followed_with_both_packages() {
    let code = r#"
import json, sys
from circus.stats.client import StatsClient
keys = {}
with StatsClient(endpoint=sys.argv[3]) as client:
    for watcher, subtopic, figures in client:
        if watcher == "w":
            keys["sum" if subtopic is None else "process"] = [type(subtopic).__name__] + sorted(figures)
        if len(keys) == 2:
            break
print(json.dumps(keys))
"#;
    let world = |python: &Python| {
        let env = TestEnv::new();
        let lines = format!("statsd = true\nstats_endpoint = {}", stats_endpoint(&env));
        let env = env.circus(&lines);
        let circusd = env.start(SECTIONS);
        circusd.wait_for_pids("w", 2);
        outcome(python, &env, code)
    };
    let seen: Vec<Value> = Python::both("StatsClient").map(world).collect();
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
    assert!(seen.iter().all(|keys| keys["sum"] == json!(["NoneType", "age", "cpu", "mem", "pid"])));
}

#[test]
fn a_circus_that_is_installed_goes_first() {
    let Some(bare) = Python::without_circus("the package") else { return };
    let Some(original) = Python::for_test("the package") else { return };
    let package = our_package();
    let code = "import sys, circus.client; from circus import plugins; \
                print(circus.__file__ == sys.modules['circus'].__file__, plugins.__file__, circus.client.__file__)";
    let files = |python: &Python| {
        let mut command = python.command();
        command.args(["-c", code]).env("PYTHONPATH", &package).stdin(Stdio::null());
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (ours, theirs) = (files(bare), files(original));
    let package = package.display().to_string();
    assert!(ours.starts_with("True") && ours.matches(&package).count() == 2, "{ours}");
    assert!(theirs.starts_with("True") && !theirs.contains(&package), "{theirs}");
    assert_eq!(theirs.matches("site-packages").count(), 2, "{theirs}");
}

#[test]
fn the_package_is_where_only_its_user_writes() {
    let env = TestEnv::new();
    let mut command = std::process::Command::new(built("circusd"));
    command.arg("--python-path").stdin(Stdio::null());
    let path = |command: &mut std::process::Command| {
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        std::path::PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end())
    };
    let package = path(&mut command);
    let meta = package.symlink_metadata().expect("it is there");
    assert!(meta.is_dir() && meta.permissions().mode() & 0o022 == 0, "{meta:?}");
    assert_eq!(meta.uid(), fs::metadata(env.directory()).expect("ours").uid());
    // What somebody has opened to others is closed again for the next one who asks. (Other tests read it.)
    let file = package.join("circus/exc.py");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("it is ours");
    assert_eq!(path(&mut command), package);
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o022, 0);
    let refused = run(&built("circusd"), &["--python-path=x"]);
    assert!(!refused.status.success());
}

#[test]
fn hooks_find_the_package_where_circus_is_not_installed() {
    let Some(python) = Python::without_circus("hooks without circus") else { return };
    let env = TestEnv::new().circus(&format!("python = {}", python.program("python").display()));
    // The check that the documentation of circus shows, with a server of our own instead of redis: is it there?
    let code = r#"
import json, os, socket
from circus import logger
from circus.client import CircusClient
from circus.util import to_bool

def check_server(watcher, arbiter, hook_name, **kwargs):
    try:
        server = socket.create_connection(("127.0.0.1", int(dict(watcher.options())["server_port"])))
        server.sendall(b"PING\r\n")
        answer = server.recv(100)
    except OSError as error:
        logger.error("the server is not there: %s", error)
        return False
    client = CircusClient(endpoint=arbiter.endpoint, timeout=30)
    seen = {"answer": answer.decode(), "status": client.send_message("status", name="w")["status"],
            "bool": to_bool("yes")}
    client.stop()
    with open("seen", "a") as file:
        file.write(json.dumps(seen) + "\n")
    return True
"#;
    module(&env, "checks", code);
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("bound").port();
    let circusd = env.start(&format!(
        "[watcher:w]\ncmd = sleep 1000\nautostart = false\nhooks.before_start = checks.check_server\nserver_port = {port}\n"
    ));
    let serve = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut peer, _) = server.accept().expect("a peer");
        let mut asked = [0; 6];
        peer.read_exact(&mut asked).expect("a question");
        peer.write_all(b"+PONG").expect("it listens");
    });
    circusd.ok("start", json!({"name": "w", "waiting": true}));
    circusd.wait_for_status("w", "active");
    serve.join().expect("it was asked");
    let seen = json!({"answer": "+PONG", "status": "stopped", "bool": true});
    assert_eq!(lines(&env, "seen"), [seen]);
    circusd.ok("stop", json!({"name": "w", "waiting": true}));
    // Now nobody listens any more.
    circusd.ok("start", json!({"name": "w", "waiting": true}));
    circusd.wait_for_log("the server is not there");
    circusd.wait_for_status("w", "stopped");
}
