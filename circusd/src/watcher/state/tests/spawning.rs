//! Processes that start: with the watcher, in place of others, paced when they fail.

use super::bench::{Bench, rules};
use super::*;

#[test]
fn start_spawns_all_then_is_active() {
    let mut bench = Bench::new(rules(), 2);
    bench.feed(Input::Start(Token(1)));
    assert_eq!(bench.done(1).map(|c| c.started), Some(vec![101, 102]));
    assert_eq!(bench.events(), ["spawn", "spawn", "start"]);
    assert_eq!(bench.state.status(), Status::Active);
}

#[test]
fn a_dead_process_is_replaced_at_once_in_its_slot() {
    let mut bench = Bench::new(rules(), 3);
    bench.feed(Input::Start(Token(1)));
    bench.events();
    bench.feed(Input::Exited { wid: Wid(2), exit_code: Some(1) });
    assert_eq!(bench.events(), ["reap", "spawn"]);
    assert_eq!(bench.state.processes().last(), Some(&(Wid(2), 104)));
}

#[test]
fn a_crash_loop_waits_before_the_second_respawn() {
    let mut bench = Bench::new(rules(), 1);
    bench.feed(Input::Start(Token(1)));
    bench.feed(Input::Exited { wid: Wid(1), exit_code: Some(1) });
    bench.events();
    bench.feed(Input::Exited { wid: Wid(1), exit_code: Some(1) });
    assert_eq!(bench.events(), ["reap"]);
    assert_eq!(bench.state.deadline(), Some(bench.now + Duration::from_millis(100)));
    bench.pass(Duration::from_millis(100));
    assert_eq!(bench.events(), ["spawn"]);
}

#[test]
fn warm_up_pauses_follow_every_spawn_of_a_start() {
    let pause = Duration::from_millis(500);
    let mut bench = Bench::new(Rules { warmup_delay: pause, ..rules() }, 2);
    bench.feed(Input::Start(Token(1)));
    assert_eq!(bench.events(), ["spawn"]);
    assert_eq!(bench.state.status(), Status::Starting);
    bench.pass(pause);
    assert_eq!(bench.events(), ["spawn"]);
    assert_eq!(bench.state.status(), Status::Starting);
    bench.pass(pause);
    assert_eq!(bench.events(), ["start"]);
}

#[test]
fn failed_spawns_stop_the_watcher_after_max_retry() {
    let mut bench = Bench::new(rules(), 1);
    let mut actions = bench.state.step(bench.now, Input::Start(Token(1)));
    let mut attempts = 0;
    while actions.contains(&Action::Spawn(Wid(1))) {
        attempts += 1;
        let failed = Input::SpawnFailed { wid: Wid(1), transient: false };
        actions = bench.state.step(bench.now, failed);
    }
    assert_eq!(attempts, 5);
    assert!(actions.contains(&Action::Publish(EventKind::Stop)));
    assert!(actions.contains(&Action::Done(Token(1), Changes::default())));
    assert_eq!(bench.state.status(), Status::Stopped);
}

#[test]
fn without_a_limit_failed_spawns_are_paced() {
    let mut bench = Bench::new(Rules { max_retry: None, ..rules() }, 1);
    bench.state.step(bench.now, Input::Start(Token(1)));
    let failed = Input::SpawnFailed { wid: Wid(1), transient: false };
    let actions = bench.state.step(bench.now, failed.clone());
    assert!(actions.contains(&Action::Spawn(Wid(1))), "the second try is immediate");
    let actions = bench.state.step(bench.now, failed);
    assert!(!actions.contains(&Action::Spawn(Wid(1))));
    assert_eq!(bench.state.deadline(), Some(bench.now + Duration::from_millis(100)));
}

#[test]
fn a_start_that_can_only_be_tried_again_does_not_keep_its_caller_waiting() {
    let mut bench = Bench::new(rules(), 1);
    bench.state.step(bench.now, Input::Start(Token(1)));
    let failed = Input::SpawnFailed { wid: Wid(1), transient: true };
    let mut done = false;
    for _ in 0..20 {
        let actions = bench.state.step(bench.now, failed.clone());
        done |= actions.iter().any(|action| matches!(action, Action::Done(Token(1), _)));
        bench.now = bench.state.deadline().unwrap_or(bench.now);
        bench.state.step(bench.now, Input::Tick);
    }
    assert!(done);
    assert_ne!(bench.state.status(), Status::Stopped, "a shortage never uses up max_retry");
}

#[test]
fn adopted_processes_are_kept_and_missing_ones_spawned() {
    let mut bench = Bench::new(rules(), 2);
    bench.feed(Input::Adopted { wid: Wid(2), pid: 50, running: true, lifetime: None });
    bench.feed(Input::Start(Token(1)));
    assert_eq!(bench.events(), ["spawn", "spawn", "start"]);
    assert_eq!(bench.state.processes(), [(Wid(2), 50), (Wid(1), 101)]);
}

#[test]
fn surplus_adopted_processes_are_stopped() {
    let mut bench = Bench::new(rules(), 1);
    bench.feed(Input::Adopted { wid: Wid(1), pid: 50, running: true, lifetime: None });
    bench.feed(Input::Adopted { wid: Wid(2), pid: 51, running: true, lifetime: None });
    bench.feed(Input::Start(Token(1)));
    assert_eq!(bench.state.processes(), [(Wid(2), 51)]);
    assert_eq!(bench.state.status(), Status::Active);
}

#[test]
fn no_process_wanted_ends_in_stopped() {
    let mut bench = Bench::new(rules(), 0);
    bench.feed(Input::Start(Token(1)));
    assert_eq!(bench.events(), ["stop"]);
    assert!(bench.state.status() == Status::Stopped);
}

#[test]
fn an_on_demand_watcher_starts_with_the_first_connection_and_waits_again_when_it_has_ended() {
    let mut bench = Bench::new(Rules { on_demand: true, ..rules() }, 2);
    bench.feed(Input::Start(Token(1)));
    assert!(bench.done(1).is_some());
    assert_eq!(bench.state.status(), Status::Stopped);
    bench.feed(Input::Demand);
    assert_eq!(bench.events(), ["spawn", "spawn", "start"]);
    bench.feed(Input::Exited { wid: Wid(1), exit_code: Some(0) });
    assert_eq!(bench.state.status(), Status::Active);
    bench.feed(Input::Exited { wid: Wid(2), exit_code: Some(0) });
    assert_eq!(bench.state.status(), Status::Stopped);
}
