//! Tests of the watcher machine: the rules one by one, then random scripts.

use super::super::vocabulary::Renewal;
use super::*;
use crate::hook::outcome::Outcome;
use crate::hook::point::HookPoint;
use proptest::prelude::*;
use protocol::signal::Signal;
use std::time::Duration;

#[path = "state_hook_tests.rs"]
mod hooks;

fn rules() -> Rules {
    Rules {
        singleton: false,
        respawn: true,
        on_demand: false,
        warmup_delay: Duration::ZERO,
        graceful_timeout: Duration::from_secs(30),
        stop_signal: Signal::TERM,
        max_retry: Some(5),
        check_delay: Duration::from_secs(5),
        hooks: HookPoints::default(),
    }
}

/// A watcher with processes that do what the test says.
struct Bench {
    state: State,
    now: Instant,
    next_pid: i32,
    log: Vec<Action>,
    obey: bool,
    /// The hooks that say no; all others say yes.
    refusing: Vec<HookPoint>,
    /// The hooks that fail.
    failing: Vec<HookPoint>,
}

impl Bench {
    fn new(rules: Rules, desired: u32) -> Self {
        let state = State::new(rules, desired);
        Self {
            state,
            now: Instant::now(),
            next_pid: 100,
            log: Vec::new(),
            obey: true,
            refusing: Vec::new(),
            failing: Vec::new(),
        }
    }

    /// Feeds one input and answers every spawn, and every signal if the processes obey.
    fn feed(&mut self, input: Input) {
        let mut queue = vec![input];
        while !queue.is_empty() {
            let actions = self.state.step(self.now, queue.remove(0));
            for action in &actions {
                match action {
                    Action::Spawn(wid) => {
                        self.next_pid += 1;
                        queue.push(Input::Spawned {
                            wid: *wid,
                            pid: self.next_pid,
                            lifetime: None,
                        });
                    }
                    Action::Signal(wid, signal) if self.obey => {
                        queue.push(Input::Exited { wid: *wid, exit_code: Some(-signal.number()) });
                    }
                    Action::RunHook(call) => {
                        let answer = if self.failing.contains(&call.point()) {
                            Outcome::Failed { error: "boom".into() }
                        } else {
                            Outcome::Returned(!self.refusing.contains(&call.point()))
                        };
                        queue.insert(0, Input::HookDone(answer));
                    }
                    Action::Escalate(wid) => {
                        queue.push(Input::Exited { wid: *wid, exit_code: Some(-9) });
                    }
                    _ => {}
                }
            }
            self.log.extend(actions);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.feed(Input::Tick);
    }

    fn events(&mut self) -> Vec<&'static str> {
        let names = self.log.iter().filter_map(|action| match action {
            Action::Publish(EventKind::Start) => Some("start"),
            Action::Publish(EventKind::Stop) => Some("stop"),
            Action::Publish(EventKind::Spawn { .. }) => Some("spawn"),
            Action::Publish(EventKind::Kill { .. }) => Some("kill"),
            Action::Publish(EventKind::Reap { .. }) => Some("reap"),
            Action::Publish(EventKind::Reload) => Some("reload"),
            Action::RunHook(call) => Some(call.point().as_str()),
            Action::Publish(EventKind::HookFailure { .. }) => Some("hook_failure"),
            _ => None,
        });
        let names = names.collect();
        self.log.clear();
        names
    }

    fn done(&self, token: u64) -> Option<Changes> {
        self.log.iter().find_map(|action| match action {
            Action::Done(Token(found), changes) if *found == token => Some(changes.clone()),
            _ => None,
        })
    }
}

#[test]
fn start_spawns_all_then_is_active() {
    let mut bench = Bench::new(rules(), 2);
    bench.feed(Input::Start(Token(1)));
    assert_eq!(bench.done(1).map(|c| c.started), Some(vec![101, 102]));
    assert_eq!(bench.events(), ["spawn", "spawn", "start"]);
    assert_eq!(bench.state.status(), Status::Active);
}

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
fn shrinking_stops_the_oldest() {
    let mut bench = Bench::new(rules(), 3);
    bench.feed(Input::Start(Token(1)));
    bench.feed(Input::Resize(Token(2), 2));
    assert_eq!(bench.done(2).map(|c| c.stopped), Some(vec![101]));
    let pids: Vec<i32> = bench.state.processes().iter().map(|(_, pid)| *pid).collect();
    assert_eq!(pids, [102, 103]);
}

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

#[derive(Debug, Clone)]
enum Deed {
    Start,
    Stop,
    Restart,
    Reload(Renewal),
    Demand,
    Kill(u32),
    Resize(u32),
    SpawnOk,
    SpawnFails(bool),
    Exit(usize),
    Answer(bool),
    HookFails,
    Pass(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        1 => Just(Deed::Start),
        1 => Just(Deed::Stop),
        1 => Just(Deed::Restart),
        1 => Just(Deed::Reload(Renewal::Overlap)),
        1 => Just(Deed::Reload(Renewal::OneByOne)),
        1 => Just(Deed::Demand),
        1 => (1..4u32).prop_map(Deed::Kill),
        1 => (0..5u32).prop_map(Deed::Resize),
        8 => Just(Deed::SpawnOk),
        1 => any::<bool>().prop_map(Deed::SpawnFails),
        4 => (0..5usize).prop_map(Deed::Exit),
        8 => prop::bool::weighted(0.9).prop_map(Deed::Answer),
        1 => Just(Deed::HookFails),
        4 => (0..20_000u64).prop_map(Deed::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    /// Whatever happens: one live process per wid, SIGKILL only after the grace period, every operation
    /// answered exactly once, one hook at a time and nothing done while it runs, and a final stop ends in
    /// `stopped` when the processes obey SIGKILL.
    #[test]
    fn random_scripts_keep_the_rules(
        script in prop::collection::vec(deed(), 1..60),
        respawn in any::<bool>(),
        on_demand in any::<bool>(),
        lifetime in prop_oneof![Just(0u64), Just(15)],
        warmup in prop_oneof![Just(0u64), Just(300)],
        max_retry in prop_oneof![Just(None), (0..4u32).prop_map(Some)],
        hooks in prop_oneof![Just(0u16), 0..1u16 << hooks::POINTS.len()],
    ) {
        let grace = Duration::from_secs(10);
        let rules = Rules {
            respawn,
            on_demand,
            warmup_delay: Duration::from_millis(warmup),
            graceful_timeout: grace,
            max_retry,
            hooks: hooks::points(hooks),
            ..rules()
        };
        let mut state = State::new(rules, 2);
        let mut now = Instant::now();
        let mut live: BTreeMap<Wid, Option<Instant>> = BTreeMap::new();
        let mut pending: Option<Wid> = None;
        let mut tokens = 0u64;
        let mut answered = BTreeSet::new();
        let mut pid = 1000;
        let mut hook: Option<HookCall> = None;
        // Gone, but the machine waits for a hook and does not know yet.
        let mut unseen: BTreeSet<Wid> = BTreeSet::new();
        let mut pids: BTreeMap<i32, Wid> = BTreeMap::new();
        let round = [
            Deed::Answer(true),
            Deed::SpawnOk,
            Deed::Answer(true),
            Deed::Pass(20_000),
            Deed::Exit(0),
        ];
        let finale = (0..200).flat_map(|_| round.clone());
        let finale = [Deed::Stop].into_iter().chain(finale);
        let scripted = script.len();
        for (at, deed) in script.into_iter().chain(finale).enumerate() {
            let asked_hook = hook.clone();
            let input = match deed {
                Deed::Answer(yes) => match hook.take() {
                    Some(_) => Input::HookDone(Outcome::Returned(yes)),
                    None => Input::Tick,
                },
                Deed::HookFails => match hook.take() {
                    Some(_) => Input::HookDone(Outcome::Failed { error: "boom".into() }),
                    None => Input::Tick,
                },
                Deed::Start => { tokens += 1; Input::Start(Token(tokens)) }
                Deed::Stop => { tokens += 1; Input::Stop(Token(tokens)) }
                Deed::Restart => { tokens += 1; Input::Restart(Token(tokens)) }
                Deed::Reload(renewal) => { tokens += 1; Input::Reload(Token(tokens), renewal) }
                Deed::Demand => Input::Demand,
                Deed::Kill(wid) => {
                    Input::Kill { wid: Wid(wid), signal: Signal::HUP, grace }
                }
                Deed::Resize(n) => { tokens += 1; Input::Resize(Token(tokens), n) }
                Deed::SpawnOk => match pending.take() {
                    Some(wid) => {
                        pid += 1;
                        live.insert(wid, None);
                        pids.insert(pid, wid);
                        let lifetime = (lifetime > 0).then(|| Duration::from_secs(lifetime));
                        Input::Spawned { wid, pid, lifetime }
                    }
                    None => Input::Tick,
                },
                Deed::SpawnFails(transient) => match pending.take() {
                    Some(wid) => Input::SpawnFailed { wid, transient },
                    None => Input::Tick,
                },
                Deed::Exit(n) => match live.keys().nth(n).copied() {
                    Some(wid) => {
                        live.remove(&wid);
                        if hook.is_some() {
                            unseen.insert(wid);
                        }
                        Input::Exited { wid, exit_code: Some(0) }
                    }
                    None => Input::Tick,
                },
                Deed::Pass(millis) => {
                    now += Duration::from_millis(millis);
                    Input::Tick
                }
            };
            let actions = state.step(now, input);
            prop_assert!(hook.is_none() || actions.is_empty(), "{:?} while a hook runs", actions);
            for action in actions {
                prop_assert!(hook.is_none(), "{:?} behind a hook that runs", action);
                match action {
                    Action::Spawn(wid) => {
                        prop_assert!(pending.is_none(), "two spawns at once");
                        prop_assert!(!live.contains_key(&wid), "two live processes with wid {}", wid);
                        prop_assert!(!unseen.contains(&wid), "wid {} is not collected yet", wid);
                        prop_assert!(state.rules().max_retry != Some(0));
                        pending = Some(wid);
                    }
                    Action::Signal(wid, _) | Action::Escalate(wid) if unseen.contains(&wid) => {}
                    Action::Signal(wid, signal) => {
                        let asked = live.get_mut(&wid);
                        prop_assert!(asked.is_some(), "signal to a process that is gone");
                        let asked = asked.expect("checked above");
                        prop_assert!(signal != Signal::KILL);
                        prop_assert!(asked.is_none(), "stop signal sent twice");
                        *asked = Some(now);
                    }
                    Action::Escalate(wid) => {
                        let asked = live.get(&wid).copied().flatten();
                        prop_assert!(asked.is_some(), "SIGKILL only after the stop signal");
                        let since = asked.expect("checked above");
                        prop_assert!(now - since >= grace, "SIGKILL too early");
                    }
                    Action::RunHook(call) => hook = Some(call),
                    Action::Forget(wid) => {
                        unseen.remove(&wid);
                    }
                    Action::Done(token, _) => prop_assert!(answered.insert(token)),
                    Action::Publish(_) | Action::CloseStreams => {}
                }
            }
            // A signal that a hook has vetoed counts as sent: the grace period begins.
            if let (Some(HookCall::BeforeSignal { pid, .. }), true) = (asked_hook.clone(), asked_hook != hook)
                && let Some(asked) = pids.get(&pid).and_then(|wid| live.get_mut(wid))
            {
                asked.get_or_insert(now);
            }
            let over = hook.is_none() && pending.is_none() && answered.len() as u64 == tokens;
            if at > scripted && over && state.status() == Status::Stopped {
                break;
            }
            let idle = live.values().filter(|asked| asked.is_none()).count();
            // During a reload both generations run.
            prop_assert!(idle <= 10, "{} processes that nobody wants", idle);
        }
        prop_assert_eq!(state.status(), Status::Stopped);
        prop_assert_eq!(answered.len() as u64, tokens);
    }
}
