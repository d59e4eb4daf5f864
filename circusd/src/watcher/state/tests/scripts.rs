//! Random scripts, and what holds whatever happens.

use super::bench::rules;
use super::hooking;
use super::*;
use proptest::prelude::*;

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
        hooks in prop_oneof![Just(0u16), 0..1u16 << hooking::POINTS.len()],
    ) {
        let grace = Duration::from_secs(10);
        let rules = Rules {
            respawn,
            on_demand,
            warmup_delay: Duration::from_millis(warmup),
            graceful_timeout: grace,
            max_retry,
            hooks: hooking::points(hooks),
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
