//! What the other tests rely on.

use circus_e2e::program::fixture;
use circus_e2e::{TestEnv, process};

#[test]
fn nothing_is_left_of_a_test() {
    let env = TestEnv::new();
    let sections = format!(
        "[watcher:stubborn]\ncmd = {}\n[watcher:leaky]\ncmd = {}\nrespawn = False\n",
        fixture("ignore-term"),
        fixture("leak-grandchild")
    );
    let circusd = env.start(&sections);
    let stubborn = circusd.wait_for_pids("stubborn", 1)[0];
    let orphan = circusd.wait_until("the other worker has left a process behind", || {
        let log = circusd.log();
        let (_, rest) = log.split_once("leaked ")?;
        rest.split_once('\n')?.0.parse().ok()
    });
    assert!(process::is_alive(stubborn) && process::is_alive(orphan));
    let id = env.id().to_owned();
    drop(circusd);
    drop(env);
    assert_eq!(process::marked(&id), [0; 0]);
    assert!(!process::is_alive(stubborn) && !process::is_alive(orphan));
}

#[test]
fn events_are_seen_from_the_moment_of_the_subscription() {
    let env = TestEnv::new();
    let circusd = env.start("[watcher:sleeper]\ncmd = sleep 1000\n");
    circusd.wait_for_pids("sleeper", 1);
    let events = circusd.subscribe();
    circusd.ok("incr", serde_json::json!({"name": "sleeper", "waiting": true}));
    let pid = events.wait_for("watcher.sleeper.spawn")["process_pid"].clone();
    let pids = circusd.wait_for_pids("sleeper", 2);
    assert_eq!(pid, pids[1]);
}
