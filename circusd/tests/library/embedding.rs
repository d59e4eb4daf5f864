//! Where an arbiter can live, and how it ends.

use crate::{arbiter_in, ask, endpoints_in};
use circus_e2e::process::is_alive;
use circus_e2e::waiting::{self, eventually};
use circusd::{Arbiter, Status, Watcher, block_on};
use serde_json::{Map, json};
use std::path::Path;
use std::time::Duration;

/// A start that works, used by every kind of program.
async fn start(folder: &Path) -> Arbiter {
    let sleepers = Watcher::new("sleeper", "sleep 300").numprocesses(2);
    arbiter_in(folder).watcher(sleepers).start().await.expect("started")
}

/// What every arbiter must be able to do, wherever it lives.
async fn live(folder: &Path) {
    let arbiter = start(folder).await;
    let mut events = arbiter.events();
    let mut actions = Vec::new();
    while actions.last().map(String::as_str) != Some("start") {
        actions.push(events.next().await.expect("it runs").action().to_owned());
    }
    assert_eq!(actions, ["spawn", "spawn", "start"]);
    let seen = arbiter.watcher("sleeper").await.expect("there");
    assert_eq!((seen.status, seen.numprocesses), (Status::Active, 2));
    assert!(seen.pids.len() == 2 && seen.pids.iter().all(|pid| is_alive(*pid)), "{seen:?}");
    arbiter.stop().await.expect("stopped");
    assert!(!seen.pids.iter().any(|pid| is_alive(*pid)));
    assert!(
        std::fs::read_dir(folder).expect("readable").next().is_none(),
        "the endpoints are gone"
    );
    arbiter.stop().await.expect("a second time is the same end");
}

#[tokio::test(flavor = "current_thread")]
async fn an_arbiter_lives_in_a_runtime_with_one_thread() {
    live(tempfile::tempdir().expect("a folder").path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_arbiter_lives_in_a_runtime_with_threads() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    tokio::spawn(async move { live(&path).await }).await.expect("no panic");
}

#[test]
fn an_arbiter_lives_in_a_plain_program() {
    block_on(live(tempfile::tempdir().expect("a folder").path()));
}

#[test]
fn it_serves_clients_while_the_program_is_busy() {
    let folder = tempfile::tempdir().expect("a folder");
    let arbiter = block_on(start(folder.path()));
    // This thread waits in ZeroMQ and for nothing of the arbiter's.
    let reply = ask(arbiter.endpoint(), "incr", &json!({"name": "sleeper", "waiting": true}));
    assert_eq!(reply["numprocesses"], 3);
    let reply = ask(arbiter.endpoint(), "list", &json!({"name": "sleeper"}));
    assert_eq!(reply["pids"].as_array().map(Vec::len), Some(3), "{reply}");
    block_on(arbiter.stop()).expect("stopped");
}

#[test]
fn two_arbiters_live_beside_each_other() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let [one, two] = [0, 1].map(|n: usize| block_on(start(folders[n].path())));
    let pids = |arbiter: &Arbiter| block_on(arbiter.watcher("sleeper")).expect("there").pids;
    assert_eq!(pids(&one).len(), 2);
    let stay = pids(&two);
    block_on(one.stop()).expect("stopped");
    assert_eq!(pids(&two), stay);
    assert!(stay.iter().all(|pid| is_alive(*pid)));
    block_on(two.stop()).expect("stopped");
}

#[test]
fn a_client_can_end_it_and_the_program_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let arbiter = block_on(start(folder.path()));
    let mut events = arbiter.events().from_now_on();
    let reply = ask(arbiter.endpoint(), "quit", &json!({"waiting": true}));
    assert_eq!(reply["status"], "ok");
    block_on(arbiter.ended()).expect("it was told to");
    let mut actions = Vec::new();
    while let Some(event) = block_on(events.next()) {
        actions.push(event.action().to_owned());
    }
    assert_eq!(actions.last().map(String::as_str), Some("stop"), "{actions:?}");
    assert_eq!(events.missed(), 0);
    let refused = block_on(arbiter.command("list", Map::new())).expect_err("ended");
    assert_eq!(refused.to_string(), "the arbiter has ended");
    assert!(block_on(arbiter.watchers()).is_err());
    assert!(block_on(arbiter.add_watcher(Watcher::new("late", "sleep 1"))).is_err());
}

#[test]
fn an_arbiter_that_nobody_holds_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    let arbiter = block_on(start(folder.path()));
    let [commands, _] = endpoints_in(folder.path());
    let pids = ask(&commands, "list", &json!({"name": "sleeper"}))["pids"].clone();
    let pids: Vec<i32> = serde_json::from_value(pids).expect("pids");
    let other = arbiter.clone();
    drop(arbiter);
    assert_eq!(block_on(other.watchers()).map(|all| all.len()), Ok(1), "one still holds it");
    drop(other);
    eventually("its processes end", || (!pids.iter().any(|pid| is_alive(*pid))).then_some(()));
    let files = || std::fs::read_dir(folder.path()).expect("readable").count();
    eventually("its endpoints go", || (files() == 0).then_some(()));
}

#[test]
fn hurry_does_not_wait_for_a_process_that_will_not_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = folder.path().join("told");
    // Short sleeps, because they outlive the shell.
    let stubborn = format!(
        "sh -c \"trap 'echo told > {}' TERM; echo > {0}.ready; while :; do sleep 1; done\"",
        told.display()
    );
    let watcher = Watcher::new("stubborn", stubborn)
        .copy_env(true)
        .graceful_timeout(Duration::from_secs(100_000));
    let arbiter = block_on(arbiter_in(folder.path()).watcher(watcher).start()).expect("started");
    waiting::for_text(&folder.path().join("told.ready"), "\n");
    let stopping = std::thread::spawn({
        let arbiter = arbiter.clone();
        move || block_on(arbiter.stop())
    });
    waiting::for_text(&told, "told");
    arbiter.hurry();
    stopping.join().expect("no panic").expect("stopped");
}
