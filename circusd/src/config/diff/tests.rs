//! Every key of the file, changed, added and removed; and `docs/reloadconfig.md` held to it.

use super::*;
use crate::config;
use crate::config::model::Config;
use std::collections::BTreeSet;

const DOCUMENT: &str = include_str!("../../../../docs/reloadconfig.md");

fn load(sections: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("circus.ini");
    std::fs::write(&path, sections).unwrap();
    let loaded = config::load(&path, &[]).unwrap_or_else(|errors| panic!("{sections}: {errors}"));
    assert_eq!(loaded.refused, [], "{sections}");
    loaded.config
}

fn plan(old: &str, new: &str) -> ReloadPlan {
    let (old, new) = (load(old), load(new));
    let running: Vec<&str> = old.watchers.iter().map(|watcher| watcher.name.as_str()).collect();
    diff(&old, &running, &new)
}

fn step(plan: &ReloadPlan, name: &str) -> (&'static str, String) {
    let found = plan.watchers.iter().find(|step| step.name == name);
    found.map_or(("keep", String::new()), |step| (step.action(), step.reason()))
}

/// Two values other than the default for each key of a watcher, and what the key needs beside it.
const SAMPLES: &[(&str, &str, &str, &str)] = &[
    ("args", "1", "2", ""),
    ("numprocesses", "2", "3", ""),
    ("warmup_delay", "1", "2", ""),
    ("executable", "a", "b", ""),
    ("working_dir", "/", "/tmp", ""),
    ("on_demand", "true", "1", ""),
    ("shell", "true", "1", ""),
    ("shell_args", "a", "b", "shell = true"),
    ("uid", "1", "2", ""),
    ("gid", "1", "2", ""),
    ("send_hup", "true", "1", ""),
    ("stop_signal", "INT", "QUIT", ""),
    ("stop_children", "true", "1", ""),
    ("max_retry", "1", "2", ""),
    ("graceful_timeout", "1", "2", ""),
    ("priority", "1", "2", ""),
    ("use_sockets", "true", "1", ""),
    ("singleton", "true", "1", ""),
    ("copy_env", "true", "1", ""),
    ("copy_path", "true", "1", "copy_env = true"),
    ("respawn", "false", "0", ""),
    ("autostart", "false", "0", ""),
    ("use_papa", "true", "1", ""),
    ("max_age", "1", "2", ""),
    ("max_age_variance", "1", "2", ""),
    ("close_child_stdin", "false", "0", ""),
    ("close_child_stdout", "true", "1", ""),
    ("close_child_stderr", "true", "1", ""),
    ("stdin_socket", "s", "t", ""),
    ("virtualenv", "/a", "/b", "copy_env = true"),
    ("virtualenv_py_ver", "3.1", "3.2", ""),
    ("rlimit_nofile", "10", "11", ""),
    ("hooks.before_start", "a.b", "c.d", ""),
    ("hooks.timeout", "1", "2", ""),
    ("stdout_stream.filename", "/a", "/b", "stdout_stream.max_bytes = 1"),
    ("stderr_stream.filename", "/a", "/b", "stderr_stream.max_bytes = 1"),
    ("anything_else", "1", "2", ""),
];

const SOCKETS: &str = "[socket:s]\nport = 0\n[socket:t]\nport = 0\n";

#[test]
fn every_key_of_a_watcher_is_noticed_when_it_is_changed_added_or_removed() {
    let mut seen = BTreeSet::from(["name".to_owned(), "cmd".to_owned(), "env.*".to_owned()]);
    for (key, one, other, beside) in SAMPLES {
        seen.insert(
            WATCHER_KEYS
                .iter()
                .filter(|pattern| matches(pattern, key))
                .max_by_key(|pattern| pattern.len())
                .map(|pattern| (*pattern).to_owned())
                .unwrap(),
        );
        // A stream is a stream only with a file name; without it there is none at all.
        let beside = if key.contains("_stream.") { "" } else { beside };
        let without = format!("[watcher:w]\ncmd = x\n{beside}\n{SOCKETS}");
        let with = |value| format!("[watcher:w]\ncmd = x\n{beside}\n{key} = {value}\n{SOCKETS}");
        let wanted = if *key == "numprocesses" { "resize" } else { "restart" };
        for (old, new) in [(&without, &with(one)), (&with(one), &without)] {
            let plan = plan(old, new);
            let (action, reason) = step(&plan, "w");
            assert_eq!(action, wanted, "{key}");
            assert!(reason.contains(key), "{reason}");
        }
        // `true` and `1` mean the same, so this is no change.
        let is_flag = ["1", "0"].contains(other) && ["true", "false"].contains(one);
        let changed = step(&plan(&with(one), &with(other)), "w").0;
        assert_eq!(changed, if is_flag { "keep" } else { wanted }, "{key}");
    }
    let all: BTreeSet<String> = WATCHER_KEYS.iter().map(|key| (*key).to_owned()).collect();
    assert_eq!(seen, all, "each key has a sample");
}

fn matches(pattern: &str, key: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => pattern == key,
    }
}

#[test]
fn an_environment_that_changes_names_the_variables() {
    let old = "[watcher:w]\ncmd = x\n[env]\nA = 1\nB = 1\n";
    let new = "[watcher:w]\ncmd = x\n[env]\nA = secret\nC = 1\n";
    let (action, reason) = step(&plan(old, new), "w");
    assert_eq!((action, reason.as_str()), ("restart", "changed: env.A, env.B, env.C"));
}

#[test]
fn the_form_of_a_file_does_not_matter() {
    let old =
        "[watcher:w]\ncmd = x\n[watcher:v]\ncmd = y\n[socket:s]\nport = 80\n[circus]\ndebug = no\n";
    let new = "; tidied up\n[circus]\ncheck_delay = 5\n[socket:s]\nport = 80\nfamily = AF_INET\n\
               [watcher:v]\ncmd = y\nnumprocesses = 1\nmax_age = 0\n[watcher:w]\nmax_retry = 5\ncmd = x\n";
    assert!(plan(old, new).is_empty());
}

#[test]
fn watchers_come_and_go() {
    let old = load("[watcher:stays]\ncmd = x\n[watcher:goes]\ncmd = x\n[watcher:back]\ncmd = x\n");
    let new = load("[watcher:Stays]\ncmd = x\n[watcher:back]\ncmd = x\n[watcher:both]\ncmd = x\n");
    let in_force = Config {
        watchers: old.watchers.iter().filter(|w| w.name != "back").cloned().collect(),
        ..old.clone()
    };
    let plan = diff(&in_force, &["stays", "goes", "dyn", "both"], &new);
    let steps: Vec<_> =
        plan.watchers.iter().map(|step| (step.name.as_str(), step.action())).collect();
    assert_eq!(
        steps,
        [
            ("back", "add"),
            ("both", "restart"),
            ("dyn", "remove"),
            ("goes", "remove"),
            ("Stays", "restart")
        ]
    );
    assert_eq!(step(&plan, "dyn").1, "was added by command and is not in the file");
}

#[test]
fn a_changed_socket_takes_the_watchers_that_use_it_along() {
    let ini = |port: u16, more: &str| {
        format!(
            "[socket:web]\nhost = 127.0.0.1\nport = {port}\n[socket:other]\nport = 81\n\
             [watcher:cmd]\ncmd = x $(circus.sockets.web)\n\
             [watcher:args]\ncmd = x\nargs = ((circus.sockets.WEB))\n\
             [watcher:stdin]\ncmd = x\nstdin_socket = Web\n\
             [watcher:all]\ncmd = x\nuse_sockets = true\n\
             [watcher:other]\ncmd = x $(circus.sockets.other)\nuse_sockets = true\n\
             [watcher:none]\ncmd = x\n[watcher:changed]\ncmd = x{more} $(circus.sockets.web)\n"
        )
    };
    let plan = plan(&ini(80, ""), &ini(8080, " y"));
    let sockets: Vec<_> =
        plan.sockets.iter().map(|step| (step.name.as_str(), step.change)).collect();
    assert_eq!(sockets, [("web", SocketChange::Reopen)]);
    assert_eq!(plan.sockets[0].keys, ["port"]);
    for (name, action, reason) in [
        ("cmd", "restart", "uses changed sockets: web"),
        ("args", "restart", "uses changed sockets: web"),
        ("stdin", "restart", "uses changed sockets: web"),
        ("all", "restart", "uses changed sockets: web"),
        ("other", "keep", ""),
        ("none", "keep", ""),
        ("changed", "restart", "changed: cmd; uses changed sockets: web"),
    ] {
        assert_eq!(step(&plan, name), (action, reason.to_owned()), "{name}");
    }
}

#[test]
fn a_new_socket_takes_nobody_along_and_a_gone_one_its_users() {
    let with = "[socket:s]\nport = 0\n[watcher:w]\ncmd = x $(circus.sockets.s)\n";
    let without = "[watcher:w]\ncmd = x $(circus.sockets.s)\n";
    let added = plan(without, with);
    assert_eq!((added.sockets[0].change, step(&added, "w").0), (SocketChange::Open, "keep"));
    let removed = plan(with, without);
    assert_eq!(
        (removed.sockets[0].change, step(&removed, "w").0),
        (SocketChange::Close, "restart")
    );
}

/// A value other than the default for each key of `[circus]`.
const CIRCUS_SAMPLES: &[(&str, &str)] = &[
    ("check_delay", "7"),
    ("endpoint", "tcp://127.0.0.1:1"),
    ("endpoint_owner", "root"),
    ("pubsub_endpoint", "tcp://127.0.0.1:1"),
    ("multicast_endpoint", "udp://237.219.251.97:1"),
    ("stats_endpoint", "tcp://127.0.0.1:1"),
    ("stats_interval", "2"),
    ("statsd", "true"),
    ("umask", "077"),
    ("warmup_delay", "1"),
    ("httpd", "true"),
    ("httpd_host", "h"),
    ("httpd_port", "1"),
    ("debug", "true"),
    ("debug_gc", "true"),
    ("metrics_endpoint", "9100"),
    ("pidfile", "p"),
    ("loglevel", "debug"),
    ("logoutput", "l"),
    ("loggerconfig", "c.ini"),
    ("python", "/usr/bin/python3.9"),
    ("python_path", "/srv/lib"),
    ("allow_remote_python", "false"),
    ("fqdn_prefix", "f"),
    ("papa_endpoint", "tcp://127.0.0.1:1"),
    ("use_papa", "true"),
];

#[test]
fn every_key_of_circus_has_its_effect_and_only_live_ones_are_in_force() {
    let keys: Vec<&str> = CIRCUS_SAMPLES.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, CIRCUS_KEYS);
    for (key, value) in CIRCUS_SAMPLES {
        // An endpoint alone would switch the statistics on, too.
        let beside = if *key == "stats_endpoint" { "statsd = true" } else { "proc_name = x" };
        let old = load(&format!("[circus]\n{beside}\n"));
        let new = load(&format!("[circus]\n{beside}\n{key} = {value}\n"));
        let plan = diff(&old, &[], &new);
        let [step] = plan.circus.as_slice() else { panic!("{key}: {:?}", plan.circus) };
        assert_eq!((step.key.as_str(), step.effect), (*key, effect_of(key)));
        let left = keys::of_circus(&in_force(&old.circus, &new.circus), &new.circus);
        assert_eq!(left.is_empty(), step.effect != Effect::NeedsRestart, "{key}");
    }
}

/// The rows of the table under a heading: its first two columns, the first without backticks.
fn rows(heading: &str) -> Vec<(String, String)> {
    let (_, below) = DOCUMENT.split_once(&format!("## {heading}\n")).unwrap();
    let section = below.split("\n## ").next().unwrap();
    let cells = section.lines().filter(|line| line.starts_with('|')).skip(2).map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        (cells.next().unwrap().replace('`', ""), cells.next().unwrap().to_owned())
    });
    cells.collect()
}

#[test]
fn the_document_lists_every_key_with_what_happens() {
    let watcher = |key: &&str| {
        let effect = if *key == "numprocesses" { "resize" } else { "restart" };
        // The rest of a watcher's keys is spelt out.
        let key = if *key == "*" { "any other key" } else { key };
        (key.to_owned(), effect.to_owned())
    };
    assert_eq!(rows("Keys of a watcher"), WATCHER_KEYS.iter().map(watcher).collect::<Vec<_>>());
    let socket = |key: &&str| ((*key).to_owned(), "reopen".to_owned());
    assert_eq!(rows("Keys of a socket"), SOCKET_KEYS.iter().map(socket).collect::<Vec<_>>());
    let circus = |key: &&str| ((*key).to_owned(), effect_of(key).as_str().to_owned());
    assert_eq!(rows("Keys of [circus]"), CIRCUS_KEYS.iter().map(circus).collect::<Vec<_>>());
}

#[test]
fn the_plan_is_data_without_values() {
    let old = "[watcher:w]\ncmd = x\nnumprocesses = 1\n[watcher:v]\ncmd = x\n[env]\nKEY = old\n";
    let new = "[watcher:w]\ncmd = x\nnumprocesses = 4\n[watcher:v]\ncmd = secret\n[env]\nKEY = old\n\
               [circus]\nendpoint = tcp://127.0.0.1:1\n[socket:s]\nport = 0\n";
    let shown = plan(old, new).to_json();
    assert_eq!(
        shown,
        serde_json::json!({
            "watchers": [
                {"name": "v", "action": "restart", "keys": ["cmd"], "sockets": [],
                 "reason": "changed: cmd"},
                {"name": "w", "action": "resize", "from": 1, "to": 4, "keys": ["numprocesses"],
                 "sockets": [], "reason": "numprocesses changed from 1 to 4"},
            ],
            "sockets": [{"name": "s", "action": "open", "keys": []}],
            "circus": [{"key": "endpoint", "action": "restart circusd"}],
        })
    );
}
