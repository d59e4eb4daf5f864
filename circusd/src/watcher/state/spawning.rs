//! Getting processes: when one is spawned, and what a new one means.

use super::super::vocabulary::{Action, Status};
use super::super::wid::Wid;
use super::super::worker::{Fate, Worker};
use super::hooking::Then;
use super::renewal::Renewing;
use super::{Goal, State};
use crate::hook::call::HookCall;
use crate::hook::point::HookPoint;
use protocol::circus::event::EventKind;
use std::time::{Duration, Instant};

impl State {
    /// Moves towards running. A watcher that is stopping goes on once the last process is gone.
    pub(super) fn run(&mut self) {
        match self.status {
            Status::Stopped if self.workers.is_empty() => {
                self.hook(HookCall::Plain(HookPoint::Load), Then::Loaded);
            }
            // With processes of an earlier circusd nothing starts; they only become known.
            Status::Stopped => {
                self.go_starting();
                for wid in self.oldest_first() {
                    let unknown = self.workers.get(&wid).filter(|worker| !worker.announced);
                    if let Some(pid) = unknown.map(|worker| worker.pid) {
                        self.hook(HookCall::AfterSpawn { pid }, Then::Adopt(wid));
                    }
                }
            }
            Status::Starting | Status::Active => self.owed = self.missing(),
            Status::Stopping => {
                if let Some(job) = &mut self.job {
                    job.goal = Goal::StopThenRun;
                }
            }
        }
    }

    pub(super) fn go_starting(&mut self) {
        self.status = Status::Starting;
        self.failures = 0;
        self.refused_until = None;
        self.owed = self.missing();
        self.hook(HookCall::Plain(HookPoint::Open), Then::Nothing);
    }

    pub(super) fn add_worker(
        &mut self,
        now: Instant,
        wid: Wid,
        pid: i32,
        lifetime: Option<Duration>,
        announced: bool,
    ) {
        self.sequence += 1;
        let (expires, sequence) = (lifetime.map(|lifetime| now + lifetime), self.sequence);
        let stopping = None;
        let refused = false;
        let worker = Worker { pid, since: now, sequence, expires, stopping, announced, refused };
        self.workers.insert(wid, worker);
    }

    /// A hook has agreed to a new process, or there was none to ask.
    pub(super) fn announce(&mut self, wid: Wid) {
        if let Some(worker) = self.workers.get_mut(&wid) {
            worker.announced = true;
            let pid = worker.pid;
            self.act(Action::Publish(EventKind::Spawn { pid }));
        }
    }

    pub(super) fn spawned(&mut self, now: Instant, wid: Wid, agreed: bool) {
        self.spawning = None;
        self.cleared = false;
        self.failures = 0;
        let overlap = if let Some(Renewing::Overlap { left, fresh }) = &mut self.renewing {
            fresh.push(wid);
            *left -= 1;
            true
        } else {
            false
        };
        if !agreed {
            if let Some(worker) = self.workers.get_mut(&wid) {
                worker.refused = true;
            }
            self.give_up(now);
            return;
        }
        self.announce(wid);
        if self.status == Status::Stopping {
            self.ask_to_end(now, wid, Fate::Dismissed);
        } else if overlap {
            if matches!(self.renewing, Some(Renewing::Overlap { left: 0, .. })) {
                self.renewing = None;
            }
        } else if self.owed > 0 {
            self.owed -= 1;
            self.warm_at = Some(now + self.rules.warmup_delay);
        }
    }

    pub(super) fn spawn_failed(&mut self, now: Instant, wid: Wid, transient: bool) {
        self.spawning = None;
        if transient || self.rules.max_retry.is_none() {
            // Tried again for as long as it takes, but not in a hurry, and nobody is kept waiting for it.
            self.pace(now, wid, Duration::ZERO);
            self.owed = 0;
            return;
        }
        self.failures += 1;
        if self.rules.max_retry.is_some_and(|limit| self.failures >= limit) {
            self.give_up(now);
        }
    }

    pub(super) fn pace(&mut self, now: Instant, wid: Wid, lived: Duration) {
        let slot = self.slots.entry(wid).or_default();
        let ceiling = self.rules.check_delay;
        let young = if self.fails_late { ceiling } else { Duration::ZERO };
        let wait = slot.pacing.after_death(lived, ceiling, young);
        slot.not_before = (wait > Duration::ZERO).then(|| now + wait);
    }

    pub(super) fn settle_running(&mut self, now: Instant) {
        self.retire_expired(now);
        if !matches!(self.renewing, Some(Renewing::Overlap { .. })) {
            self.stop_surplus(now);
        }
        if !self.agenda.is_empty() || self.spawning.is_some() {
            return;
        }
        if self.warm_at.is_some_and(|at| now < at) {
            return;
        }
        self.warm_at = None;
        let wanted = self.wanted();
        if !wanted.is_empty() && self.rules.max_retry == Some(0) {
            // The documented meaning of max_retry = 0: not even one attempt.
            self.wind_down();
            return;
        }
        let ready = |wid: &&Wid| {
            self.slots.get(wid).and_then(|slot| slot.not_before).is_none_or(|at| at <= now)
        };
        if let Some(wid) = wanted.iter().find(ready).copied() {
            self.spawning = Some(wid);
            if self.cleared {
                self.act(Action::Spawn(wid));
            } else {
                self.hook(HookCall::Plain(HookPoint::BeforeSpawn), Then::Spawn(wid));
            }
            return;
        }
        self.owed = self.owed.min(self.missing());
        if self.owed > 0 || self.renew_next(now) {
            return;
        }
        self.become_active();
    }

    pub(super) fn become_active(&mut self) {
        let nothing_left = self.workers.is_empty();
        if self.status == Status::Starting {
            if nothing_left && self.desired == 0 {
                self.wind_down();
            } else {
                self.hook(HookCall::Plain(HookPoint::AfterStart), Then::Started);
            }
            return;
        }
        if nothing_left && (!self.rules.respawn || self.rules.on_demand) {
            self.wind_down();
            return;
        }
        if self.workers.values().all(|worker| worker.stopping.is_none()) {
            self.finish_job();
        }
    }
}
