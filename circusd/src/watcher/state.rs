//! The life of one watcher, as a pure machine: inputs and the time in, actions out.
//!
//! ```text
//!            Start                    every owed process spawned
//! stopped ----------> starting -------------------------------------> active
//!    ^                   | max_retry spent, nothing to run               |
//!    |                   v                                               | Stop, or the last process
//!    +--------------- stopping <-----------------------------------------+ ended without respawn
//!       every process gone
//! ```
//!
//! A hook may stand between any two of these steps. While one runs the machine takes nothing up: what
//! happens meanwhile waits in the backlog, and what the hook was asked about is still to be decided.
//!
//! Knows no pipe, no clock and no other watcher; `task` carries the actions out. Two rules hold always:
//! no two live processes share a wid, and SIGKILL comes only after the graceful timeout.

use super::vocabulary::{Action, Changes, Input, Rules, Status, Token};
use super::wid::{Wid, lowest_free};
use super::worker::{Fate, Slot, Worker};
use crate::hook::call::HookCall;
use crate::hook::point::HookPoints;
use hooking::{Asked, Step, Then};
use protocol::circus::event::EventKind;
use renewal::Renewing;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

mod ending;
mod hooking;
pub mod outlook;
mod renewal;
mod spawning;

#[derive(Debug, Clone, PartialEq)]
struct Job {
    token: Token,
    goal: Goal,
    before: BTreeSet<i32>,
    /// Published when the operation has reached its end.
    event: Option<EventKind>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Goal {
    Run,
    Stop,
    StopThenRun,
}

/// The state of one watcher.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    rules: Rules,
    status: Status,
    desired: u32,
    workers: BTreeMap<Wid, Worker>,
    slots: BTreeMap<Wid, Slot>,
    spawning: Option<Wid>,
    /// Spawns that an operation asked for and that it waits for, warm-up pauses included.
    owed: u32,
    warm_at: Option<Instant>,
    failures: u32,
    sequence: u64,
    job: Option<Job>,
    renewing: Option<Renewing>,
    /// What is left of the transition under way.
    agenda: VecDeque<Step>,
    /// The hook that runs.
    asked: Option<Asked>,
    /// What has happened since it was started.
    backlog: VecDeque<Input>,
    /// `before_spawn` has said yes to the next process.
    cleared: bool,
    /// A connection starts an on-demand watcher only from then on, because a hook or its command refused.
    refused_until: Option<Instant>,
    /// Its processes take long until they fail: one that has lived less than `check_delay` has failed.
    fails_late: bool,
}

impl State {
    /// A stopped watcher.
    pub fn new(rules: Rules, desired: u32) -> Self {
        Self {
            rules,
            status: Status::Stopped,
            desired,
            workers: BTreeMap::new(),
            slots: BTreeMap::new(),
            spawning: None,
            owed: 0,
            warm_at: None,
            failures: 0,
            sequence: 0,
            job: None,
            renewing: None,
            agenda: VecDeque::new(),
            asked: None,
            backlog: VecDeque::new(),
            cleared: false,
            refused_until: None,
            fails_late: false,
        }
    }

    /// The same for processes that take long until they fail, as those that have to import half of Python first.
    #[must_use]
    pub fn failing_late(mut self, fails_late: bool) -> Self {
        self.fails_late = fails_late;
        self
    }

    /// What `status` shows.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The slot that a process is being spawned for.
    pub fn spawning(&self) -> Option<Wid> {
        self.spawning
    }

    /// The number of processes wanted.
    pub fn desired(&self) -> u32 {
        self.desired
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The live processes, oldest first.
    pub fn processes(&self) -> Vec<(Wid, i32)> {
        let mut all: Vec<_> = self.workers.iter().collect();
        all.sort_by_key(|(_, worker)| worker.sequence);
        all.into_iter().map(|(wid, worker)| (*wid, worker.pid)).collect()
    }

    /// The live process with this slot.
    pub fn pid(&self, wid: Wid) -> Option<i32> {
        self.workers.get(&wid).map(|worker| worker.pid)
    }

    /// The process of this slot has been asked to end.
    pub fn is_stopping(&self, wid: Wid) -> bool {
        self.workers.get(&wid).is_some_and(|worker| !worker.is_running())
    }

    /// A hook runs, and everything else waits for it.
    #[cfg(test)]
    pub fn waits_for_hook(&self) -> bool {
        self.asked.is_some()
    }

    /// A connection would start it.
    pub fn is_open_to_demand(&self, now: Instant) -> bool {
        self.status == Status::Stopped
            && self.asked.is_none()
            && self.refused_until.is_none_or(|until| until <= now)
    }

    /// When `Input::Tick` is due, if nothing else happens before.
    pub fn deadline(&self) -> Option<Instant> {
        if self.asked.is_some() {
            return None;
        }
        if self.status == Status::Stopped && self.rules.on_demand {
            return self.refused_until;
        }
        let kills = self
            .workers
            .values()
            .filter_map(|worker| worker.stopping.filter(|s| !s.killed).map(|s| s.kill_at));
        let mut spawn = None;
        if self.spawning.is_none() && matches!(self.status, Status::Starting | Status::Active) {
            let wanted = self.wanted();
            let ready = wanted
                .iter()
                .filter_map(|wid| self.slots.get(wid).and_then(|s| s.not_before))
                .min();
            spawn = match (self.warm_at, ready) {
                (Some(warm), Some(ready)) => Some(warm.max(ready)),
                (warm, ready) => warm.or(ready),
            };
        }
        let expiries = self.workers.values().filter(|w| w.is_running()).filter_map(|w| w.expires);
        let active = self.status == Status::Active;
        kills.chain(spawn).chain(expiries.filter(|_| active)).min()
    }

    /// Takes one input and returns what must be done, in order.
    pub fn step(&mut self, now: Instant, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        match (input, self.asked.take()) {
            (Input::HookDone(outcome), Some(asked)) => self.hook_done(now, asked, outcome),
            // One that was given up.
            (Input::HookDone(_), None) => {}
            (input, Some(asked)) => {
                self.asked = Some(asked);
                self.postpone(input);
                return actions;
            }
            (input, None) => self.take(now, input),
        }
        self.advance(now, &mut actions);
        actions
    }

    fn take(&mut self, now: Instant, input: Input) {
        match input {
            Input::Adopted { wid, pid, running, lifetime } => {
                // One that has ended is not announced any more, only collected.
                self.add_worker(now, wid, pid, lifetime, !running);
            }
            Input::Start(token) => {
                self.begin(token, Goal::Run);
                if !self.rules.on_demand || self.status != Status::Stopped {
                    self.run();
                }
            }
            Input::Resume(token) => {
                self.begin(token, Goal::Run);
                // What does not respawn goes on with what is left.
                if self.rules.respawn || !self.workers.is_empty() {
                    self.run();
                }
                if !self.rules.respawn {
                    self.owed = 0;
                }
            }
            Input::Demand => {
                if self.is_open_to_demand(now) {
                    self.run();
                }
            }
            Input::Reload(token, renewal) => self.reload(token, renewal),
            Input::Rules(rules) => self.rules = rules,
            Input::Want(desired) => {
                self.desired = desired;
                self.owed = self.owed.min(self.missing());
            }
            Input::Kill { wid, signal, grace } => self.ask(now, wid, (signal, grace), Fate::Killed),
            Input::Stop(token) => {
                self.begin(token, Goal::Stop);
                self.wind_down();
            }
            Input::Restart(token) => {
                if self.status == Status::Stopped {
                    self.begin(token, Goal::Run);
                    self.run();
                } else {
                    self.begin(token, Goal::StopThenRun);
                    self.wind_down();
                }
            }
            Input::Resize(token, desired) => {
                self.begin(token, Goal::Run);
                let grown = desired.saturating_sub(self.desired);
                self.desired = desired;
                match self.status {
                    Status::Active => self.owed = grown.min(self.missing()),
                    Status::Starting => self.owed = self.missing(),
                    Status::Stopped | Status::Stopping => {}
                }
            }
            Input::Hurry => {
                self.rules.hooks = HookPoints::default();
                self.hurry(now);
            }
            Input::Spawned { wid, pid, lifetime } => {
                self.add_worker(now, wid, pid, lifetime, false);
                self.hook(HookCall::AfterSpawn { pid }, Then::Spawned(wid));
            }
            Input::SpawnFailed { wid, transient } => self.spawn_failed(now, wid, transient),
            Input::Exited { wid, exit_code } => {
                if let Some(pid) = self.pid(wid) {
                    self.hook(HookCall::BeforeReap { pid }, Then::Reap { wid, exit_code });
                }
            }
            Input::Tick | Input::HookDone(_) => {}
        }
    }

    /// Makes `goal` the operation in progress. One that was under way is answered with what it reached;
    /// that happens only when a shutdown overtakes it.
    fn begin(&mut self, token: Token, goal: Goal) {
        self.renewing = None;
        if let Some(job) = &mut self.job {
            job.event = None;
        }
        self.finish_job();
        self.job = Some(Job { token, goal, before: self.pids(), event: None });
    }

    fn finish_job(&mut self) {
        let Some(job) = self.job.take() else { return };
        if let Some(event) = job.event {
            self.act(Action::Publish(event));
        }
        let after = self.pids();
        let changes = Changes {
            started: after.difference(&job.before).copied().collect(),
            stopped: job.before.difference(&after).copied().collect(),
            kept: job.before.intersection(&after).copied().collect(),
        };
        self.act(Action::Done(job.token, changes));
    }

    fn pids(&self) -> BTreeSet<i32> {
        self.workers.values().filter(|w| w.is_running()).map(|w| w.pid).collect()
    }

    /// The processes that have not been asked to end.
    fn oldest_first(&self) -> Vec<Wid> {
        let running = self.workers.iter().filter(|(_, worker)| worker.is_running());
        let mut running: Vec<_> = running.map(|(wid, w)| (w.sequence, *wid)).collect();
        running.sort_unstable();
        running.into_iter().map(|(_, wid)| wid).collect()
    }

    /// Places that are filled, the one being spawned for included.
    fn filled(&self) -> u32 {
        let spawning = usize::from(self.spawning.is_some());
        let live = self.workers.values().filter(|w| w.holds_place()).count() + spawning;
        u32::try_from(live).unwrap_or(u32::MAX)
    }

    fn missing(&self) -> u32 {
        self.desired.saturating_sub(self.filled())
    }

    /// The slots that should get a process, lowest first.
    fn wanted(&self) -> Vec<Wid> {
        let respawn = self.rules.respawn && !self.rules.on_demand;
        let count = match (self.status, respawn, &self.renewing) {
            (Status::Active, _, Some(Renewing::Overlap { left, .. })) => *left,
            (Status::Starting, _, _) | (Status::Active, false, _) => self.owed.min(self.missing()),
            (Status::Active, true, _) => self.missing(),
            (Status::Stopped | Status::Stopping, _, _) => 0,
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        lowest_free(count, |wid| self.workers.contains_key(&wid) || self.spawning == Some(wid))
    }

    /// Does what the state asks to be done: overdue kills, surplus, spawns, the end of an operation. Called
    /// until it finds nothing more to do; what it begins is finished, hooks included, before the next call.
    fn settle(&mut self, now: Instant) {
        self.kill_overdue(now);
        if !self.agenda.is_empty() {
            return;
        }
        match self.status {
            Status::Stopped => {
                self.refused_until = self.refused_until.filter(|until| *until > now);
                self.finish_job();
            }
            Status::Stopping => self.settle_stopping(),
            Status::Starting | Status::Active => self.settle_running(now),
        }
    }
}

#[cfg(test)]
mod tests;
