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
//! Knows no pipe, no clock and no other watcher; `task` carries the actions out. Two rules hold always:
//! no two live processes share a wid, and SIGKILL comes only after the graceful timeout.

use super::vocabulary::{Action, Changes, Input, Rules, Status, Token};
use super::wid::{Wid, lowest_free};
use super::worker::{Fate, Slot, Worker};
use protocol::circus::event::EventKind;
use renewal::Renewing;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

mod ending;
mod renewal;

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
        }
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

    /// When `Input::Tick` is due, if nothing else happens before.
    pub fn deadline(&self) -> Option<Instant> {
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
        match input {
            Input::Adopted { wid, pid, running, lifetime } => {
                self.add_worker(now, wid, pid, lifetime);
                if running {
                    actions.push(Action::Publish(EventKind::Spawn { pid }));
                }
            }
            Input::Start(token) => {
                self.begin(token, Goal::Run, &mut actions);
                if !self.rules.on_demand || self.status != Status::Stopped {
                    self.run();
                }
            }
            Input::Demand => {
                if self.status == Status::Stopped {
                    self.run();
                }
            }
            Input::Reload(token, renewal) => self.reload(token, renewal, &mut actions),
            Input::Rules(rules) => self.rules = rules,
            Input::Kill { wid, signal, grace } => {
                self.ask(now, wid, (signal, grace), Fate::Killed, &mut actions);
            }
            Input::Stop(token) => {
                self.begin(token, Goal::Stop, &mut actions);
                self.wind_down(now, &mut actions);
            }
            Input::Restart(token) => {
                if self.status == Status::Stopped {
                    self.begin(token, Goal::Run, &mut actions);
                    self.run();
                } else {
                    self.begin(token, Goal::StopThenRun, &mut actions);
                    self.wind_down(now, &mut actions);
                }
            }
            Input::Resize(token, desired) => {
                self.begin(token, Goal::Run, &mut actions);
                let grown = desired.saturating_sub(self.desired);
                self.desired = desired;
                match self.status {
                    Status::Active => self.owed = grown.min(self.missing()),
                    Status::Starting => self.owed = self.missing(),
                    Status::Stopped | Status::Stopping => {}
                }
            }
            Input::Hurry => self.hurry(now),
            Input::Spawned { wid, pid, lifetime } => {
                self.add_worker(now, wid, pid, lifetime);
                self.spawned(now, wid, pid, &mut actions);
            }
            Input::SpawnFailed { wid, transient } => {
                self.spawn_failed(now, wid, transient, &mut actions);
            }
            Input::Exited { wid, exit_code } => self.exited(now, wid, exit_code, &mut actions),
            Input::Tick => {}
        }
        self.settle(now, &mut actions);
        actions
    }

    /// Makes `goal` the operation in progress. One that was under way is answered with what it reached;
    /// that happens only when a shutdown overtakes it.
    fn begin(&mut self, token: Token, goal: Goal, actions: &mut Vec<Action>) {
        self.renewing = None;
        if let Some(job) = &mut self.job {
            job.event = None;
        }
        self.finish_job(actions);
        self.job = Some(Job { token, goal, before: self.pids(), event: None });
    }

    fn finish_job(&mut self, actions: &mut Vec<Action>) {
        let Some(job) = self.job.take() else { return };
        actions.extend(job.event.map(Action::Publish));
        let after = self.pids();
        let changes = Changes {
            started: after.difference(&job.before).copied().collect(),
            stopped: job.before.difference(&after).copied().collect(),
            kept: job.before.intersection(&after).copied().collect(),
        };
        actions.push(Action::Done(job.token, changes));
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

    /// Moves towards running. A watcher that is stopping goes on once the last process is gone.
    fn run(&mut self) {
        match self.status {
            Status::Stopped => {
                self.status = Status::Starting;
                self.failures = 0;
                self.owed = self.missing();
            }
            Status::Starting | Status::Active => self.owed = self.missing(),
            Status::Stopping => {
                if let Some(job) = &mut self.job {
                    job.goal = Goal::StopThenRun;
                }
            }
        }
    }

    fn wind_down(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.owed = 0;
        self.warm_at = None;
        self.renewing = None;
        if self.status == Status::Stopped {
            return;
        }
        self.status = Status::Stopping;
        // Those that were dismissed with a successor in view get none any more.
        for stopping in self.workers.values_mut().filter_map(|worker| worker.stopping.as_mut()) {
            stopping.fate = Fate::Dismissed;
        }
        for wid in self.oldest_first() {
            self.ask_to_end(now, wid, Fate::Dismissed, actions);
        }
    }

    fn add_worker(&mut self, now: Instant, wid: Wid, pid: i32, lifetime: Option<Duration>) {
        self.sequence += 1;
        let (expires, sequence) = (lifetime.map(|lifetime| now + lifetime), self.sequence);
        let worker = Worker { pid, since: now, sequence, expires, stopping: None };
        self.workers.insert(wid, worker);
    }

    fn spawned(&mut self, now: Instant, wid: Wid, pid: i32, actions: &mut Vec<Action>) {
        self.spawning = None;
        self.failures = 0;
        actions.push(Action::Publish(EventKind::Spawn { pid }));
        if self.status == Status::Stopping {
            self.ask_to_end(now, wid, Fate::Dismissed, actions);
        } else if let Some(Renewing::Overlap { left, fresh }) = &mut self.renewing {
            fresh.push(wid);
            *left -= 1;
            if *left == 0 {
                self.renewing = None;
            }
        } else if self.owed > 0 {
            self.owed -= 1;
            self.warm_at = Some(now + self.rules.warmup_delay);
        }
    }

    fn spawn_failed(&mut self, now: Instant, wid: Wid, transient: bool, actions: &mut Vec<Action>) {
        self.spawning = None;
        if transient || self.rules.max_retry.is_none() {
            // Tried again for as long as it takes, but not in a hurry, and nobody is kept waiting for it.
            self.pace(now, wid, Duration::ZERO);
            self.owed = 0;
            return;
        }
        self.failures += 1;
        if self.rules.max_retry.is_some_and(|limit| self.failures >= limit) {
            self.give_up(now, actions);
        }
    }

    fn pace(&mut self, now: Instant, wid: Wid, lived: Duration) {
        let slot = self.slots.entry(wid).or_default();
        let wait = slot.pacing.after_death(lived, self.rules.check_delay);
        slot.not_before = (wait > Duration::ZERO).then(|| now + wait);
    }

    fn exited(
        &mut self,
        now: Instant,
        wid: Wid,
        exit_code: Option<i32>,
        actions: &mut Vec<Action>,
    ) {
        let Some(worker) = self.workers.remove(&wid) else { return };
        actions.push(Action::Publish(EventKind::Reap { pid: worker.pid, exit_code }));
        match worker.stopping.map(|stopping| stopping.fate) {
            None => self.pace(now, wid, now.saturating_duration_since(worker.since)),
            Some(Fate::Renewed) if self.status != Status::Stopping => self.owed += 1,
            Some(Fate::Renewed | Fate::Dismissed | Fate::Killed) => {}
        }
    }

    /// Does what the state calls for now: overdue kills, surplus, spawns, the end of an operation.
    fn settle(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.kill_overdue(now, actions);
        match self.status {
            Status::Stopped => self.finish_job(actions),
            Status::Stopping => self.settle_stopping(now, actions),
            Status::Starting | Status::Active => self.settle_running(now, actions),
        }
    }

    fn settle_stopping(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if !self.workers.is_empty() || self.spawning.is_some() {
            return;
        }
        self.status = Status::Stopped;
        self.slots.clear();
        actions.push(Action::Publish(EventKind::Stop));
        if let Some(job) = self.job.as_mut().filter(|job| job.goal == Goal::StopThenRun) {
            job.goal = Goal::Run;
            self.run();
            self.settle_running(now, actions);
        } else {
            actions.push(Action::CloseStreams);
            self.finish_job(actions);
        }
    }

    fn settle_running(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.retire_expired(now, actions);
        if !matches!(self.renewing, Some(Renewing::Overlap { .. })) {
            self.stop_surplus(now, actions);
        }
        if self.spawning.is_some() {
            return;
        }
        if self.warm_at.is_some_and(|at| now < at) {
            return;
        }
        self.warm_at = None;
        let wanted = self.wanted();
        if !wanted.is_empty() && self.rules.max_retry == Some(0) {
            // The documented meaning of max_retry = 0: not even one attempt.
            self.wind_down(now, actions);
            self.settle_stopping(now, actions);
            return;
        }
        let ready = |wid: &&Wid| {
            self.slots.get(wid).and_then(|slot| slot.not_before).is_none_or(|at| at <= now)
        };
        if let Some(wid) = wanted.iter().find(ready).copied() {
            self.spawning = Some(wid);
            actions.push(Action::Spawn(wid));
            return;
        }
        self.owed = self.owed.min(self.missing());
        if self.owed > 0 {
            return;
        }
        if self.renew_next(now, actions) {
            return;
        }
        self.become_active(now, actions);
    }

    fn become_active(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let nothing_left = self.workers.is_empty();
        if self.status == Status::Starting {
            if nothing_left && self.desired == 0 {
                self.wind_down(now, actions);
                self.settle_stopping(now, actions);
                return;
            }
            self.status = Status::Active;
            actions.push(Action::Publish(EventKind::Start));
            if !self.wanted().is_empty() {
                // Processes that ended, or could not be spawned, during the start.
                self.settle_running(now, actions);
                return;
            }
        }
        if nothing_left && (!self.rules.respawn || self.rules.on_demand) {
            self.wind_down(now, actions);
            self.settle_stopping(now, actions);
            return;
        }
        if self.workers.values().all(|worker| worker.stopping.is_none()) {
            self.finish_job(actions);
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
