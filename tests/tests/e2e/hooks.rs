//! Hooks that are programs: when they run, what they are told, what their exit status means, and that a slow
//! or broken one holds up nobody but its own watcher.

use circus_e2e::{Daemon, TestEnv, process::Handle};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Writes an executable shell script into the directory of the test.
fn script(env: &TestEnv, name: &str, body: &str) -> String {
    let path = env.path(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    path.display().to_string()
}

/// A hook that notes what it was told and says yes.
fn noting(env: &TestEnv) -> String {
    let log = env.path("calls");
    let line = "$CIRCUS_WATCHER $CIRCUS_HOOK $CIRCUS_PID $CIRCUS_SIGNUM $CIRCUS_EXIT_CODE";
    script(env, "note", &format!("echo {line} >> {}", log.display()))
}

/// What the noting hook has written, with names in place of pids.
fn calls(env: &TestEnv, pids: &[(i32, &str)]) -> Vec<String> {
    let text = fs::read_to_string(env.path("calls")).unwrap_or_default();
    let named = |word: &str| {
        let known = pids.iter().find(|(pid, _)| pid.to_string() == word);
        known.map_or_else(|| word.to_owned(), |(_, name)| (*name).to_owned())
    };
    let line = |line: &str| line.split_whitespace().map(named).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect()
}

/// circusd with a PATH on which there is no Python, only what the hooks here use.
fn start_without_python(env: &TestEnv, sections: &str) -> Daemon {
    let bin = env.path("bin");
    fs::create_dir(&bin).expect("writable");
    for tool in ["sleep", "cat"] {
        let path = ["/bin", "/usr/bin"].map(|dir| Path::new(dir).join(tool));
        let path = path.iter().find(|path| path.exists()).expect("a tool of every system");
        std::os::unix::fs::symlink(path, bin.join(tool)).expect("writable");
    }
    env.write_ini(sections);
    let mut command = env.command();
    command.env("PATH", &bin);
    let log = env.path("circusd.log");
    let circusd = Daemon::spawn(command, env.endpoint(), env.pubsub_endpoint(), log);
    circusd.wait_for_answer();
    circusd
}

#[test]
fn programs_are_hooks_on_a_machine_without_python() {
    let env = TestEnv::new();
    let note = noting(&env);
    let mut section = "[watcher:web]\ncmd = sleep 1000\n".to_owned();
    for hook in protocol::circus::option::HOOKS.iter().filter(|hook| **hook != "extended_stats") {
        section.push_str(&format!("hooks.{hook} = {note} --flag 'a b'\n"));
    }
    let circusd = start_without_python(&env, &section);
    let first = circusd.wait_for_pids("web", 1)[0];
    let events = circusd.subscribe();
    Handle::open(first).expect("it runs").kill();
    let second = events.wait_for("watcher.web.spawn")["process_pid"].as_i64().expect("a pid");
    let second = i32::try_from(second).expect("a pid");
    circusd.ok("signal", json!({"name": "web", "signum": "CONT"}));
    circusd.ok_when_idle("stop", &json!({"name": "web", "waiting": true}));
    let expected = [
        "web before_start",
        "web before_spawn",
        "web after_spawn first",
        "web after_start",
        "web before_reap first",
        "web after_reap first -9",
        "web before_spawn",
        "web after_spawn second",
        "web before_signal second 18",
        "web after_signal second 18",
        "web before_stop",
        "web before_signal second 15",
        "web after_signal second 15",
        "web before_reap second",
        "web after_reap second -15",
        "web after_stop",
    ];
    assert_eq!(calls(&env, &[(first, "first"), (second, "second")]), expected);
    circusd.quit();
}

#[test]
fn the_exit_status_decides_and_is_told_to_subscribers() {
    let env = TestEnv::new();
    let circusd = env.start(
        "[watcher:yes]\ncmd = sleep 1000\nautostart = false\nhooks.before_start = true\n\
         [watcher:no]\ncmd = sleep 1000\nautostart = false\nhooks.before_start = sh -c 'exit 3'\n\
         [watcher:gone]\ncmd = sleep 1000\nautostart = false\nhooks.before_start = /no/such/hook\n\
         [watcher:flag]\ncmd = sleep 1000\nautostart = false\nhooks.before_start = /no/such/hook, true\n",
    );
    let events = circusd.subscribe();
    let start = |name: &str| circusd.ok_when_idle("start", &json!({"name": name, "waiting": true}));
    assert_eq!(start("yes")["info"]["started"].as_array().map(Vec::len), Some(1));
    assert_eq!(events.wait_for("watcher.yes.hook_success")["name"], "before_start");
    // Refused: an ordinary reply with nothing in it, as in circus.
    assert_eq!(start("no")["info"], json!({"started": [], "kept": []}));
    assert_eq!(events.wait_for("watcher.no.hook_success")["name"], "before_start");
    circusd.wait_for_status("no", "stopped");
    let cause =
        |name: &str| circusd.ok("why", json!({"name": name}))["last_error"]["reason"].clone();
    assert_eq!(cause("no"), "the hook before_start said no");
    assert_eq!(start("gone")["info"], json!({"started": [], "kept": []}));
    let failure = events.wait_for("watcher.gone.hook_failure");
    assert!(failure["error"].as_str().is_some_and(|text| text.contains("/no/such/hook")));
    let expected =
        format!("the hook before_start failed: {}", failure["error"].as_str().unwrap_or(""));
    assert_eq!(cause("gone"), expected);
    assert!(circusd.log().contains("Hook 'before_start' failed"), "{}", circusd.log());
    assert_eq!(start("flag")["info"]["started"].as_array().map(Vec::len), Some(1));
    events.wait_for("watcher.flag.hook_failure");
}

#[test]
fn a_hook_that_takes_too_long_is_killed_and_only_its_watcher_waits() {
    let env = TestEnv::new();
    let ready = env.path("ready");
    let slow = script(&env, "slow", &format!("echo $$ > {}\nsleep 1000", ready.display()));
    let circusd = env.start(&format!(
        "[watcher:slow]\ncmd = sleep 1000\nautostart = false\nhooks.timeout = 1\n\
         hooks.before_start = {slow}\n\
         [watcher:other]\ncmd = sleep 1000\n"
    ));
    let events = circusd.subscribe();
    circusd.ok_when_idle("start", &json!({"name": "slow"}));
    let pid = circusd.wait_until("the hook runs", || {
        fs::read_to_string(&ready).ok()?.trim().parse::<i32>().ok()
    });
    let hook = Handle::open(pid).expect("it runs");
    // Everything else goes on meanwhile.
    assert_eq!(circusd.ok("status", json!({"name": "slow"}))["status"], "stopped");
    circusd.ok_when_idle("restart", &json!({"name": "other", "waiting": true}));
    let failure = events.wait_for("watcher.slow.hook_failure");
    assert_eq!(failure["error"], "timed out after 1 s");
    assert!(hook.wait(circus_e2e::PATIENCE), "the hook lives on");
    circusd.wait_for_status("slow", "stopped");
    // The script's own child is gone, too: what is left are circusd and the other watcher's process.
    circusd
        .wait_until("nothing of the hook is left", || (env.processes().len() == 2).then_some(()));
}

#[test]
fn an_end_waits_for_a_hook_no_longer_than_for_a_process() {
    let env = TestEnv::new();
    let circusd = env.start(
        "[watcher:slow]\ncmd = sleep 1000\nhooks.timeout = 0\ngraceful_timeout = 0.2\n\
         hooks.before_start = sleep 1000\n",
    );
    let all = circusd.wait_until("the hook runs", || {
        Some(env.processes()).filter(|processes| processes.len() == 2)
    });
    let all: Vec<_> = all.into_iter().map(Handle::open).collect();
    assert!(circusd.quit().success());
    for process in all.into_iter().flatten() {
        assert!(process.wait(circus_e2e::PATIENCE), "something lives on");
    }
}

#[test]
fn a_second_signal_waits_for_no_hook() {
    let env = TestEnv::new();
    let circusd = env.start(
        "[watcher:slow]\ncmd = sleep 1000\nhooks.timeout = 0\ngraceful_timeout = 3600\n\
         hooks.before_stop = sleep 1000\nhooks.after_stop = sleep 1000\n",
    );
    circusd.wait_for_pids("slow", 1);
    let handle = Handle::open(i32::try_from(circusd.pid()).expect("a pid")).expect("it runs");
    handle.terminate();
    let all = circusd.wait_until("the hook runs", || {
        Some(env.processes()).filter(|processes| processes.len() == 3)
    });
    let all: Vec<_> = all.into_iter().map(Handle::open).collect();
    handle.terminate();
    assert!(circusd.wait().success());
    for process in all.into_iter().flatten() {
        assert!(process.wait(circus_e2e::PATIENCE), "something lives on");
    }
}

/// The hooks of `papa_quit_and_adopt`.
#[test]
fn processes_that_are_taken_over_are_not_asked_whether_they_may_start() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let note = noting(&env);
    let mut section = "[watcher:web]\ncmd = sleep 1000\nuse_papa = true\n".to_owned();
    for hook in protocol::circus::option::HOOKS.iter().filter(|hook| **hook != "extended_stats") {
        section.push_str(&format!("hooks.{hook} = {note}\n"));
    }
    let circusd = env.start(&section);
    let pid = circusd.wait_for_pids("web", 1)[0];
    circusd.quit();
    let start = ["web before_start", "web before_spawn", "web after_spawn pid", "web after_start"];
    assert_eq!(calls(&env, &[(pid, "pid")]), start);
    let circusd = env.start_again();
    assert_eq!(circusd.wait_for_pids("web", 1), [pid]);
    let adoption = ["web after_spawn pid", "web after_start"];
    assert_eq!(calls(&env, &[(pid, "pid")])[start.len()..], adoption);
}

/// The hook of `reload_send_hup`.
#[test]
fn a_reload_by_sighup_asks_no_hook() {
    let env = TestEnv::new();
    let circusd = env.start(
        "[watcher:web]\nsend_hup = true\nhooks.before_signal = false\n\
         cmd = sh -c 'trap \"echo hup >> hups\" HUP; echo > ready; while :; do sleep 1000 & wait; done'\n",
    );
    let pids = circusd.wait_for_pids("web", 1);
    circusd.wait_until("the trap is set", || env.path("ready").exists().then_some(()));
    circusd.ok_when_idle("reload", &json!({"name": "web", "waiting": true}));
    circusd.wait_until("the signal is there", || env.path("hups").exists().then_some(()));
    assert_eq!(circusd.pids("web"), pids);
}

#[test]
fn hooks_do_not_outlive_circusd() {
    let env = TestEnv::new();
    let circusd = env.start(
        "[watcher:slow]\ncmd = sleep 1000\nhooks.timeout = 0\nhooks.before_start = sleep 1000\n",
    );
    let all = circusd.wait_until("the hook runs", || {
        Some(env.processes()).filter(|processes| processes.len() == 2)
    });
    let all: Vec<_> = all.into_iter().map(Handle::open).collect();
    circusd.kill();
    for process in all.into_iter().flatten() {
        assert!(process.wait(circus_e2e::PATIENCE), "something lives on");
    }
}

#[test]
fn a_hook_can_call_circusd_back() {
    let env = TestEnv::new();
    let Some(python) = circus_e2e::Python::for_test("a hook that runs circusctl") else { return };
    let circusctl = python.program("circusctl").display().to_string();
    let body = format!("{circusctl} --endpoint {} status other", env.endpoint());
    let asking = script(&env, "asking", &body);
    let circusd = env.start(&format!(
        "[watcher:asking]\ncmd = sleep 1000\nautostart = false\nhooks.before_start = {asking}\n\
         [watcher:other]\ncmd = sleep 1000\n"
    ));
    circusd.wait_for_pids("other", 1);
    let reply = circusd.ok_when_idle("start", &json!({"name": "asking", "waiting": true}));
    assert_eq!(reply["info"]["started"].as_array().map(Vec::len), Some(1), "{}", circusd.log());
    // What it prints is in the log, with its name.
    assert!(circusd.log().contains("before_start of asking: active"), "{}", circusd.log());
}

#[test]
fn extended_stats_can_add_figures() {
    let env = TestEnv::new();
    let more = script(&env, "more", r#"sed 's/^{/{"requests": 42, /'"#);
    let circusd = env.start(&format!(
        "[watcher:web]\ncmd = sleep 1000\nhooks.extended_stats = {more}\n\
         [watcher:broken]\ncmd = sleep 1000\nhooks.extended_stats = /no/such/hook\n"
    ));
    for (watcher, expected) in [("web", json!(42)), ("broken", json!(null))] {
        let pid = circusd.wait_for_pids(watcher, 1)[0].to_string();
        let stats = circusd.ok("stats", json!({"name": watcher, "extended": true}));
        let info = &stats["info"][&pid];
        assert_eq!((&info["requests"], &info["pid"].to_string()), (&expected, &pid), "{stats}");
        let plain = circusd.ok("stats", json!({"name": watcher}));
        assert_eq!(plain["info"][&pid]["requests"], json!(null));
    }
}

#[test]
fn a_hook_can_be_set_while_the_watcher_runs() {
    let env = TestEnv::new();
    let note = noting(&env);
    let circusd = env.start("[watcher:web]\ncmd = sleep 1000\n");
    let pid = circusd.wait_for_pids("web", 1)[0];
    let options =
        json!({"hooks.before_signal": note, "hooks": {"after_stop": format!("{note},true")}});
    circusd.ok_when_idle("set", &json!({"name": "web", "options": options, "waiting": true}));
    assert_eq!(circusd.pids("web"), [pid]);
    let shown = circusd.ok("options", json!({"name": "web"}));
    assert_eq!(shown["options"]["hooks.before_signal"], json!(note));
    let got = circusd.ok("get", json!({"name": "web", "keys": ["hooks.after_stop"]}));
    assert_eq!(got["options"]["hooks.after_stop"], json!(format!("{note},true")));
    circusd.ok_when_idle("stop", &json!({"name": "web", "waiting": true}));
    let expected = ["web before_signal web-pid 15", "web after_stop"];
    assert_eq!(calls(&env, &[(pid, "web-pid")]), expected);
    let unknown = circusd.call("set", json!({"name": "web", "options": {"hooks.nohook": "true"}}));
    assert_eq!(unknown["errno"], 3, "{unknown}");
}
