//! Plugins as circusd runs them: users' classes under Python with circus 0.17.2 from PyPI, what becomes of those
//! that misbehave, and sections that come and go with `reloadconfig`.

use crate::python_hooks::{module, read, world};
use circus_e2e::{PATIENCE, Python, TestEnv, process, program};
use serde_json::{Value, json};
use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// What the documentation of circus has as its example of a plugin, in our own words: a line for each event.
const LOGGER: &str = "
import json
from circus.plugins import CircusPlugin

class Logger(CircusPlugin):
    name = 'logger'

    def __init__(self, *args, **config):
        super(Logger, self).__init__(*args, **config)
        self.path = config.get('filename')

    def handle_init(self):
        self.file = open(self.path, 'a')
        self.say(config=self.config)

    def handle_stop(self):
        self.say(stopped=True)
        self.file.close()

    def handle_recv(self, data):
        watcher, action, message = self.split_data(data)
        message = self.load_message(message)
        names = self.call('list')['watchers']
        self.say(watcher=watcher, action=action, pid=message.get('process_pid'), names=names)

    def say(self, **what):
        self.file.write(json.dumps(what) + '\\n')
        self.file.flush()
";

fn said(env: &TestEnv, name: &str) -> Vec<Value> {
    crate::python_hooks::lines(env, name)
}

#[test]
fn an_unmodified_plugin_hears_events_asks_back_and_is_stopped_in_order() {
    let Some(env) = world("plugins in Python") else { return };
    module(&env, "users", LOGGER);
    let log = env.path("its log");
    let circusd = env.start(&format!(
        "[watcher:web]\ncmd = sleep 1000\n[plugin:log]\nuse = users.Logger\nfilename = {}\n\
         blank = a b  c\nquotes = it's \"so\"\ncut = 1:::b:2\nempty =\nsemi = a:b;c\n",
        log.display()
    ));
    circusd.wait_until("the plugin listens", || {
        let set = json!({"name": "web", "options": {"graceful_timeout": 3}});
        circusd.ok_when_idle("set", &set);
        (said(&env, "its log").len() > 1).then_some(())
    });
    let config = json!({"name": "plugin:log", "filename": log, "blank": "a b  c", "empty": "",
        "quotes": "it's \"so\"", "cut": "1:::b:2", "semi": "a:b;c"});
    assert_eq!(said(&env, "its log")[0], json!({"config": config}));
    circusd.ok("incr", json!({"name": "web"}));
    let pids = circusd.wait_for_pids("web", 2);
    circusd.wait_until("the event is written", || {
        let heard = said(&env, "its log").into_iter();
        let mut spawned = heard.filter(|event| event["action"] == "spawn");
        let spawned = spawned.find(|event| event["watcher"] == "web")?;
        assert_eq!(spawned["names"], json!(["plugin:log", "web"]));
        pids.contains(&i32::try_from(spawned["pid"].as_i64()?).ok()?).then_some(())
    });
    circusd.ok("stop", json!({"name": "plugin:log", "waiting": true}));
    assert_eq!(said(&env, "its log").last(), Some(&json!({"stopped": true})));
    circusd.ok("start", json!({"name": "plugin:log", "waiting": true}));
    circusd.wait_for_pids("plugin:log", 1);
}

#[test]
fn a_class_that_cannot_be_imported_is_one_message_and_the_rest_runs() {
    let Some(env) = world("plugins in Python") else { return };
    let circusd = env.start(
        "[circus]\ncheck_delay = 1\n[watcher:web]\ncmd = sleep 1000\n\
         [plugin:bad]\nuse = users.Logger\nfilename = out\n[plugin:worse]\nuse = json.NoSuchClass\n",
    );
    circusd.wait_for_pids("web", 1);
    for (name, reason) in [
        ("[plugin:bad] use = users.Logger", "ModuleNotFoundError: No module named 'users'"),
        ("[plugin:worse] use = json.NoSuchClass", "AttributeError: module 'json' has no attribute"),
    ] {
        circusd.wait_for_log(&format!("{name}: cannot be imported, so it is stopped: {reason}"));
    }
    for name in ["plugin:bad", "plugin:worse"] {
        circusd.wait_for_status(name, "stopped");
        let told = circusd.log().matches(&format!("[{name}] use")).count();
        assert_eq!(told, 1, "{}", circusd.log());
    }
    module(&env, "users", LOGGER);
    circusd.ok("start", json!({"name": "plugin:bad"}));
    circusd.wait_until("it runs", || (!said(&env, "out").is_empty()).then_some(()));
    circusd.wait_for_pids("plugin:bad", 1);
}

#[test]
fn a_plugin_that_crashes_and_floods_its_output_disturbs_nobody() {
    let Some(env) = world("plugins in Python") else { return };
    let plugin = "
import os, sys
from circus.plugins import CircusPlugin

class Flood(CircusPlugin):
    name = 'flood'
    def handle_init(self):
        for _ in range(1000):
            sys.stdout.write('x' * 10000)
            sys.stderr.write('y' * 10000)
        os._exit(3)
";
    module(&env, "users", plugin);
    let circusd = env.start("[watcher:web]\ncmd = sleep 1000\n[plugin:flood]\nuse = users.Flood\n");
    let told = "[plugin:flood] users.Flood has ended with an error and is started again";
    circusd.wait_for_log(told);
    let web = circusd.pids("web");
    circusd.wait_until("it backs off", || {
        let why = circusd.ok("why", json!({"name": "plugin:flood"}));
        // The pauses double; most of the time nothing runs.
        let pause = why["next_try"]["in"].as_f64();
        pause.is_some_and(|pause| pause > 0.5).then_some(())
    });
    assert_eq!(circusd.pids("web"), web);
    let log = circusd.log();
    assert_eq!(log.matches(told).count(), 1, "{log}");
    assert!(!log.contains("yyyy") && log.len() < 10_000, "{}", log.len());
}

#[test]
fn plugin_sections_come_go_and_change_with_reloadconfig() {
    let Some(env) = world("plugins in Python") else { return };
    let env = env.circus("loglevel = info\nlogoutput = circusd.log");
    module(&env, "users", LOGGER);
    let section = |name: &str, more: &str| {
        format!("[plugin:{name}]\nuse = users.Logger\nfilename = {name}.out\n{more}\n")
    };
    let web = "[watcher:web]\ncmd = sleep 1000\n";
    let circusd = env.start(&format!("{web}{}{}", section("one", ""), section("two", "")));
    let one = circusd.wait_for_pids("plugin:one", 1);
    let two = circusd.wait_for_pids("plugin:two", 1);
    circusd.ok_when_idle("reloadconfig", &json!({"waiting": true}));
    // The original starts them again at each reload, because of loglevel.
    assert_eq!(
        (circusd.pids("plugin:one"), circusd.pids("plugin:two")),
        (one.clone(), two.clone())
    );
    env.write_ini(&format!(
        "{web}{}{}",
        section("one", "new = 1"),
        section("three", "active = no")
    ));
    let plan = circusd.ok("reloadconfig", json!({"plan": true}));
    assert!(plan.to_string().contains("plugin:three"), "{plan}");
    circusd.ok("reloadconfig", json!({"waiting": true}));
    let changed = circusd.wait_for_pids("plugin:one", 1);
    assert_ne!(changed, one);
    circusd.wait_until("it has the new option", || {
        let config = said(&env, "one.out").last()?["config"]["new"].clone();
        (config == "1").then_some(())
    });
    let status = circusd.ok("status", json!({}))["statuses"].clone();
    let expected = json!({"web": "active", "plugin:one": "active", "plugin:three": "stopped"});
    assert_eq!(status, expected, "one that is not active is not started");
    assert_eq!(read(&env, "three.out"), "");
}

#[test]
fn the_environment_of_a_plugin_is_circusd_s_and_that_of_its_section() {
    let Some(env) = world("plugins in Python") else { return };
    module(&env, "users", LOGGER);
    // No module beside the ini file, but one on the path that the file gives.
    fs::create_dir(env.path("lib")).expect("new");
    fs::rename(env.path("users.py"), env.path("lib/others.py")).expect("moved");
    let circusd = env.start(&format!(
        "[env:plugin:log]\nPYTHONPATH = {}\n[plugin:log]\nuse = others.Logger\nfilename = out\n",
        env.path("lib").display()
    ));
    circusd.wait_until("it runs", || (!said(&env, "out").is_empty()).then_some(()));
}

#[test]
fn bad_options_of_built_in_plugins_are_one_sentence_each() {
    let env = TestEnv::new();
    let ini = env.write_ini(
        "[watcher:web]\ncmd = sleep 1000\n\
         [plugin:a]\nuse = circus.plugins.statsd.StatsdEmitter\nport = http\n\
         [plugin:b]\nuse = circus.plugins.statsd.FullStats\nloop_rate = 0\n\
         [plugin:c]\nuse = circus.plugins.statsd.FullStats\nloop_rat = 5\n",
    );
    let circusd = env.start_again();
    circusd.wait_for_pids("plugin:c", 1);
    let log = circusd.log();
    for sentence in [
        "[plugin:a] port = http: not a port; write a number from 1 to 65535",
        "[plugin:b] loop_rate = 0: not a time; write seconds above 0, such as 60 or 0.5",
        "[plugin:c] loop_rat: not an option of this plugin; did you mean `loop_rate`?",
    ] {
        assert_eq!(log.matches(sentence).count(), 1, "{sentence}\n{log}");
    }
    assert!(log.contains(&format!("{}:", ini.display())), "{log}");
    let names = circusd.ok("list", json!({}))["watchers"].clone();
    assert_eq!(names, json!(["plugin:c", "web"]), "what is wrong is left out, and nothing else");
}

#[test]
fn one_circusd_alone_runs_its_built_in_plugins_and_takes_them_with_it() {
    let env = TestEnv::new();
    let alone = env.path("bin");
    fs::create_dir(&alone).expect("new");
    fs::copy(program::built("circusd"), alone.join("circusd")).expect("copied");
    // As circus from PyPI has them in its directory.
    for name in ["circus-plugin", "circusd-stats"] {
        fs::write(alone.join(name), "#!/bin/false\n").expect("written");
        fs::set_permissions(alone.join(name), PermissionsExt::from_mode(0o755)).expect("ours");
    }
    let env = env.circus("statsd = True\nstats_endpoint = ipc://stats");
    env.write_ini("[plugin:s]\nuse = circus.plugins.statsd.StatsdEmitter\n");
    let mut command = Command::new(alone.join("circusd"));
    let usual = env.command();
    command.args(usual.get_args()).current_dir(env.directory()).env_clear();
    command.envs(usual.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let circusd = env.spawn_as(command);
    let pid = circusd.wait_for_pids("plugin:s", 1)[0];
    circusd.wait_for_log("circus.plugins.statsd.StatsdEmitter");
    let plugin = process::Handle::open(pid).expect("it runs");
    circusd.wait_for_log("the plugin runs");
    circusd.wait_for_log("circusd-stats publishes");
    circusd.kill();
    assert!(plugin.wait(PATIENCE), "it outlives the circusd that started it");
}

#[test]
fn a_python_that_is_missing_is_told_once() {
    let env = TestEnv::new();
    let circusd = env.start("[plugin:p]\nuse = mine.Plugin\npython = /nowhere/python\n");
    circusd.wait_for_status("plugin:p", "stopped");
    circusd.wait_for_log("'plugin:p' could not be started in 5 attempts");
    let log = circusd.log();
    assert_eq!(log.matches("/nowhere/python").count(), 1, "{log}");
    assert!(log.contains("error in 'plugin:p': "), "{log}");
}

#[test]
fn a_built_in_plugin_serves_the_original_circusd_too() {
    let Some(python) = Python::for_test("a built-in plugin beside circus 0.17.2") else { return };
    let env = TestEnv::of_the_original(python);
    let circusd = env.start("[watcher:web]\ncmd = sleep 1000\n");
    let statsd = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    statsd.set_read_timeout(Some(PATIENCE)).expect("a time");
    let port = statsd.local_addr().expect("an address").port();
    let plugin = Command::new(program::built("circus-plugin"))
        .args(["--endpoint", &env.endpoint(), "--pubsub", &env.pubsub_endpoint()])
        .args(["--config", &format!("loop_rate:0.1:::port:{port}:::host:127.0.0.1")])
        .arg("circus.plugins.statsd.FullStats")
        .env(process::MARK, env.id())
        .spawn();
    let mut plugin = plugin.expect("it starts");
    let mut buffer = [0; 512];
    let length = statsd.recv(&mut buffer).expect("a datagram in time");
    let metric = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(metric.starts_with("circus.app.watcher._stats.web.watchers_num:"), "{metric}");
    let pid = i32::try_from(plugin.id()).expect("pids fit");
    process::Handle::open(pid).expect("it runs").terminate();
    assert!(plugin.wait().expect("our child").success());
    drop(circusd);
}

#[test]
fn circus_plugin_has_the_command_line_of_the_original() {
    let env = TestEnv::new();
    let plugin = program::built("circus-plugin");
    let run = |arguments: &[&str]| {
        let output = program::run(&plugin, arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    assert_eq!(
        run(&["--version"]),
        (Some(0), format!("{}\n", env!("CARGO_PKG_VERSION")), String::new())
    );
    let (code, out, _) = run(&[]);
    assert!(code == Some(0) && out.starts_with("Usage: circus-plugin"), "{out}");
    let (_, help, _) = run(&["--help"]);
    for option in [
        "--endpoint",
        "--pubsub",
        "--config",
        "--version",
        "--check-delay",
        "--log-level",
        "--log-output",
        "--ssh",
    ] {
        assert!(help.contains(option), "{option} is missing:\n{help}");
    }
    let class = "circus.plugins.statsd.StatsdEmitter";
    let (code, _, error) = run(&["--config", "name:plugin:s:::port:x", class]);
    assert_eq!(code, Some(1));
    assert_eq!(error, "error: [plugin:s] port = x: not a port; write a number from 1 to 65535\n");
    let empty = env.path("empty");
    fs::write(&empty, "[watcher:web]\ncmd = x\n").expect("written");
    let (code, _, error) = run(&["--config", &empty.display().to_string(), class]);
    assert_eq!(code, Some(1));
    assert!(error.contains("has no [plugin:NAME] with `use = "), "{error}");
}

#[test]
fn circus_plugin_becomes_python_for_a_class_of_others() {
    let env = TestEnv::new();
    // Tells how it was called instead of running anything.
    let python = env.path("python");
    fs::write(&python, "#!/bin/sh\nfor word; do echo \"$word\"; done\n").expect("written");
    fs::set_permissions(&python, PermissionsExt::from_mode(0o755)).expect("ours");
    let output = Command::new(program::built("circus-plugin"))
        .args(["--config", "a:1:::b:it's", "--check-delay", "0.5", "users.Mine"])
        .env("CIRCUS_PYTHON", &python)
        .output()
        .expect("it runs");
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let words: Vec<&str> = words.lines().collect();
    let expected = [
        "-c",
        "from circus import plugins;plugins.main()",
        "--endpoint",
        "tcp://127.0.0.1:5555",
        "--pubsub",
        "tcp://127.0.0.1:5556",
        "--config",
        "a:1:::b:it's",
        "--check-delay",
        "0.5",
        "--log-level",
        "info",
        "--log-output",
        "-",
        "users.Mine",
    ];
    assert_eq!(words, expected);
}
