//! Commands that change a running stack: reload, set, add, rm, kill, and an on-demand watcher.

use crate::workers::{first_answer, give_up_patience, start_on_demand, start_stubborn};
use circus_e2e::TestEnv;
use serde_json::{Value, json};

#[test]
fn a_graceful_reload_overlaps_and_tells_what_changed() {
    let env = TestEnv::new();
    let circusd = env.start("[watcher:w]\ncmd = sleep 1000\nnumprocesses = 2\n");
    let old = circusd.wait_for_pids("w", 2);
    let events = circusd.subscribe();
    let reply = circusd.ok("reload", json!({"name": "w", "waiting": true}));
    let new = circusd.wait_for_pids("w", 2);
    let mut sorted = old.clone();
    sorted.sort_unstable();
    assert_eq!(reply["info"]["stopped"], json!(sorted));
    assert!(new.iter().all(|pid| !old.contains(pid)), "{old:?} {new:?}");
    let (first, _) = events.next_event();
    assert_eq!(first, "watcher.w.spawn", "the new ones come before the old ones go");
    events.wait_for("watcher.w.reload");
}

#[test]
fn a_new_command_is_rolled_out_and_a_wrong_one_leaves_the_old_processes() {
    let env = TestEnv::new();
    let circusd = env.start("[watcher:w]\ncmd = sleep 1000\n");
    let old = circusd.wait_for_pids("w", 1);
    let properties = json!({"name": "w", "options": {"cmd": "sleep 2000"}, "waiting": true});
    circusd.ok("set", properties);
    let new = circusd.wait_for_pids("w", 1);
    assert_ne!(old, new);
    let properties = json!({"name": "w", "options": {"cmd": "/nowhere"}, "waiting": true});
    circusd.ok("set", properties);
    assert_eq!(circusd.pids("w"), new);
    let status = circusd.call("status", json!({"name": "w"}));
    assert_eq!(status["status"], "active");
}

#[test]
fn options_are_set_all_or_none() {
    let env = TestEnv::new();
    let circusd = env.start("[watcher:w]\ncmd = sleep 1000\nsingleton = true\n");
    circusd.wait_for_pids("w", 1);
    let options = json!({"graceful_timeout": 7, "numprocesses": 2});
    let reply = circusd.call("set", json!({"name": "w", "options": options}));
    assert_eq!(reply["reason"], "Singleton watcher has a single process");
    let shown = circusd.ok("get", json!({"name": "w", "keys": ["graceful_timeout"]}));
    assert_eq!(shown["options"]["graceful_timeout"], 30.0);
}

#[test]
fn a_watcher_is_added_started_and_removed() {
    let env = TestEnv::new();
    let circusd = env.start("[watcher:w]\ncmd = sleep 1000\n");
    let add = json!({"name": "Extra", "cmd": "sleep", "args": ["1000"], "start": true,
        "options": {"numprocesses": 2}, "waiting": true});
    let reply = circusd.ok("add", add.clone());
    assert_eq!(reply["started"].as_array().map(Vec::len), Some(2), "{reply}");
    assert_eq!(circusd.call("add", add)["reason"], "'Extra' already exist");
    let events = circusd.subscribe();
    circusd.ok("rm", json!({"name": "extra", "waiting": true}));
    events.wait_for("watcher.extra.remove");
    events.wait_for("watcher.extra.stop");
    assert_eq!(circusd.ok("list", json!({}))["watchers"], json!(["w"]));
}

#[test]
fn who_asks_for_a_change_and_at_once_what_there_is_sees_the_change() {
    const TIMES: usize = 50;
    let env = TestEnv::new();
    let circusd = env.start("[watcher:w]\ncmd = sleep 1000\n");
    circusd.wait_for_pids("w", 1);
    let client = circusd.client();
    let ask = |id: usize, command: &str, properties: Value| {
        let request = json!({"id": id, "command": command, "properties": properties});
        client.send(&request.to_string(), 0).unwrap();
    };
    for time in 0..TIMES {
        let name = format!("extra{time}");
        ask(0, "add", json!({"name": name, "cmd": "sleep 1000"}));
        ask(2, "numwatchers", json!({}));
        ask(0, "rm", json!({"name": name}));
        ask(1, "numwatchers", json!({}));
    }
    let replies = (0..TIMES * 4).map(|_| client.recv_bytes(0).unwrap());
    let replies = replies.map(|reply| serde_json::from_slice::<Value>(&reply).unwrap());
    for reply in replies {
        assert_eq!(reply["status"], "ok", "{reply}");
        if let Some(count) = reply.get("numwatchers") {
            assert_eq!(*count, reply["id"]);
        }
    }
}

#[test]
fn a_watcher_is_added_while_the_others_are_being_started() {
    let env = TestEnv::new();
    let circusd = env.start("[watcher:slow]\ncmd = sleep 1000\nwarmup_delay = 1000\n");
    circusd.wait_for_status("slow", "starting");
    let refused = circusd.call("incr", json!({"name": "slow"}));
    assert_eq!(refused["reason"], "arbiter is already running arbiter_start_watchers command");
    let add = json!({"name": "new", "cmd": "sleep 1000", "start": true, "waiting": true});
    circusd.ok("add", add);
    circusd.wait_for_pids("new", 1);
}

#[test]
fn a_removed_watcher_can_leave_its_processes_running() {
    let env = TestEnv::new();
    let circusd = env.start("[watcher:w]\ncmd = sleep 1000\n");
    let pid = circusd.wait_for_pids("w", 1)[0];
    circusd.ok("rm", json!({"name": "w", "nostop": true, "waiting": true}));
    assert_eq!(circusd.ok("list", json!({}))["watchers"], json!([]));
    assert!(circus_e2e::process::is_alive(pid));
}

#[test]
fn kill_insists_after_its_own_timeout_and_the_process_is_replaced() {
    let env = TestEnv::new();
    let (circusd, pid) = start_stubborn(&env);
    let events = circusd.subscribe();
    circusd.ok("kill", json!({"name": "w", "graceful_timeout": "0", "waiting": true}));
    let reap = events.wait_for("watcher.w.reap");
    assert_eq!((&reap["process_pid"], &reap["exit_code"]), (&json!(pid), &json!(-9)));
    assert_ne!(events.wait_for("watcher.w.spawn")["process_pid"], pid);
    give_up_patience(&circusd);
}

#[test]
fn an_on_demand_watcher_starts_with_the_first_connection() {
    let env = TestEnv::new();
    let (circusd, port) = start_on_demand(&env, 1);
    assert!(!first_answer(port).is_empty());
    circusd.wait_for_status("w", "active");
}
