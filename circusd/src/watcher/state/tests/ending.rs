//! Processes that end, and the watcher with them.

use super::bench::{Bench, rules};
use super::*;

#[test]
fn stop_ends_in_stopped_after_kill_and_reap() {
    let mut bench = Bench::new(rules(), 2);
    bench.feed(Input::Start(Token(1)));
    bench.events();
    bench.feed(Input::Stop(Token(2)));
    assert!(bench.done(2).is_some());
    assert_eq!(bench.events(), ["kill", "kill", "reap", "reap", "stop"]);
    assert_eq!(bench.state.status(), Status::Stopped);
}

#[test]
fn a_process_that_ignores_the_signal_is_killed_after_the_graceful_timeout() {
    let mut bench = Bench::new(rules(), 1);
    bench.feed(Input::Start(Token(1)));
    bench.obey = false;
    bench.feed(Input::Stop(Token(2)));
    bench.pass(Duration::from_millis(29_999));
    assert_eq!(bench.state.status(), Status::Stopping);
    assert!(!bench.log.contains(&Action::Escalate(Wid(1))));
    bench.pass(Duration::from_millis(1));
    assert!(bench.log.contains(&Action::Escalate(Wid(1))));
    assert_eq!(bench.state.status(), Status::Stopped);
}

#[test]
fn a_graceful_timeout_of_zero_sends_both_signals_at_once() {
    let mut bench = Bench::new(Rules { graceful_timeout: Duration::ZERO, ..rules() }, 1);
    bench.feed(Input::Start(Token(1)));
    let actions = bench.state.step(bench.now, Input::Stop(Token(2)));
    let ask = actions.iter().position(|a| *a == Action::Signal(Wid(1), Signal::TERM));
    let kill = actions.iter().position(|a| *a == Action::Escalate(Wid(1)));
    assert!(ask.is_some() && ask < kill, "{actions:?}");
}

#[test]
fn without_respawn_the_watcher_stops_with_its_last_process() {
    let mut bench = Bench::new(Rules { respawn: false, ..rules() }, 2);
    bench.feed(Input::Start(Token(1)));
    bench.events();
    bench.feed(Input::Exited { wid: Wid(1), exit_code: Some(0) });
    assert_eq!(bench.events(), ["reap"]);
    bench.feed(Input::Exited { wid: Wid(2), exit_code: Some(0) });
    assert_eq!(bench.events(), ["reap", "stop"]);
    assert_eq!(bench.state.status(), Status::Stopped);
}

#[test]
fn shrinking_stops_the_oldest() {
    let mut bench = Bench::new(rules(), 3);
    bench.feed(Input::Start(Token(1)));
    bench.feed(Input::Resize(Token(2), 2));
    assert_eq!(bench.done(2).map(|c| c.stopped), Some(vec![101]));
    let pids: Vec<i32> = bench.state.processes().iter().map(|(_, pid)| *pid).collect();
    assert_eq!(pids, [102, 103]);
}

#[test]
fn a_stop_that_overtakes_a_start_answers_both() {
    let mut bench = Bench::new(rules(), 1);
    let actions = bench.state.step(bench.now, Input::Start(Token(1)));
    assert_eq!(actions, [Action::Spawn(Wid(1))]);
    bench.feed(Input::Stop(Token(2)));
    assert!(bench.done(1).is_some());
    assert!(bench.done(2).is_none());
    bench.feed(Input::Spawned { wid: Wid(1), pid: 7, lifetime: None });
    assert!(bench.done(2).is_some());
    assert_eq!(bench.state.status(), Status::Stopped);
}

#[test]
fn hurry_kills_what_is_being_stopped() {
    let mut bench = Bench::new(rules(), 2);
    bench.feed(Input::Start(Token(1)));
    bench.obey = false;
    bench.feed(Input::Stop(Token(2)));
    bench.feed(Input::Hurry);
    assert_eq!(bench.state.status(), Status::Stopped);
}
