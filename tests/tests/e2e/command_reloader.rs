//! CommandReloader beside the recordings of the original.

use super::recorded_plugins::{Bench, Plugin, Sent, entries, sent};
use serde_json::{Value, json};
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::SystemTime;

const CLASS: &str = "circus.plugins.command_reloader.CommandReloader";

/// Changes settle for a third of a second in place of the one second of the recordings.
const QUICK: (&str, &str) = ("loop_rate", "0.3");

fn restart(name: &str) -> Sent {
    Sent::Command("restart".to_owned(), json!({"name": name}), false)
}

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}exec sleep 1000\n")).expect("written");
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("ours");
}

fn touch(path: &Path) {
    let now = SystemTime::now();
    let file = File::open(path).expect("it is there");
    file.set_times(FileTimes::new().set_accessed(now).set_modified(now)).expect("ours");
}

/// Starts it and waits until it knows all watchers and watches their files.
fn reloader(bench: &Bench) -> Plugin {
    let plugin = bench.plugin(CLASS, &[QUICK]);
    plugin.wait_for_log("the plugin runs");
    plugin
}

/// The next command that is no question.
fn next_order(bench: &Bench) -> Sent {
    bench.take(0, 1).1.remove(0)
}

#[test]
fn changed_programs_lead_to_restarts_as_recorded() {
    let recording = entries("command_reloader_0.17.2.jsonl");
    let is_restart = |sent: &Sent| matches!(sent, Sent::Command(name, ..) if name == "restart");
    let recorded: Vec<Sent> = recording.iter().filter_map(sent).filter(is_restart).collect();
    let bench = Bench::new("");
    for name in ["a.sh", "b1.sh", "b2.sh", "c.sh"] {
        script(&bench.env.path(name), "");
    }
    let path = |name: &str| bench.env.path(name);
    symlink("b1.sh", path("b.sh")).expect("linked");
    let add = |name: &str, cmd: &str| {
        let command = json!({"name": name, "cmd": cmd, "start": true, "waiting": true});
        bench.circusd.ok_when_idle("add", &command);
    };
    for name in ["a", "b", "c"] {
        add(name, &path(&format!("{name}.sh")).display().to_string());
    }
    let events = bench.circusd.subscribe();
    let plugin = reloader(&bench);

    touch(&path("a.sh"));
    assert_eq!((next_order(&bench), &recorded[0]), (restart("a"), &restart("a")));
    // What follows is what follows in the recording.
    let topics = recording.iter().filter(|entry| entry["kind"] == "evt");
    let topics: Vec<&str> =
        topics.filter_map(|entry| entry["data"]["topic"].as_str()).take(5).collect();
    assert_eq!(
        topics,
        ["kill", "reap", "stop", "spawn", "start"].map(|what| format!("watcher.a.{what}"))
    );
    for topic in topics {
        assert_eq!(events.next_event().0, topic);
    }

    fs::remove_file(path("b.sh")).expect("removed");
    symlink("b2.sh", path("b.sh")).expect("linked");
    assert_eq!((next_order(&bench), &recorded[1]), (restart("b"), &restart("b")));
    events.wait_for("watcher.b.start");

    // docs/differences.md, "Plugins that watch": circusd has restarted it already. What comes next is about the
    // next change.
    assert_eq!(recorded[2], restart("a"));
    let options = json!({"cmd": path("b1.sh").display().to_string()});
    bench.circusd.ok_when_idle("set", &json!({"name": "a", "options": options, "waiting": true}));
    events.wait_for("watcher.a.reload");
    script(&path("new.sh"), "");
    fs::rename(path("new.sh"), path("c.sh")).expect("moved");
    assert_eq!(next_order(&bench), restart("c"));
    events.wait_for("watcher.c.start");

    // The same: what is stopped stays stopped.
    assert_eq!(recorded[3], restart("b"));
    bench.circusd.ok_when_idle("stop", &json!({"name": "b", "waiting": true}));
    touch(&path("b2.sh"));
    plugin.wait_for_log("b is stopped and is left so: ");

    // The same: a command that is no path keeps nothing from being seen.
    add("aa", "sleep 1000");
    events.wait_for("watcher.aa.add");
    touch(&path("b1.sh"));
    assert_eq!(next_order(&bench), restart("a"), "by its new command");
    assert_eq!(bench.circusd.ok("status", json!({"name": "b"}))["status"], "stopped");
    plugin.interrupt();
}

/// docs/differences.md, "Plugins that watch": scripts, and releases that are switched by a link.
#[test]
fn a_script_in_a_release_that_a_link_leads_to_is_followed() {
    let bench = Bench::new("");
    let release = |number: u32| {
        let folder = bench.env.path(&format!("releases/{number}"));
        fs::create_dir_all(&folder).expect("made");
        fs::write(folder.join("app.py"), "import signal\nsignal.pause()  # 1\n").expect("written");
    };
    release(1);
    let current = bench.env.path("current");
    symlink("releases/1", &current).expect("linked");
    let command = json!({"name": "My App", "cmd": "python3 -u app.py", "start": true,
        "options": {"working_dir": current.display().to_string()}, "waiting": true});
    bench.circusd.ok_when_idle("add", &command);
    script(&bench.env.path("other.sh"), "");
    let other = bench.env.path("other.sh").display().to_string();
    let command = json!({"name": "other", "cmd": other, "start": true, "waiting": true});
    bench.circusd.ok_when_idle("add", &command);
    let events = bench.circusd.subscribe();
    let plugin = reloader(&bench);
    release(2);
    symlink("releases/2", bench.env.path("next")).expect("linked");
    fs::rename(bench.env.path("next"), &current).expect("moved");
    assert_eq!(next_order(&bench), restart("my app"));
    events.wait_for("watcher.my_app.start");
    // An editor that writes another file and puts it in the place of the old one.
    let app = current.join("app.py");
    fs::write(bench.env.path("releases/2/app.py~"), "import signal\nsignal.pause()  # 2\n")
        .expect("written");
    fs::rename(bench.env.path("releases/2/app.py~"), &app).expect("moved");
    assert_eq!(next_order(&bench), restart("my app"));
    events.wait_for("watcher.my_app.start");
    // One that is gone for longer than a change takes to settle is waited for.
    fs::remove_file(&app).expect("removed");
    touch(&bench.env.path("other.sh"));
    assert_eq!(next_order(&bench), restart("other"), "noticed after the other was gone");
    fs::write(&app, "import signal\nsignal.pause()  # 3\n").expect("written");
    assert_eq!(next_order(&bench), restart("my app"));
    plugin.interrupt();
}

/// While nothing changes nothing is asked.
#[test]
fn nothing_is_looked_at_while_nothing_changes() {
    let bench = Bench::new("");
    script(&bench.env.path("a.sh"), "");
    let command = json!({"name": "a", "cmd": bench.env.path("a.sh").display().to_string(), "start": true,
        "waiting": true});
    bench.circusd.ok_when_idle("add", &command);
    let plugin = bench.plugin(CLASS, &[("loop_rate", "0.05")]);
    plugin.wait_for_log("the plugin runs");
    let questions: Vec<Sent> = (0..2).map(|_| bench.next()).collect();
    let keys = json!({"name": "a", "keys": ["cmd", "args", "working_dir", "env"]});
    let expected = [("list", json!({})), ("get", keys)];
    let expected = expected.map(|(name, of): (&str, Value)| Sent::Command(name.into(), of, false));
    assert_eq!(questions, expected);
    // Twenty times the time in which the original would have looked.
    assert_eq!(bench.next_within(std::time::Duration::from_secs(1)), None);
    plugin.interrupt();
}
