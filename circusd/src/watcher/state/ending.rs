//! Asking processes to end, insisting, and collecting them; the way to `stopped`.

use super::super::vocabulary::{Action, Status};
use super::super::wid::Wid;
use super::super::worker::{Fate, Stopping};
use super::hooking::Then;
use super::{Goal, State};
use crate::hook::call::HookCall;
use crate::hook::point::HookPoint;
use protocol::circus::event::EventKind;
use protocol::signal::Signal;
use std::time::{Duration, Instant};

impl State {
    pub(super) fn ask_to_end(&mut self, now: Instant, wid: Wid, fate: Fate) {
        let how = (self.rules.stop_signal, self.rules.graceful_timeout);
        self.ask(now, wid, how, fate);
    }

    /// The first word counts: a process that has been asked already keeps its deadline.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        wid: Wid,
        (signal, grace): (Signal, Duration),
        fate: Fate,
    ) {
        let Some(worker) = self.workers.get_mut(&wid) else { return };
        if let Some(stopping) = &mut worker.stopping {
            if fate == Fate::Dismissed {
                stopping.fate = fate;
            }
            return;
        }
        worker.stopping = Some(Stopping { kill_at: now + grace, grace, killed: false, fate });
        let pid = worker.pid;
        self.hook(HookCall::BeforeSignal { pid, signal }, Then::Deliver { wid, signal });
    }

    /// Sends the signal that asks, or not, if a hook did not want it. The grace period begins now.
    pub(super) fn deliver(&mut self, now: Instant, wid: Wid, signal: Signal, wanted: bool) {
        let Some(worker) = self.workers.get_mut(&wid) else { return };
        if let Some(stopping) = &mut worker.stopping {
            stopping.kill_at = now + stopping.grace;
        }
        let pid = worker.pid;
        if wanted {
            self.act(Action::Signal(wid, signal));
        }
        self.hook(HookCall::AfterSignal { pid, signal }, Then::Nothing);
        self.act(Action::Publish(EventKind::Kill { pid }));
    }

    pub(super) fn insist(&mut self, wid: Wid) {
        let Some(pid) = self.pid(wid) else { return };
        self.act(Action::Escalate(wid));
        self.hook(HookCall::AfterSignal { pid, signal: Signal::KILL }, Then::Nothing);
        self.act(Action::Publish(EventKind::Kill { pid }));
    }

    pub(super) fn hurry(&mut self, now: Instant) {
        self.rules.graceful_timeout = Duration::ZERO;
        for worker in self.workers.values_mut() {
            if let Some(stopping) = &mut worker.stopping {
                stopping.kill_at = stopping.kill_at.min(now);
            }
        }
    }

    pub(super) fn kill_overdue(&mut self, now: Instant) {
        let mut overdue = Vec::new();
        for (wid, worker) in &mut self.workers {
            let Some(stopping) = &mut worker.stopping else { continue };
            if !stopping.killed && stopping.kill_at <= now {
                stopping.killed = true;
                overdue.push((*wid, worker.pid));
            }
        }
        for (wid, pid) in overdue {
            self.hook(HookCall::BeforeSignal { pid, signal: Signal::KILL }, Then::Insist(wid));
        }
    }

    pub(super) fn retire_expired(&mut self, now: Instant) {
        if self.status != Status::Active {
            return;
        }
        for wid in self.oldest_first() {
            let expires = self.workers.get(&wid).and_then(|worker| worker.expires);
            if expires.is_some_and(|at| at <= now) {
                self.ask_to_end(now, wid, Fate::Renewed);
            }
        }
    }

    /// More processes than wanted: the oldest go.
    pub(super) fn stop_surplus(&mut self, now: Instant) {
        let surplus = self.filled().saturating_sub(self.desired);
        let mut count = usize::try_from(surplus).unwrap_or(usize::MAX);
        // Those that are ending anyway need no successor, which costs nothing.
        for stopping in self.workers.values_mut().filter_map(|worker| worker.stopping.as_mut()) {
            if count > 0 && stopping.fate != Fate::Dismissed {
                stopping.fate = Fate::Dismissed;
                count -= 1;
            }
        }
        for wid in self.oldest_first().into_iter().take(count) {
            self.ask_to_end(now, wid, Fate::Dismissed);
        }
    }

    pub(super) fn wind_down(&mut self) {
        self.owed = 0;
        self.warm_at = None;
        self.renewing = None;
        self.cleared = false;
        match self.status {
            Status::Stopped if self.workers.is_empty() => return,
            Status::Stopping => {}
            Status::Stopped | Status::Starting | Status::Active => {
                self.status = Status::Stopping;
                self.hook(HookCall::Plain(HookPoint::BeforeStop), Then::Nothing);
            }
        }
        // Those that were dismissed with a successor in view get none any more.
        for stopping in self.workers.values_mut().filter_map(|worker| worker.stopping.as_mut()) {
            stopping.fate = Fate::Dismissed;
        }
        self.go(Then::AskAll);
    }

    pub(super) fn reap(&mut self, now: Instant, wid: Wid, exit_code: Option<i32>) {
        let Some(pid) = self.pid(wid) else { return };
        if self.workers.get(&wid).is_some_and(|worker| !worker.announced && !worker.refused) {
            // Adopted, and gone before the start. Who counts must see it come, too.
            self.announce(wid);
        }
        let Some(worker) = self.workers.remove(&wid) else { return };
        self.act(Action::Forget(wid));
        if !worker.refused {
            self.act(Action::Publish(EventKind::Reap { pid, exit_code }));
        }
        let asked = worker.stopping.is_some();
        self.hook(HookCall::AfterReap { pid, exit_code, asked }, Then::Nothing);
        match worker.stopping.map(|stopping| stopping.fate) {
            None => self.pace(now, wid, now.saturating_duration_since(worker.since)),
            Some(Fate::Renewed) if self.status != Status::Stopping => self.owed += 1,
            Some(Fate::Renewed | Fate::Dismissed | Fate::Killed) => {}
        }
    }

    pub(super) fn settle_stopping(&mut self) {
        if !self.workers.is_empty() || self.spawning.is_some() {
            return;
        }
        self.status = Status::Stopped;
        self.slots.clear();
        self.act(Action::Publish(EventKind::Stop));
        self.hook(HookCall::Plain(HookPoint::AfterStop), Then::Stopped);
    }

    /// The watcher has stopped, and its hooks know it.
    pub(super) fn stopped(&mut self) {
        if let Some(job) = self.job.as_mut().filter(|job| job.goal == Goal::StopThenRun) {
            job.goal = Goal::Run;
            self.run();
        } else {
            self.close_streams();
        }
    }

    pub(super) fn close_streams(&mut self) {
        self.act(Action::CloseStreams);
        self.hook(HookCall::Plain(HookPoint::Close), Then::Nothing);
    }
}
