//! Watchers over their life: slots, numbers, order, and what happens without a command. The names in the
//! comments are cases of `tests/golden/behaviours.jsonl`.

use crate::workers::{first_answer, give_up_patience, start_on_demand, start_stubborn};
use circus_e2e::{Daemon, TestEnv, process::Handle};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;

/// Pids by slot.
fn slots(circusd: &Daemon, watcher: &str) -> BTreeMap<i64, String> {
    let stats = circusd.ok("stats", json!({"name": watcher}));
    let info = stats["info"].as_object().expect("processes").iter();
    info.map(|(pid, info)| (info["wid"].as_i64().expect("a slot"), pid.clone())).collect()
}

fn statuses(circusd: &Daemon) -> Value {
    circusd.ok("status", json!({}))["statuses"].clone()
}

/// `respawn_after_kill9`
#[test]
fn a_replacement_gets_the_slot_of_the_dead() {
    let env = TestEnv::new();
    let circusd = env.start("[watcher:w]\ncmd = sleep 1000\nnumprocesses = 3\n");
    let pids = circusd.wait_for_pids("w", 3);
    let before = slots(&circusd, "w");
    let events = circusd.subscribe();
    Handle::open(pids[1]).expect("it runs").kill();
    assert_eq!(events.wait_for("watcher.w.reap")["exit_code"], -9);
    let new = events.wait_for("watcher.w.spawn")["process_pid"].to_string();
    circusd.wait_for_pids("w", 3);
    let mut expected = before;
    expected.insert(2, new);
    assert_eq!(slots(&circusd, "w"), expected);
}

/// `decr_kills_oldest`, `wid_reuse_after_decr`
#[test]
fn the_oldest_go_first_and_the_lowest_free_slots_are_filled() {
    let env = TestEnv::new();
    let circusd = env.start("[watcher:w]\ncmd = sleep 1000\nnumprocesses = 4\n");
    let pids = circusd.wait_for_pids("w", 4);
    circusd.ok("decr", json!({"name": "w", "nb": 2, "waiting": true}));
    assert_eq!(circusd.pids("w"), pids[2..]);
    assert_eq!(slots(&circusd, "w").into_keys().collect::<Vec<_>>(), [3, 4]);
    circusd.ok("incr", json!({"name": "w", "nb": 3, "waiting": true}));
    circusd.wait_for_pids("w", 5);
    assert_eq!(slots(&circusd, "w").into_keys().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

/// `reload_graceful`
#[test]
fn a_reload_uses_the_next_slots_and_the_one_after_it_the_first_again() {
    let env = TestEnv::new();
    let circusd = env.start("[watcher:w]\ncmd = sleep 1000\nnumprocesses = 3\n");
    circusd.wait_for_pids("w", 3);
    for expected in [[4, 5, 6], [1, 2, 3]] {
        circusd.ok("reload", json!({"name": "w", "waiting": true}));
        assert_eq!(slots(&circusd, "w").into_keys().collect::<Vec<_>>(), expected);
    }
}

/// `reload_overlap_with_slow_stop`
#[test]
fn both_generations_run_while_the_old_one_takes_its_time() {
    let env = TestEnv::new();
    let (circusd, old) = start_stubborn(&env);
    let events = circusd.subscribe();
    circusd.ok("reload", json!({"name": "w"}));
    events.wait_for("watcher.w.kill");
    let pids = circusd.pids("w");
    assert!(pids.len() == 2 && pids.contains(&old), "{pids:?}");
    let refused = circusd.call("incr", json!({"name": "w"}));
    assert_eq!(refused["reason"], "arbiter is already running watcher_reload command");
    Handle::open(old).expect("it runs").kill();
    events.wait_for("watcher.w.reload");
    give_up_patience(&circusd);
}

/// `priority_order`
#[test]
fn watchers_start_from_the_biggest_priority_down() {
    let env = TestEnv::new();
    let section =
        |name: &str, priority: &str| format!("[watcher:{name}]\ncmd = sleep 1000\n{priority}\n");
    let circusd = env.start(
        &[
            section("low", "priority = 1"),
            section("high", "priority = 20"),
            section("mid_b", "priority = 5"),
            section("mid_a", "priority = 5"),
            section("none", ""),
        ]
        .concat(),
    );
    let order = ["high", "mid_a", "mid_b", "low", "none"];
    circusd.wait_for_pids("none", 1);
    let events = circusd.subscribe();
    circusd.ok("stop", json!({"waiting": true}));
    circusd.ok("start", json!({"waiting": true}));
    circusd.ok("reload", json!({"waiting": true}));
    for kind in ["start", "reload"] {
        let mut seen = Vec::new();
        while seen.len() < order.len() {
            let (topic, _) = events.next_event();
            let parts: Vec<&str> = topic.split('.').collect();
            if parts[2] == kind {
                seen.push(parts[1].to_owned());
            }
        }
        assert_eq!(seen, order, "{kind}");
    }
}

/// `match_modes`, and what a restart of several does to those without autostart.
#[test]
fn patterns_choose_watchers() {
    let env = TestEnv::new();
    let circusd = env.start(
        "[watcher:web1]\ncmd = sleep 1000\n[watcher:Web2]\ncmd = sleep 1000\n\
         [watcher:api]\ncmd = sleep 1000\n[watcher:web3]\ncmd = sleep 1000\nautostart = no\n",
    );
    circusd.wait_for_pids("web1", 1);
    let go = |command: &str, name: &str, method: &str| {
        circusd.call(command, json!({"name": name, "match": method, "waiting": true}))
    };
    go("stop", "WEB*", "glob");
    assert_eq!(
        statuses(&circusd),
        json!({"web1": "stopped", "Web2": "stopped", "api": "active", "web3": "stopped"})
    );
    go("start", "web?", "glob");
    go("stop", "^w.*2", "regex");
    assert_eq!(
        statuses(&circusd),
        json!({"web1": "active", "Web2": "stopped", "api": "active", "web3": "stopped"})
    );
    go("start", "w", "regex");
    assert_eq!(statuses(&circusd)["Web2"], "active");
    assert_eq!(go("stop", "web*", "simple")["reason"], "program web* not found");
    assert_eq!(go("stop", "zzz*", "glob")["reason"], "program zzz* not found");
    assert_eq!(go("stop", "w", "bogus")["reason"], "unknown match method bogus");
    assert_eq!(go("stop", "[", "regex")["status"], "error");
    // One match starts it whatever autostart says; those that ran start again.
    go("start", "web3", "glob");
    go("restart", "web[13]", "glob");
    assert_eq!(statuses(&circusd)["web3"], "active");
}

#[test]
fn a_watcher_is_found_under_the_name_in_its_topics() {
    let env = TestEnv::new();
    let circusd = env.start(
        "[watcher:My App]\ncmd = sleep 1000\n[watcher:a_b]\ncmd = sleep 1000\n\
                             [watcher:a b]\ncmd = sleep 1000\nautostart = no\n",
    );
    circusd.wait_for_pids("my_app", 1);
    // The very name wins.
    circusd.wait_for_pids("a_b", 1);
    circusd.ok("stop", json!({"name": "my_app", "waiting": true}));
    assert_eq!(statuses(&circusd), json!({"My App": "stopped", "a_b": "active", "a b": "stopped"}));
    circusd.ok("add", json!({"name": "my_app", "cmd": "sleep 1000"}));
    assert_eq!(
        circusd.call("stop", json!({"name": "no_app"}))["reason"],
        "program no_app not found"
    );
}

/// `max_retry_minus_one_hangs`, `max_retry_zero`, `max_retry_command_not_found`
#[test]
fn a_command_that_cannot_run_keeps_nothing_else_from_running() {
    let env = TestEnv::new();
    let circusd = env.start(
        "[watcher:ever]\ncmd = /nowhere/x\nmax_retry = -1\npriority = 9\n\
         [watcher:never]\ncmd = sleep 1000\nmax_retry = 0\npriority = 8\n\
         [watcher:thrice]\ncmd = /nowhere/y\nmax_retry = 3\npriority = 7\n\
         [watcher:good]\ncmd = sleep 1000\n",
    );
    circusd.wait_for_pids("good", 1);
    assert_eq!(
        statuses(&circusd),
        json!({"ever": "active", "never": "stopped", "thrice": "stopped", "good": "active"})
    );
    let told = |text: &str| circusd.log().matches(text).count();
    assert_eq!(told("error in 'never'"), 0);
    // docs/differences.md, "Watchers and processes": the reason is told once for all attempts.
    assert_eq!(told("error in 'thrice'"), 1);
    assert_eq!(told("'thrice' could not be started in 3 attempts"), 1);
    circusd.ok_when_idle("start", &json!({"name": "thrice", "waiting": true}));
    assert_eq!(told("error in 'thrice'"), 2, "whoever starts it again is told again");
    let mut attempts = BTreeSet::new();
    circusd.wait_until("it is tried again and again", || {
        let why = circusd.ok("why", json!({"name": "ever"}));
        attempts.insert(why["last_error"]["time"].to_string());
        (attempts.len() > 3).then_some(())
    });
    assert_eq!(told("error in 'ever'"), 1);
    let script = "#!/bin/sh\nexec sleep 1000\n";
    std::fs::write(env.path("x"), script).expect("written");
    std::fs::set_permissions(env.path("x"), PermissionsExt::from_mode(0o755)).expect("ours");
    // Another reason, and then none.
    let set = |cmd: &str| {
        circusd.ok_when_idle("set", &json!({"name": "ever", "options": {"cmd": cmd}}));
    };
    set("/nowhere/z");
    circusd.wait_for_log("/nowhere/z");
    set(&env.path("x").display().to_string());
    circusd.wait_for_pids("ever", 1);
    circusd.wait_for_log("'ever' can be started again, after ");
    assert_eq!(told("error in 'ever'"), 2);
    assert!(circusd.terminate().success());
}

/// `no_periodic_check`, `check_delay_zero`
#[test]
fn without_checks_nothing_is_replaced() {
    let env = TestEnv::new().circus("check_delay = 0");
    let circusd = env.start(
        "[watcher:two]\ncmd = sleep 1000\nnumprocesses = 2\n[watcher:one]\ncmd = sleep 1000\n",
    );
    let pids = circusd.wait_for_pids("two", 2);
    let one = circusd.wait_for_pids("one", 1)[0];
    let events = circusd.subscribe();
    for pid in [pids[0], one] {
        Handle::open(pid).expect("it runs").kill();
    }
    events.wait_for("watcher.one.stop");
    circusd.wait_until("the dead process is out of the list", || {
        (circusd.pids("two") == pids[1..]).then_some(())
    });
    assert_eq!(statuses(&circusd), json!({"one": "stopped", "two": "active"}));
    circusd.ok("start", json!({"name": "two", "waiting": true}));
    circusd.wait_for_pids("two", 2);
}

/// `numprocesses_zero`
#[test]
fn a_watcher_without_processes_is_stopped_until_it_is_started() {
    let env = TestEnv::new();
    let circusd = env.start(
        "[watcher:a]\ncmd = sleep 1000\nnumprocesses = 0\n[watcher:n]\ncmd = sleep 1000\n\
         numprocesses = -2\n[watcher:s]\ncmd = sleep 1000\nnumprocesses = 0\nsingleton = true\n\
         [watcher:z]\ncmd = sleep 1000\n",
    );
    circusd.wait_for_pids("z", 1);
    let reply = circusd.ok("incr", json!({"name": "a", "nb": 2, "waiting": true}));
    assert_eq!(reply["numprocesses"], 2);
    let stopped = json!({"a": "stopped", "n": "stopped", "s": "stopped", "z": "active"});
    assert_eq!(statuses(&circusd), stopped);
    let reply = circusd.ok("start", json!({"name": "a", "waiting": true}));
    assert_eq!(reply["info"]["started"].as_array().map(Vec::len), Some(2));
}

/// `on_demand_survivor_after_quit`
#[test]
fn an_on_demand_watcher_is_active_until_its_last_process_ends_and_stop_reaches_all() {
    let env = TestEnv::new();
    let (circusd, port) = start_on_demand(&env, 2);
    first_answer(port);
    let pids = circusd.wait_for_pids("w", 2);
    let events = circusd.subscribe();
    Handle::open(pids[0]).expect("it runs").kill();
    events.wait_for("watcher.w.reap");
    assert_eq!(statuses(&circusd), json!({"w": "active"}));
    circusd.ok("stop", json!({"name": "w", "waiting": true}));
    assert!(!circus_e2e::process::is_alive(pids[1]));
}

/// `restart_all_rereads_config`
#[test]
fn a_restart_of_everything_reads_the_file_again() {
    let env = TestEnv::new();
    let sections = "[watcher:a]\ncmd = sleep 1000\n[watcher:b]\ncmd = sleep 1000\n\
                    [watcher:off]\ncmd = sleep 1000\nautostart = no\n";
    let circusd = env.start(sections);
    let (a, b) = (circusd.wait_for_pids("a", 1), circusd.wait_for_pids("b", 1));
    circusd.ok("start", json!({"name": "off", "waiting": true}));
    env.write_ini(&sections.replace("[watcher:b]", "nonsense\n[watcher:b]"));
    let refused = circusd.call("restart", json!({"waiting": true}));
    assert_eq!(refused["status"], "error", "{refused}");
    assert_eq!((circusd.pids("a"), circusd.pids("b")), (a.clone(), b.clone()));
    env.write_ini(&format!(
        "{}[watcher:new]\ncmd = sleep 1000\n",
        sections.replace("b]\ncmd = sleep 1000", "b]\ncmd = sleep 2000")
    ));
    circusd.ok("restart", json!({"waiting": true}));
    let expected = json!({"a": "active", "b": "active", "new": "active", "off": "stopped"});
    assert_eq!(statuses(&circusd), expected);
    assert!(circusd.pids("a") != a && circusd.pids("b") != b);
    let options = circusd.ok("get", json!({"name": "b", "keys": ["cmd"]}));
    assert_eq!(options["options"]["cmd"], "sleep 2000");
}
