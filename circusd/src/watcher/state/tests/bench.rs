//! A watcher machine whose processes and hooks do what a test says.

use super::*;

pub(super) fn rules() -> Rules {
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
pub(super) struct Bench {
    pub(super) state: State,
    pub(super) now: Instant,
    next_pid: i32,
    pub(super) log: Vec<Action>,
    pub(super) obey: bool,
    /// The hooks that say no; all others say yes.
    pub(super) refusing: Vec<HookPoint>,
    /// The hooks that fail.
    pub(super) failing: Vec<HookPoint>,
}

impl Bench {
    pub(super) fn new(rules: Rules, desired: u32) -> Self {
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
    pub(super) fn feed(&mut self, input: Input) {
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

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.feed(Input::Tick);
    }

    pub(super) fn events(&mut self) -> Vec<&'static str> {
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

    pub(super) fn done(&self, token: u64) -> Option<Changes> {
        self.log.iter().find_map(|action| match action {
            Action::Done(Token(found), changes) if *found == token => Some(changes.clone()),
            _ => None,
        })
    }
}
