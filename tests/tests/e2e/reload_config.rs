//! `reloadconfig`: what restarts and what does not. `docs/reloadconfig.md` is the table; the cases of
//! `behaviours.jsonl` are named where they are covered.

use circus_e2e::env::free_port;
use circus_e2e::program::fixture;
use circus_e2e::{Daemon, TestEnv, process};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const TWO: &str = "[watcher:a]\ncmd = sleep 1000\n[watcher:b]\ncmd = sleep 1000\n";

/// Replaces the file and reloads it, after what is under way has ended.
fn reload(env: &TestEnv, circusd: &Daemon, sections: &str) -> Value {
    env.write_ini(sections);
    when_idle(circusd, "reloadconfig", json!({"waiting": true}))
}

/// A command that is refused while another one, such as the start of all watchers, is under way.
fn when_idle(circusd: &Daemon, command: &str, properties: Value) -> Value {
    circusd.wait_until(&format!("{command} is not refused"), || {
        let reply = circusd.call(command, properties.clone());
        (reply["errno"] != 5).then_some(reply)
    })
}

fn reloaded(env: &TestEnv, circusd: &Daemon, sections: &str) {
    let reply = reload(env, circusd, sections);
    assert_eq!(reply["status"], "ok", "{reply}\n{}", circusd.log());
}

fn refused(env: &TestEnv, circusd: &Daemon, sections: &str) -> String {
    let reply = reload(env, circusd, sections);
    assert_eq!((&reply["status"], &reply["errno"]), (&json!("error"), &json!(6)), "{reply}");
    reply["reason"].as_str().expect("a reason").to_owned()
}

fn statuses(circusd: &Daemon) -> Value {
    circusd.ok("status", json!({}))["statuses"].clone()
}

fn get(port: u16) -> Option<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// rc_add_watcher, rc_cmd_changed, and the session events/reloadconfig-changed.
#[test]
fn watchers_are_added_changed_and_removed_and_the_rest_is_left_alone() {
    let env = TestEnv::new();
    let circusd = env.start(&format!("{TWO}[watcher:c]\ncmd = sleep 1000\n"));
    let (a, b) = (circusd.wait_for_pids("a", 1), circusd.wait_for_pids("b", 1));
    circusd.wait_for_pids("c", 1);
    let events = circusd.subscribe();
    reloaded(
        &env,
        &circusd,
        "[watcher:a]\ncmd = sleep 2000\n[watcher:b]\ncmd = sleep 1000\n[watcher:New One]\n\
         cmd = sleep 1000\nnumprocesses = 2\n[watcher:off]\ncmd = sleep 1000\nautostart = false\n",
    );
    let expected = json!({"a": "active", "b": "active", "New One": "active", "off": "stopped"});
    assert_eq!(statuses(&circusd), expected);
    assert_eq!(circusd.pids("b"), b);
    assert_ne!(circusd.pids("a"), a);
    assert_eq!(circusd.pids("new one").len(), 2);
    let mut seen = Vec::new();
    while seen.len() < 11 {
        seen.push(events.next_event().0);
    }
    let of = |name: &str| -> Vec<&str> {
        let prefix = format!("watcher.{name}.");
        seen.iter().filter_map(|topic| topic.strip_prefix(prefix.as_str())).collect()
    };
    assert_eq!(of("a"), ["kill", "reap", "stop", "spawn", "start"]);
    assert_eq!(of("c"), ["kill", "reap", "stop"]);
    assert_eq!(of("new_one"), ["spawn", "spawn", "start"]);
    reloaded(&env, &circusd, TWO);
    assert_eq!(statuses(&circusd), json!({"a": "active", "b": "active"}));
    assert_eq!(circusd.pids("b"), b);
}

/// rc_numprocesses_up, rc_numprocesses_down and rc_numprocesses_key_added.
#[test]
fn a_changed_number_keeps_the_pids_and_any_other_key_does_not() {
    let env = TestEnv::new();
    let ini = |more: &str| format!("[watcher:a]\ncmd = sleep 1000\n{more}\n");
    let circusd = env.start(&ini(""));
    let one = circusd.wait_for_pids("a", 1);
    reloaded(&env, &circusd, &ini("numprocesses = 3"));
    let three = circusd.wait_for_pids("a", 3);
    assert_eq!(three[0], one[0]);
    reloaded(&env, &circusd, &ini("numprocesses = 1"));
    assert_eq!(circusd.wait_for_pids("a", 1), three[2..], "the oldest go");
    reloaded(&env, &circusd, &ini("numprocesses = 1\nmax_retry = 9"));
    assert_ne!(circusd.wait_for_pids("a", 1), three[2..]);
}

/// rc_twice_numprocesses: what was applied is what the next reload compares with.
#[test]
fn the_number_follows_the_file_only_when_the_file_changes_it() {
    let env = TestEnv::new();
    let ini = |number: u32| format!("[watcher:a]\ncmd = sleep 1000\nnumprocesses = {number}\n");
    let circusd = env.start(&ini(1));
    circusd.wait_for_pids("a", 1);
    reloaded(&env, &circusd, &ini(3));
    circusd.wait_for_pids("a", 3);
    circusd.ok("decr", json!({"name": "a", "waiting": true}));
    reloaded(&env, &circusd, &ini(3));
    circusd.wait_for_pids("a", 2);
    reloaded(&env, &circusd, &ini(1));
    circusd.wait_for_pids("a", 1);
}

/// rc_free_key_added_or_removed_ignored: here they are noticed.
#[test]
fn keys_without_a_default_are_noticed_when_they_come_and_go() {
    let env = TestEnv::new();
    let ini = |a: &str, c: &str| {
        format!("[watcher:a]\ncmd = sleep 1000\n{a}\n[watcher:c]\ncmd = sleep 1000\n{c}\n")
    };
    let circusd = env.start(&ini("old = 1", ""));
    let (a, c) = (circusd.wait_for_pids("a", 1), circusd.wait_for_pids("c", 1));
    reloaded(&env, &circusd, &ini("", "max_age = 1000\nclose_child_stdout = true"));
    assert_ne!(circusd.wait_for_pids("a", 1), a);
    assert_ne!(circusd.wait_for_pids("c", 1), c);
    let options = circusd.ok("get", json!({"name": "c", "keys": ["max_age"]}));
    assert_eq!(options["options"]["max_age"], 1000);
}

/// rc_runtime_changes, and the session reloadconfig/removed-comes-back.
#[test]
fn run_time_changes_stay_while_the_file_says_the_same() {
    let env = TestEnv::new();
    let circusd = env.start(&format!("{TWO}[watcher:c]\ncmd = sleep 1000\n"));
    circusd.wait_for_pids("c", 1);
    when_idle(&circusd, "incr", json!({"name": "a", "nb": 2, "waiting": true}));
    circusd.ok("set", json!({"name": "a", "options": {"max_retry": 7}, "waiting": true}));
    circusd.ok("add", json!({"name": "dyn", "cmd": "sleep 1000", "start": true, "waiting": true}));
    circusd.ok("stop", json!({"name": "b", "waiting": true}));
    circusd.ok("rm", json!({"name": "c", "waiting": true}));
    let pids = circusd.pids("a");
    reloaded(&env, &circusd, &format!("{TWO}[watcher:c]\ncmd = sleep 1000\n"));
    assert_eq!(statuses(&circusd), json!({"a": "active", "b": "stopped", "c": "active"}));
    assert_eq!((circusd.pids("a"), pids.len()), (pids, 3));
    let options = circusd.ok("get", json!({"name": "a", "keys": ["max_retry"]}));
    assert_eq!(options["options"]["max_retry"], 7);
}

/// rc_broken_file, and the sessions reloadconfig/file-missing and bad-file. Unlike there the reply says what
/// is wrong, also without `waiting`.
#[test]
fn a_broken_file_changes_nothing_and_the_reply_says_where() {
    let env = TestEnv::new();
    let circusd = env.start(TWO);
    let pids = (circusd.wait_for_pids("a", 1), circusd.wait_for_pids("b", 1));
    let reason = refused(&env, &circusd, "[watcher:a]\ncmd = sleep 2000\nnonsense line\n");
    assert!(
        reason.starts_with("nothing was changed: ") && reason.contains("circus.ini:"),
        "{reason}"
    );
    let reply = circusd.call("reloadconfig", json!({}));
    assert_eq!(reply["reason"], reason);
    std::fs::remove_file(env.path("circus.ini")).expect("it is there");
    let reply = circusd.call("reloadconfig", json!({"plan": true}));
    assert_eq!(reply["errno"], 6, "{reply}");
    assert_eq!((circusd.pids("a"), circusd.pids("b")), pids);
}

/// rc_broken_watcher: here everything is checked before anything is stopped.
#[test]
fn a_watcher_that_cannot_be_made_leaves_all_as_they_are() {
    let env = TestEnv::new();
    let circusd = env.start(TWO);
    let pids = (circusd.wait_for_pids("a", 1), circusd.wait_for_pids("b", 1));
    let bad = "singleton = true\nnumprocesses = 2\n";
    let rest = "[watcher:b]\ncmd = sleep 2000\n[watcher:c]\ncmd = sleep 1000\n";
    let reason = refused(&env, &circusd, &format!("[watcher:a]\ncmd = sleep 1000\n{bad}{rest}"));
    assert!(reason.contains("[watcher:a] numprocesses"), "{reason}");
    let bad = "stdout_stream.filename = /no/such/directory/a.log\n";
    let reason = refused(&env, &circusd, &format!("[watcher:a]\ncmd = sleep 1000\n{bad}{rest}"));
    assert!(reason.contains("failed to create watcher a"), "{reason}");
    assert_eq!(statuses(&circusd), json!({"a": "active", "b": "active"}));
    assert_eq!((circusd.pids("a"), circusd.pids("b")), pids);
    reloaded(&env, &circusd, &format!("[watcher:a]\ncmd = sleep 1000\n{rest}"));
    assert_eq!(circusd.pids("a"), pids.0);
    assert_ne!(circusd.pids("b"), pids.1);
}

/// rc_circus_section_changed and rc_endpoint_changed: here no watcher restarts, what can be applied is, and
/// the rest is told.
#[test]
fn a_changed_circus_section_is_applied_or_told_and_restarts_nothing() {
    let env = TestEnv::new();
    let circusd = env.start(TWO);
    let pids = (circusd.wait_for_pids("a", 1), circusd.wait_for_pids("b", 1));
    let ini = std::fs::read_to_string(env.path("circus.ini")).expect("it is there");
    let changed = ini
        .replace("[circus]\n", "[circus]\ncheck_delay = 0.7\n")
        .replace(&env.pubsub_endpoint(), "ipc:///nowhere/pubsub");
    std::fs::write(env.path("circus.ini"), format!("{changed}[watcher:new]\ncmd = sleep 1000\n"))
        .expect("writable");
    for _ in 0..2 {
        let reply = when_idle(&circusd, "reloadconfig", json!({"waiting": true}));
        assert_eq!(reply["needs_restart"], json!(["pubsub_endpoint"]));
        let options = circusd.ok("globaloptions", json!({}))["options"].clone();
        assert_eq!(options["check_delay"], 0.7);
        assert_eq!(options["pubsub_endpoint"], env.pubsub_endpoint());
        assert_eq!((circusd.pids("a"), circusd.pids("b")), pids);
        circusd.wait_for_pids("new", 1);
    }
    assert!(circusd.log().contains("[circus] pubsub_endpoint has changed"), "{}", circusd.log());
}

/// rc_socket_added, rc_socket_changed_unused, rc_socket_removed_unused; and the session
/// reloadconfig/sockets-back, where the port cannot be had again since a worker got all sockets.
#[test]
fn sockets_come_and_go_while_others_stay_open() {
    let env = TestEnv::new();
    let (kept, first, second) = (free_port(), free_port(), free_port());
    let serve = fixture("serve-fd");
    let ini = |sockets: &str| {
        format!(
            "[socket:kept]\nhost = 127.0.0.1\nport = {kept}\n{sockets}\
             [watcher:user]\ncmd = {serve} $(circus.sockets.kept)\nuse_sockets = true\n"
        )
    };
    let socket = |port: u16| format!("[socket:web]\nhost = 127.0.0.1\nport = {port}\n");
    let path = env.path("x.sock");
    let unix = format!("[socket:x]\npath = {}\n", path.display());
    let circusd = env.start(&ini(&format!("{}{unix}", socket(first))));
    let pid = circusd.wait_for_pids("user", 1);
    assert!(get(kept).is_some() && path.exists());
    let fd_of_kept = || {
        let sockets = circusd.ok("listsockets", json!({}))["sockets"].clone();
        let all = sockets.as_array().expect("a list").clone();
        all.into_iter().find(|socket| socket["name"] == "kept").map(|socket| socket["fd"].clone())
    };
    let before = fd_of_kept();
    reloaded(&env, &circusd, &ini(&socket(second)));
    assert!(TcpStream::connect(("127.0.0.1", first)).is_err() && !path.exists());
    TcpStream::connect(("127.0.0.1", second)).expect("it is open");
    reloaded(&env, &circusd, &ini(&socket(first)));
    TcpStream::connect(("127.0.0.1", first)).expect("it is open again");
    reloaded(&env, &circusd, &ini(""));
    assert!(TcpStream::connect(("127.0.0.1", first)).is_err());
    assert_eq!(circusd.pids("user"), pid);
    assert_eq!(fd_of_kept(), before);
    assert!(get(kept).is_some());
}

/// rc_socket_changed_used_in_cmd and rc_socket_changed_used_in_args: here the watchers that use it restart.
#[test]
fn a_changed_socket_restarts_the_watchers_that_use_it_and_no_other() {
    let env = TestEnv::new();
    let (old, new, other) = (free_port(), free_port(), free_port());
    let serve = fixture("serve-fd");
    let ini = |port: u16| {
        format!(
            "[socket:web]\nhost = 127.0.0.1\nport = {port}\n\
             [socket:other]\nhost = 127.0.0.1\nport = {other}\n\
             [watcher:cmd]\ncmd = {serve} $(circus.sockets.web)\nuse_sockets = true\n\
             [watcher:args]\ncmd = {serve}\nargs = $(circus.sockets.web)\nautostart = false\n\
             [watcher:other]\ncmd = {serve} $(circus.sockets.other)\nuse_sockets = true\n"
        )
    };
    let circusd = env.start(&ini(old));
    let untouched = circusd.wait_for_pids("other", 1);
    when_idle(&circusd, "start", json!({"name": "args", "waiting": true}));
    let before = (circusd.wait_for_pids("cmd", 1), circusd.wait_for_pids("args", 1));
    reloaded(&env, &circusd, &ini(new));
    let after = (circusd.wait_for_pids("cmd", 1), circusd.wait_for_pids("args", 1));
    assert!(before.0 != after.0 && before.1 != after.1, "{before:?} {after:?}");
    assert_eq!(circusd.pids("other"), untouched);
    assert!(get(new).is_some() && get(old).is_none());
    circusd.ok("stop", json!({"name": "args", "waiting": true}));
    reloaded(&env, &circusd, &ini(old));
    circusd.wait_for_status("args", "stopped");
    assert!(get(old).is_some() && get(other).is_some());
}

/// A port that is taken is found out before anything is stopped.
#[test]
fn a_socket_that_cannot_be_opened_changes_nothing() {
    let env = TestEnv::new();
    let (port, serve) = (free_port(), fixture("serve-fd"));
    let somebody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = somebody.local_addr().expect("bound").port();
    let ini = |port: u16, more: &str| {
        format!(
            "[socket:web]\nhost = 127.0.0.1\nport = {port}\n\
             [watcher:w]\ncmd = {serve} $(circus.sockets.web)\n{more}\n"
        )
    };
    let circusd = env.start(&ini(port, ""));
    let pids = circusd.wait_for_pids("w", 1);
    let reason = refused(&env, &circusd, &ini(taken, "graceful_timeout = 3"));
    assert!(reason.contains("cannot open [socket:web]"), "{reason}");
    assert_eq!(circusd.pids("w"), pids);
    assert!(get(port).is_some());
}

#[test]
fn an_on_demand_watcher_waits_on_the_changed_socket() {
    let env = TestEnv::new();
    let (old, new, serve) = (free_port(), free_port(), fixture("serve-fd"));
    let ini = |port: u16| {
        format!(
            "[socket:s]\nhost = 127.0.0.1\nport = {port}\n\
             [watcher:w]\non_demand = true\ncmd = {serve} $(circus.sockets.s)\n"
        )
    };
    let circusd = env.start(&ini(old));
    circusd.wait_for_status("w", "stopped");
    reloaded(&env, &circusd, &ini(new));
    assert!(TcpStream::connect(("127.0.0.1", old)).is_err());
    assert!(get(new).is_some());
    circusd.wait_for_status("w", "active");
}

#[test]
fn hosted_watchers_and_sockets_reload_like_others() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let (old, new, serve) = (free_port(), free_port(), fixture("serve-fd"));
    let ini = |port: u16, more: &str| {
        format!(
            "[socket:web]\nhost = 127.0.0.1\nport = {port}\nuse_papa = true\n\
             [watcher:web]\ncmd = {serve} $(circus.sockets.web)\nuse_papa = true\n\
             [watcher:same]\ncmd = sleep 1000\nuse_papa = true\n{more}"
        )
    };
    // The first one starts without a kernel; the reload starts it.
    let circusd = env.start("[watcher:plain]\ncmd = sleep 1000\n");
    circusd.wait_for_pids("plain", 1);
    reloaded(&env, &circusd, &ini(old, ""));
    let (web, same) = (circusd.wait_for_pids("web", 1), circusd.wait_for_pids("same", 1));
    assert!(get(old).is_some());
    reloaded(&env, &circusd, &ini(new, ""));
    assert_ne!(circusd.wait_for_pids("web", 1), web);
    assert_eq!(circusd.pids("same"), same);
    assert!(get(new).is_some() && get(old).is_none());
    // What the kernel hosts under the name of a new watcher is adopted.
    assert!(circusd.terminate().success());
    env.write_ini("[watcher:plain]\ncmd = sleep 1000\n");
    let circusd = env.start_again();
    reloaded(&env, &circusd, &ini(new, "numprocesses = 2\n"));
    assert_eq!(circusd.wait_for_pids("same", 2)[0], same[0]);
    reloaded(&env, &circusd, "[watcher:plain]\ncmd = sleep 1000\n");
    assert!(!process::is_alive(same[0]));
    assert!(get(new).is_none());
}

#[test]
fn a_hosted_socket_that_changed_while_nobody_looked_stays_until_the_file_is_read_again() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let (old, new, serve) = (free_port(), free_port(), fixture("serve-fd"));
    let ini = |port: u16| {
        format!(
            "[socket:web]\nhost = 127.0.0.1\nport = {port}\nuse_papa = true\n\
             [watcher:web]\ncmd = {serve} $(circus.sockets.web)\nuse_papa = true\n\
             [watcher:same]\ncmd = sleep 1000\nuse_papa = true\n"
        )
    };
    let circusd = env.start(&ini(old));
    let (web, same) = (circusd.wait_for_pids("web", 1), circusd.wait_for_pids("same", 1));
    assert!(circusd.terminate().success());
    env.write_ini(&ini(new));
    let circusd = env.start_again();
    assert_eq!(circusd.wait_for_pids("web", 1), web);
    assert!(circusd.log().contains("socket `web` exists in papa with other settings"));
    assert!(get(old).is_some() && get(new).is_none());
    let plan = circusd.ok("reloadconfig", json!({"plan": true}));
    assert_eq!(plan["plan"]["sockets"][0]["keys"], json!(["its settings in the kernel"]), "{plan}");
    reloaded(&env, &circusd, &ini(new));
    assert_ne!(circusd.wait_for_pids("web", 1), web);
    assert_eq!(circusd.pids("same"), same);
    assert!(get(new).is_some() && get(old).is_none());
    // Now it is as the file says.
    let web = circusd.pids("web");
    reloaded(&env, &circusd, &ini(new));
    assert_eq!(circusd.pids("web"), web);
}

#[test]
fn the_plan_tells_and_does_nothing() {
    let env = TestEnv::new();
    let circusd = env.start(TWO);
    let pids = (circusd.wait_for_pids("a", 1), circusd.wait_for_pids("b", 1));
    env.write_ini(
        "[watcher:a]\ncmd = sleep 1000\nnumprocesses = 2\n[watcher:c]\ncmd = sleep 1000\n",
    );
    let plan = circusd.ok("reloadconfig", json!({"plan": true}))["plan"].clone();
    let steps: Vec<_> = plan["watchers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|step| (step["name"].as_str(), step["action"].as_str()))
        .collect();
    let expected = [("a", "resize"), ("b", "remove"), ("c", "add")];
    assert_eq!(steps, expected.map(|(name, action)| (Some(name), Some(action))));
    assert_eq!((plan["sockets"].clone(), plan["circus"].clone()), (json!([]), json!([])));
    assert_eq!((circusd.pids("a"), circusd.pids("b")), pids);
    assert_eq!(statuses(&circusd), json!({"a": "active", "b": "active"}));
}

#[test]
fn a_reload_that_is_under_way_answers_and_ends_with_the_daemon() {
    let env = TestEnv::new();
    let stubborn = fixture("ignore-term");
    let circusd = env.start(&format!("{TWO}[watcher:slow]\ncmd = {stubborn}\n"));
    circusd.wait_for_pids("slow", 1);
    env.write_ini("[watcher:a]\ncmd = sleep 1000\n[watcher:new]\ncmd = sleep 1000\n");
    assert_eq!(when_idle(&circusd, "reloadconfig", json!({}))["status"], "ok");
    circusd.wait_for_status("slow", "stopping");
    let reply = circusd.call("incr", json!({"name": "a"}));
    assert_eq!(reply["reason"], "arbiter is already running arbiter_reload_config command");
    let again = circusd.call("reloadconfig", json!({"waiting": true}));
    assert_eq!(again["errno"], 5, "{again}");
    // The first TERM waits for the stubborn process, the second does not.
    circusd.ask_to_end();
    circusd.wait_until("it has got it", || circusd.log().contains("SIG_TERM").then_some(()));
    assert!(circusd.terminate().success());
    assert_eq!(env.processes(), [0; 0]);
}
