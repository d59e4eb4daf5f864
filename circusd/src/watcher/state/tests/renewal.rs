//! Processes in the place of others: restart, reload, old age.

use super::bench::{Bench, rules};
use super::*;

#[test]
fn restart_starts_a_stopped_watcher_and_replaces_a_running_one() {
    let mut bench = Bench::new(rules(), 1);
    bench.feed(Input::Restart(Token(1)));
    assert_eq!(bench.events(), ["spawn", "start"]);
    bench.feed(Input::Restart(Token(2)));
    let changes = bench.done(2).expect("the restart has ended");
    assert_eq!((changes.stopped, changes.started), (vec![101], vec![102]));
    assert_eq!(bench.events(), ["kill", "reap", "stop", "spawn", "start"]);
}

#[test]
fn a_graceful_reload_starts_new_processes_before_the_old_ones_go() {
    let mut bench = Bench::new(rules(), 2);
    bench.feed(Input::Start(Token(1)));
    bench.events();
    bench.feed(Input::Reload(Token(2), Renewal::Overlap));
    let changes = bench.done(2).expect("the reload has ended");
    assert_eq!((changes.started, changes.stopped), (vec![103, 104], vec![101, 102]));
    assert_eq!(bench.events(), ["spawn", "spawn", "kill", "kill", "reap", "reap", "reload"]);
    let wids: Vec<Wid> = bench.state.processes().iter().map(|(wid, _)| *wid).collect();
    assert_eq!(wids, [Wid(3), Wid(4)]);
}

#[test]
fn a_sequential_reload_replaces_one_process_after_the_other_in_its_slot() {
    let mut bench = Bench::new(Rules { respawn: false, ..rules() }, 2);
    bench.feed(Input::Start(Token(1)));
    bench.events();
    bench.feed(Input::Reload(Token(2), Renewal::OneByOne));
    assert_eq!(bench.events(), ["kill", "reap", "spawn", "kill", "reap", "spawn", "reload"]);
    assert_eq!(bench.state.processes(), [(Wid(1), 103), (Wid(2), 104)]);
}

#[test]
fn a_reload_that_cannot_spawn_keeps_the_old_processes() {
    let mut bench = Bench::new(rules(), 1);
    bench.feed(Input::Start(Token(1)));
    let mut actions = bench.state.step(bench.now, Input::Reload(Token(2), Renewal::Overlap));
    while let Some(Action::Spawn(wid)) = actions.iter().find(|a| matches!(a, Action::Spawn(_))) {
        let failed = Input::SpawnFailed { wid: *wid, transient: false };
        actions = bench.state.step(bench.now, failed);
    }
    assert_eq!(bench.state.processes(), [(Wid(1), 101)]);
    assert_eq!(bench.state.status(), Status::Active);
    assert!(matches!(actions.last(), Some(Action::Done(Token(2), _))), "{actions:?}");
    assert!(!actions.contains(&Action::Publish(EventKind::Reload)));
}

#[test]
fn a_process_that_is_too_old_is_replaced_after_it_has_ended() {
    let mut bench = Bench::new(rules(), 1);
    let age = Duration::from_secs(60);
    bench.state.step(bench.now, Input::Start(Token(1)));
    let spawned = Input::Spawned { wid: Wid(1), pid: 7, lifetime: Some(age) };
    bench.state.step(bench.now, spawned);
    assert_eq!(bench.state.deadline(), Some(bench.now + age));
    bench.pass(age);
    assert_eq!(bench.events(), ["kill", "reap", "spawn"]);
}

#[test]
fn a_killed_process_is_replaced_without_a_pause() {
    let mut bench = Bench::new(rules(), 1);
    bench.feed(Input::Start(Token(1)));
    for _ in 0..3 {
        bench.events();
        let kill = Input::Kill { wid: Wid(1), signal: Signal::HUP, grace: Duration::ZERO };
        bench.obey = true;
        bench.feed(kill);
        assert_eq!(bench.events().last(), Some(&"spawn"));
    }
}
