//! What operators change while circusd runs outlives it, and what has no place any more goes.

use circus_e2e::process::{Handle, is_alive, words};
use circus_e2e::program::fixture;
use circus_e2e::{Daemon, PATIENCE, TestEnv};
use serde_json::json;

fn hosted(name: &str, more: &str) -> String {
    format!("[watcher:{name}]\ncmd = sleep 1000\nuse_papa = True\n{more}\n")
}

/// Ends circusd in one of the two ways, and begins it again with these sections.
fn again(env: &TestEnv, circusd: Daemon, killed: bool, sections: &str) -> Daemon {
    if killed {
        circusd.kill();
    } else {
        assert!(circusd.quit().success());
    }
    env.start(sections)
}

fn wait_for_end(pid: i32) {
    if let Some(process) = Handle::open(pid) {
        assert!(process.wait(PATIENCE), "process {pid} does not end");
    }
}

/// Sends a command that must succeed once the watchers have been started.
fn order(circusd: &Daemon, command: &str, properties: serde_json::Value) {
    circusd.wait_until(&format!("{command} is not in the way of another"), || {
        let reply = circusd.call(command, properties.clone());
        let busy =
            reply["reason"].as_str().is_some_and(|reason| reason.contains("already running"));
        assert!(busy || reply["status"] == "ok", "{command}: {reply}");
        (!busy).then_some(())
    });
}

fn number(circusd: &Daemon, watcher: &str) -> serde_json::Value {
    circusd.ok("options", json!({"name": watcher}))["options"]["numprocesses"].clone()
}

#[test]
fn what_operators_change_outlives_circusd() {
    for killed in [false, true] {
        let env = TestEnv::new();
        if env.has_no_kernel() {
            return;
        }
        let sections = [
            hosted("more", "numprocesses = 1"),
            hosted("fewer", "numprocesses = 3"),
            hosted("set", "graceful_timeout = 5"),
            hosted("stopped", ""),
            hosted("started", "autostart = False"),
            hosted("removed", ""),
        ]
        .concat();
        let circusd = env.start(&sections);
        circusd.wait_for_pids("more", 1);
        circusd.wait_for_pids("fewer", 3);
        circusd.wait_for_pids("stopped", 1);
        let removed = circusd.wait_for_pids("removed", 1);
        let kept = circusd.wait_for_pids("set", 1);
        order(&circusd, "incr", json!({"name": "more", "nb": 2}));
        order(&circusd, "decr", json!({"name": "fewer", "nb": 2}));
        order(&circusd, "set", json!({"name": "set", "options": {"graceful_timeout": 1.5}}));
        order(&circusd, "stop", json!({"name": "stopped"}));
        order(&circusd, "start", json!({"name": "started"}));
        order(&circusd, "rm", json!({"name": "removed"}));
        let options = json!({"use_papa": true, "numprocesses": 2});
        let added =
            json!({"name": "added", "cmd": "sleep 1000", "start": true, "options": options});
        order(&circusd, "add", added);
        let added = circusd.wait_for_pids("added", 2);
        let started = circusd.wait_for_pids("started", 1);

        let circusd = again(&env, circusd, killed, &sections);
        circusd.wait_for_pids("more", 3);
        circusd.wait_for_pids("fewer", 1);
        assert_eq!(circusd.wait_for_pids("added", 2), added);
        assert_eq!(circusd.wait_for_pids("started", 1), started);
        assert_eq!(circusd.wait_for_pids("set", 1), kept);
        circusd.wait_for_status("stopped", "stopped");
        circusd.wait_until("the stopped watcher has no process", || {
            circusd.pids("stopped").is_empty().then_some(())
        });
        wait_for_end(removed[0]);
        let list = circusd.ok("list", json!({}));
        assert!(!list["watchers"].to_string().contains("removed"), "{list}");
        let reply = circusd.ok("get", json!({"name": "set", "keys": ["graceful_timeout"]}));
        assert_eq!(reply["options"]["graceful_timeout"], 1.5);

        // Where the file changes, it wins; elsewhere it does not.
        let changed = sections.replace("numprocesses = 3", "numprocesses = 2");
        let circusd = again(&env, circusd, killed, &changed);
        circusd.wait_for_pids("fewer", 2);
        circusd.wait_for_pids("more", 3);
        // Back to what the file says: nothing is left to remember.
        order(&circusd, "decr", json!({"name": "more", "nb": 2, "waiting": true}));
        let doubled = changed.replace("numprocesses = 1", "numprocesses = 2");
        let circusd = again(&env, circusd, killed, &doubled);
        circusd.wait_for_pids("more", 2);
        assert_eq!(number(&circusd, "more"), 2);
    }
}

#[test]
fn everything_stopped_at_once_stays_stopped() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let sections = hosted("one", "") + &hosted("two", "");
    let circusd = env.start(&sections);
    circusd.wait_for_pids("one", 1);
    circusd.wait_for_pids("two", 1);
    order(&circusd, "stop", json!({}));
    let circusd = again(&env, circusd, true, &sections);
    circusd.wait_for_status("one", "stopped");
    circusd.wait_for_status("two", "stopped");
    let circusd = again(&env, circusd, false, &sections);
    assert_eq!(circusd.pids("one").len() + circusd.pids("two").len(), 0);
    order(&circusd, "start", json!({}));
    circusd.wait_for_pids("one", 1);
    let circusd = again(&env, circusd, true, &sections);
    circusd.wait_for_pids("two", 1);
}

#[test]
fn a_process_that_died_meanwhile_is_reported_and_replaced() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let sections = hosted("web", "numprocesses = 2");
    let circusd = env.start(&sections);
    let pids = circusd.wait_for_pids("web", 2);
    circusd.kill();
    let victim = Handle::open(pids[0]).expect("it runs");
    victim.kill();
    assert!(victim.wait(PATIENCE));
    let circusd = env.start_again();
    circusd.wait_until("the dead process is replaced and the other kept", || {
        let now = circusd.pids("web");
        (now.len() == 2 && now.contains(&pids[1]) && !now.contains(&pids[0])).then_some(())
    });
    let report = format!("process {} of web ended while circusd was away, exit code -9", pids[0]);
    assert!(circusd.log().contains(&report), "{}", circusd.log());
}

#[test]
fn a_watcher_gone_from_the_file_is_stopped_and_forgotten() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let circusd = env.start(&(hosted("web", "") + &hosted("gone", "") + &hosted("moved", "")));
    let web = circusd.wait_for_pids("web", 1);
    let gone = circusd.wait_for_pids("gone", 1);
    let moved = circusd.wait_for_pids("moved", 1);
    let sections = hosted("web", "") + "[watcher:moved]\ncmd = sleep 1000\n";
    let circusd = again(&env, circusd, true, &sections);
    wait_for_end(gone[0]);
    let direct = circusd.wait_for_pids("moved", 1);
    assert!(!is_alive(moved[0]), "the process in the kernel has ended before");
    assert_ne!(direct, moved);
    assert_eq!(circusd.wait_for_pids("web", 1), web);
    circusd.wait_until("the kernel has forgotten it", || {
        let listed = env.kernel().command("list values") + &env.kernel().command("list processes");
        (!listed.contains("gone") && !listed.contains("moved")).then_some(())
    });
}

#[test]
fn a_changed_command_is_reported_and_rolled_out_by_a_reload() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let circusd = env.start(&hosted("web", ""));
    let old = circusd.wait_for_pids("web", 1);
    let changed = hosted("web", "").replace("1000", "2000");
    let circusd = again(&env, circusd, true, &changed);
    assert_eq!(circusd.wait_for_pids("web", 1), old);
    let report = format!("have changed since these processes were started: {}", old[0]);
    assert!(circusd.log().contains(&report), "{}", circusd.log());
    order(&circusd, "reload", json!({"name": "web", "waiting": true}));
    let new = circusd.wait_for_pids("web", 1);
    assert_eq!(words(new[0], "cmdline"), b"sleep\x002000\0");
    let reports = circusd.log().matches("have changed since").count();
    let circusd = again(&env, circusd, true, &changed);
    assert_eq!(circusd.wait_for_pids("web", 1), new);
    assert_eq!(circusd.log().matches("have changed since").count(), reports, "it is rolled out");
}

#[test]
fn work_that_is_done_is_not_done_again() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let done = env.path("done");
    let job = format!(
        "[watcher:job]\ncmd = sh -c 'echo x >> {}'\nrespawn = False\nuse_papa = True\n",
        done.display()
    );
    let sections =
        job + &format!("[watcher:web]\ncmd = {}\nuse_papa = True\n", fixture("lines 10"));
    let circusd = env.start(&sections);
    circusd.wait_for_pids("web", 1);
    circusd.wait_for_status("job", "stopped");
    circusd.wait_until("the job has run", || done.exists().then_some(()));
    let circusd = again(&env, circusd, true, &sections);
    circusd.wait_for_pids("web", 1);
    circusd.wait_for_status("job", "stopped");
    assert_eq!(std::fs::read_to_string(&done).expect("it has run"), "x\n");
}
