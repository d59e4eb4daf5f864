//! Tests of the machine with hooks: order, and what each answer means.

use super::bench::{Bench, rules};
use super::*;

pub(super) const POINTS: &[HookPoint] = &[
    HookPoint::Load,
    HookPoint::Open,
    HookPoint::Close,
    HookPoint::BeforeStart,
    HookPoint::AfterStart,
    HookPoint::BeforeSpawn,
    HookPoint::AfterSpawn,
    HookPoint::BeforeStop,
    HookPoint::AfterStop,
    HookPoint::BeforeSignal,
    HookPoint::AfterSignal,
    HookPoint::BeforeReap,
    HookPoint::AfterReap,
];

/// The points whose bits are set.
pub(super) fn points(bits: u16) -> HookPoints {
    let mut points = HookPoints::default();
    for (bit, point) in POINTS.iter().enumerate() {
        if bits & (1 << bit) != 0 {
            points.add(*point, false);
        }
    }
    points
}

fn bench(hooks: &[HookPoint], desired: u32) -> Bench {
    let mut points = HookPoints::default();
    for point in hooks {
        points.add(*point, false);
    }
    Bench::new(Rules { hooks: points, ..rules() }, desired)
}

/// The same, started; its events are those that come later.
fn started(hooks: &[HookPoint], desired: u32) -> Bench {
    let mut bench = bench(hooks, desired);
    bench.feed(Input::Start(Token(1)));
    bench.events();
    bench
}

/// A watcher whose hook at this point has said no to its start.
fn refused(point: HookPoint, desired: u32) -> Bench {
    let mut bench = bench(&[point], desired);
    bench.refusing = vec![point];
    bench.feed(Input::Start(Token(1)));
    bench
}

#[test]
fn every_hook_comes_in_its_place() {
    let mut bench = bench(POINTS, 1);
    bench.feed(Input::Start(Token(1)));
    let start = [
        "load",
        "before_start",
        "open",
        "before_spawn",
        "after_spawn",
        "spawn",
        "after_start",
        "start",
    ];
    assert_eq!(bench.events(), start);
    bench.feed(Input::Exited { wid: Wid(1), exit_code: Some(-9) });
    let respawn = ["before_reap", "reap", "after_reap", "before_spawn", "after_spawn", "spawn"];
    assert_eq!(bench.events(), respawn);
    bench.feed(Input::Reload(Token(2), Renewal::Overlap));
    let reload = [
        "before_spawn",
        "after_spawn",
        "spawn",
        "before_signal",
        "after_signal",
        "kill",
        "before_reap",
        "reap",
        "after_reap",
        "reload",
    ];
    assert_eq!(bench.events(), reload);
    bench.feed(Input::Stop(Token(3)));
    let stop = [
        "before_stop",
        "before_signal",
        "after_signal",
        "kill",
        "before_reap",
        "reap",
        "after_reap",
        "stop",
        "after_stop",
        "close",
    ];
    assert_eq!(bench.events(), stop);
    assert!(bench.state.status() == Status::Stopped);
}

#[test]
fn before_start_that_says_no_leaves_the_watcher_stopped_without_an_event() {
    let mut bench = refused(HookPoint::BeforeStart, 1);
    assert_eq!(bench.done(1), Some(Changes::default()));
    assert_eq!(bench.events(), ["before_start"]);
    assert_eq!(bench.state.status(), Status::Stopped);
}

#[test]
fn a_failure_is_a_no_unless_the_flag_or_the_point_says_otherwise() {
    let mut strict = bench(&[HookPoint::BeforeStart], 1);
    strict.failing = vec![HookPoint::BeforeStart];
    strict.feed(Input::Start(Token(1)));
    assert_eq!(strict.events(), ["before_start", "hook_failure"]);

    let mut points = HookPoints::default();
    points.add(HookPoint::BeforeStart, true);
    points.add(HookPoint::BeforeSignal, false);
    let mut lenient = Bench::new(Rules { hooks: points, ..rules() }, 1);
    lenient.failing = POINTS.to_vec();
    lenient.feed(Input::Start(Token(1)));
    assert_eq!(lenient.events(), ["before_start", "hook_failure", "spawn", "start"]);
    lenient.feed(Input::Stop(Token(2)));
    let stop = ["before_signal", "hook_failure", "kill", "reap", "stop"];
    assert_eq!(lenient.events(), stop);
}

#[test]
fn before_spawn_that_says_no_stops_the_watcher_even_at_a_respawn() {
    let mut bench = started(&[HookPoint::BeforeSpawn], 2);
    bench.refusing = vec![HookPoint::BeforeSpawn];
    bench.feed(Input::Exited { wid: Wid(1), exit_code: Some(0) });
    assert_eq!(bench.events(), ["reap", "before_spawn", "kill", "reap", "stop"]);
}

#[test]
fn a_reload_that_a_hook_refuses_keeps_the_old_processes() {
    for point in [HookPoint::BeforeSpawn, HookPoint::AfterSpawn] {
        let mut bench = bench(&[point], 2);
        bench.feed(Input::Start(Token(1)));
        bench.refusing = vec![point];
        bench.feed(Input::Reload(Token(2), Renewal::Overlap));
        assert!(bench.done(2).is_some());
        let pids: Vec<i32> = bench.state.processes().iter().map(|(_, pid)| *pid).collect();
        assert_eq!((bench.state.status(), pids), (Status::Active, vec![101, 102]), "{point:?}");
    }
}

#[test]
fn a_process_that_after_spawn_refuses_is_killed_and_never_announced() {
    let mut bench = refused(HookPoint::AfterSpawn, 2);
    assert_eq!(bench.events(), ["after_spawn", "kill", "stop"]);
    assert_eq!(bench.state.status(), Status::Stopped);
}

#[test]
fn after_start_that_says_no_stops_everything() {
    let mut bench = refused(HookPoint::AfterStart, 2);
    let events = ["spawn", "spawn", "after_start", "kill", "kill", "reap", "reap", "stop"];
    assert_eq!(bench.events(), events);
    assert_eq!(bench.done(1), None, "the log was taken");
}

#[test]
fn before_signal_can_refuse_every_signal_but_the_last() {
    let mut bench = started(&[HookPoint::BeforeSignal], 1);
    bench.refusing = vec![HookPoint::BeforeSignal];
    bench.feed(Input::Stop(Token(2)));
    assert_eq!(bench.events(), ["before_signal", "kill"]);
    bench.pass(Duration::from_secs(30));
    assert_eq!(bench.events(), ["before_signal", "kill", "reap", "stop"]);
}

#[test]
fn the_grace_period_begins_with_the_signal_not_with_its_hook() {
    let mut bench = bench(&[HookPoint::BeforeSignal], 1);
    bench.feed(Input::Start(Token(1)));
    let actions = bench.state.step(bench.now, Input::Stop(Token(2)));
    assert!(matches!(actions.last(), Some(Action::RunHook(HookCall::BeforeSignal { .. }))));
    assert_eq!(bench.state.deadline(), None);
    bench.now += Duration::from_secs(60);
    bench.state.step(bench.now, Input::HookDone(Outcome::Returned(true)));
    assert_eq!(bench.state.deadline(), Some(bench.now + Duration::from_secs(30)));
}

#[test]
fn what_happens_while_a_hook_runs_is_taken_up_afterwards() {
    let mut bench = bench(&[HookPoint::AfterStart], 1);
    bench.state.step(bench.now, Input::Start(Token(1)));
    let spawned = Input::Spawned { wid: Wid(1), pid: 7, lifetime: None };
    bench.state.step(bench.now, spawned);
    assert!(bench.state.waits_for_hook());
    let exited = Input::Exited { wid: Wid(1), exit_code: Some(0) };
    assert_eq!(bench.state.step(bench.now, exited), []);
    assert_eq!(bench.state.step(bench.now, Input::Stop(Token(2))), []);
    assert_eq!(bench.state.status(), Status::Starting);
    bench.feed(Input::HookDone(Outcome::Returned(true)));
    assert!(bench.done(1).is_some() && bench.done(2).is_some());
    assert_eq!(bench.state.status(), Status::Stopped);
}

#[test]
fn adopted_processes_skip_before_start_and_before_spawn() {
    let mut bench = bench(POINTS, 1);
    bench.feed(Input::Adopted { wid: Wid(1), pid: 50, running: true, lifetime: None });
    bench.feed(Input::Start(Token(1)));
    assert_eq!(bench.events(), ["open", "after_spawn", "spawn", "after_start", "start"]);
}

#[test]
fn what_cannot_be_imported_keeps_the_watcher_stopped_without_an_event() {
    let mut bench = bench(&[HookPoint::Load, HookPoint::BeforeStart], 1);
    bench.failing = vec![HookPoint::Load];
    bench.feed(Input::Start(Token(1)));
    assert!(bench.done(1).is_some());
    assert_eq!(bench.events(), ["load"]);
    bench.failing.clear();
    bench.feed(Input::Start(Token(2)));
    assert_eq!(bench.events(), ["load", "before_start", "spawn", "start"]);
}

#[test]
fn an_adopted_process_does_not_die_of_a_hook_that_fails() {
    let mut bench = bench(&[HookPoint::Load, HookPoint::AfterSpawn], 1);
    bench.failing = vec![HookPoint::Load, HookPoint::AfterSpawn];
    bench.feed(Input::Adopted { wid: Wid(1), pid: 50, running: true, lifetime: None });
    bench.feed(Input::Start(Token(1)));
    assert_eq!(bench.events(), ["after_spawn", "hook_failure", "spawn", "start"]);
}

#[test]
fn an_adopted_process_that_is_gone_before_the_start_is_announced_and_collected() {
    let mut bench = bench(&[], 1);
    bench.feed(Input::Adopted { wid: Wid(1), pid: 50, running: true, lifetime: None });
    bench.feed(Input::Exited { wid: Wid(1), exit_code: Some(0) });
    assert_eq!(bench.events(), ["spawn", "reap"]);
}

#[test]
fn one_permission_lasts_for_all_attempts_to_spawn() {
    let mut bench = bench(&[HookPoint::BeforeSpawn], 1);
    bench.state.step(bench.now, Input::Start(Token(1)));
    let actions = bench.state.step(bench.now, Input::HookDone(Outcome::Returned(true)));
    assert_eq!(actions.last(), Some(&Action::Spawn(Wid(1))));
    let failed = Input::SpawnFailed { wid: Wid(1), transient: false };
    assert_eq!(bench.state.step(bench.now, failed), [Action::Spawn(Wid(1))]);
}

#[test]
fn a_refused_demand_is_not_tried_again_at_once() {
    let mut points = HookPoints::default();
    points.add(HookPoint::BeforeStart, false);
    let mut bench = Bench::new(Rules { hooks: points, on_demand: true, ..rules() }, 1);
    bench.refusing = vec![HookPoint::BeforeStart];
    bench.feed(Input::Start(Token(1)));
    bench.feed(Input::Demand);
    assert!(!bench.state.is_open_to_demand(bench.now));
    assert_eq!(bench.state.deadline(), Some(bench.now + Duration::from_secs(5)));
    bench.refusing.clear();
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.state.deadline(), None);
    bench.feed(Input::Demand);
    assert_eq!(bench.state.status(), Status::Active);
}

#[test]
fn hurry_asks_no_hook_any_more() {
    let mut bench = started(POINTS, 2);
    bench.obey = false;
    bench.state.step(bench.now, Input::Stop(Token(2)));
    assert!(bench.state.waits_for_hook());
    bench.state.step(bench.now, Input::Hurry);
    bench.feed(Input::HookDone(Outcome::Failed { error: "given up".into() }));
    let hooks =
        bench.events().into_iter().filter(|event| POINTS.iter().any(|p| p.as_str() == *event));
    // Those of the transition under way when it came.
    assert!(hooks.count() <= 4, "{:?}", bench.log);
    assert_eq!(bench.state.status(), Status::Stopped);
}
