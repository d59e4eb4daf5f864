//! Plugins in Python that circusd runs where `circus` is not installed and where it is: which package they get, and
//! that those that misbehave harm nobody.

use crate::python_hooks::{lines, module};
use circus_e2e::process::Handle;
use circus_e2e::program::built;
use circus_e2e::python::our_package;
use circus_e2e::{Daemon, Python, TestEnv};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

fn world(python: &Python) -> TestEnv {
    TestEnv::new().circus(&format!("python = {}", python.program("python").display()))
}

/// A subclass as users write them: options, events, questions, a timer, an end.
const REPORTER: &str = r#"
import json, sys
import circus
from circus import logger
from circus.plugins import CircusPlugin
from circus.util import to_bool

class Reporter(CircusPlugin):
    name = "reporter"

    def __init__(self, *args, **config):
        super(Reporter, self).__init__(*args, **config)
        self.verbose = to_bool(config.get("verbose", "no"))
        self.ticks = 0

    def handle_init(self):
        self.file = open(self.config["file"], "a")
        self.say(config=self.config, verbose=self.verbose, check_delay=self.check_delay,
                 package=circus.__file__, tornado="tornado" in sys.modules)
        self.loop.add_timeout(self.loop.time() + 0.05, self.tick)

    def tick(self):
        self.ticks += 1
        if self.ticks < 3:
            self.loop.call_later(0.05, self.tick)
        else:
            self.say(ticks=self.ticks, watchers=self.call("list")["watchers"])
            self.loop.add_callback(self.fail)

    def fail(self):
        raise ValueError("what a callback raises is logged")

    def handle_recv(self, data):
        watcher, action, message = self.split_data(data)
        if action == "spawn":
            self.say(watcher=watcher, pid=self.load_message(message)["process_pid"])
            self.cast("set", name=watcher, options={"max_retry": 7})

    def handle_stop(self):
        self.say(stopped=True)

    def say(self, **what):
        self.file.write(json.dumps(what) + "\n")
        self.file.flush()
"#;

#[test]
fn a_plugin_runs_with_our_package_where_there_is_no_circus_and_with_the_original_where_it_is() {
    let run = |python: &Python| -> Value {
        let env = world(python);
        module(&env, "reporters", REPORTER);
        let circusd = env.start(
            "[watcher:web]\ncmd = sleep 1000\n[plugin:r]\nuse = reporters.Reporter\nfile = said\n\
             verbose = yes\nblank = a b  c:::d\n",
        );
        let said = |key: &str| lines(&env, "said").into_iter().find(|line| line.get(key).is_some());
        circusd.wait_until("its timer has run", || said("ticks"));
        circusd.wait_until("it hears of a process", || {
            circusd.ok_when_idle("restart", &json!({"name": "web", "waiting": true}));
            said("pid")
        });
        circusd.wait_until("its cast has arrived", || {
            let options = circusd.ok("options", json!({"name": "web"}));
            (options["options"]["max_retry"] == 7).then_some(())
        });
        circusd.ok("stop", json!({"name": "plugin:r", "waiting": true}));
        let mut first = said("config").expect("it has begun");
        assert_eq!(lines(&env, "said").last(), Some(&json!({"stopped": true})));
        first["ticks"] = said("ticks").expect("they were there");
        first
    };
    let Some(original) = Python::for_test("plugins in Python") else { return };
    let Some(bare) = Python::without_circus("plugins in Python") else { return };
    let (mut theirs, mut ours) = (run(original), run(bare));
    let package = |said: &mut Value| said["package"].take().as_str().unwrap_or_default().to_owned();
    assert!(package(&mut theirs).contains("site-packages"));
    assert!(package(&mut ours).starts_with(&our_package().display().to_string()));
    assert_eq!((theirs["tornado"].take(), ours["tornado"].take()), (json!(true), json!(false)));
    assert_eq!(ours, theirs);
    assert_eq!(ours["config"]["blank"], "a b  c:::d");
}

#[test]
fn circus_plugin_runs_a_class_where_there_is_no_circus() {
    let Some(python) = Python::without_circus("plugins in Python") else { return };
    let env = TestEnv::new();
    let code = "from circus.plugins import CircusPlugin\nclass Says(CircusPlugin):\n    def handle_init(self):\n        \
                print('hello from', CircusPlugin.__module__, self.config)\n        raise KeyboardInterrupt\n";
    module(&env, "says", code);
    let output = Command::new(built("circus-plugin"))
        .args(["--config", "a:1", "says.Says"])
        .env("CIRCUS_PYTHON", python.program("python"))
        .env_remove("PYTHONPATH")
        .current_dir(env.directory())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "hello from circus.plugins {'a': '1'}\n", "{output:?}");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_plugin_that_hangs_is_stopped_and_holds_up_nobody() {
    let Some(python) = Python::without_circus("plugins in Python") else { return };
    let env = world(python);
    let code = r#"
import signal
from circus.plugins import CircusPlugin

class Hangs(CircusPlugin):
    name = "hangs"

    def handle_recv(self, data):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open("hangs", "w"):
            pass
        while True:
            signal.pause()
"#;
    module(&env, "hanging", code);
    let circusd = env.start(
        "[watcher:web]\ncmd = sleep 1000\n[plugin:h]\nuse = hanging.Hangs\ngraceful_timeout = 0.2\n",
    );
    circusd.wait_until("it hangs", || {
        circusd.ok_when_idle("restart", &json!({"name": "web", "waiting": true}));
        env.path("hangs").exists().then_some(())
    });
    // Far more events than it will ever take.
    for _ in 0..200 {
        circusd.ok("set", json!({"name": "web", "options": {"max_retry": 5}}));
    }
    let pid = circusd.wait_for_pids("plugin:h", 1)[0];
    let process = Handle::open(pid).expect("it runs");
    circusd.ok("stop", json!({"name": "plugin:h", "waiting": true}));
    assert!(process.wait(circus_e2e::PATIENCE));
    assert_eq!(circusd.pids("web").len(), 1);
}

/// As much as the limit of its section lets it have.
#[test]
fn a_plugin_that_eats_memory_ends_by_itself_and_backs_off() {
    let Some(python) = Python::without_circus("plugins in Python") else { return };
    let env = world(python);
    let code = r#"
from circus.plugins import CircusPlugin

class Eats(CircusPlugin):
    name = "eats"

    def handle_init(self):
        with open("meals", "a") as file:
            file.write("one\n")
        self.eaten = []
        while True:
            self.eaten.append(bytearray(16 * 1024 * 1024))
"#;
    module(&env, "eating", code);
    let circusd: Daemon = env.start(
        "[watcher:web]\ncmd = sleep 1000\n\
         [plugin:e]\nuse = eating.Eats\nrlimit_as = 500000000\nstderr_stream.class = FileStream\n\
         stderr_stream.filename = said\n",
    );
    circusd.wait_until("it backs off", || {
        let why = circusd.ok("why", json!({"name": "plugin:e"}));
        why["next_try"]["in"].as_f64().is_some_and(|pause| pause > 0.5).then_some(())
    });
    let said = fs::read_to_string(env.path("said")).expect("it says why");
    assert!(said.contains("MemoryError"), "{said}");
    let meals = fs::read_to_string(env.path("meals")).expect("it has begun").lines().count();
    assert!((2..20).contains(&meals), "{meals}");
    assert_eq!(circusd.pids("web").len(), 1);
}
