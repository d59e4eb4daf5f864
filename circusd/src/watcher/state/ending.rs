//! Asking processes to end, and insisting.

use super::super::vocabulary::{Action, Status};
use super::super::wid::Wid;
use super::super::worker::{Fate, Stopping};
use super::State;
use protocol::circus::event::EventKind;
use protocol::signal::Signal;
use std::time::{Duration, Instant};

impl State {
    pub(super) fn ask_to_end(
        &mut self,
        now: Instant,
        wid: Wid,
        fate: Fate,
        actions: &mut Vec<Action>,
    ) {
        let how = (self.rules.stop_signal, self.rules.graceful_timeout);
        self.ask(now, wid, how, fate, actions);
    }

    /// The first word counts: a process that has been asked already keeps its deadline.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        wid: Wid,
        (signal, grace): (Signal, Duration),
        fate: Fate,
        actions: &mut Vec<Action>,
    ) {
        let Some(worker) = self.workers.get_mut(&wid) else { return };
        if let Some(stopping) = &mut worker.stopping {
            if fate == Fate::Dismissed {
                stopping.fate = fate;
            }
            return;
        }
        worker.stopping = Some(Stopping { kill_at: now + grace, killed: false, fate });
        actions.push(Action::Signal(wid, signal));
        actions.push(Action::Publish(EventKind::Kill { pid: worker.pid }));
    }

    pub(super) fn hurry(&mut self, now: Instant) {
        self.rules.graceful_timeout = Duration::ZERO;
        for worker in self.workers.values_mut() {
            if let Some(stopping) = &mut worker.stopping {
                stopping.kill_at = stopping.kill_at.min(now);
            }
        }
    }

    pub(super) fn kill_overdue(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for (wid, worker) in &mut self.workers {
            let Some(stopping) = &mut worker.stopping else { continue };
            if !stopping.killed && stopping.kill_at <= now {
                stopping.killed = true;
                actions.push(Action::Escalate(*wid));
                actions.push(Action::Publish(EventKind::Kill { pid: worker.pid }));
            }
        }
    }

    pub(super) fn retire_expired(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.status != Status::Active {
            return;
        }
        for wid in self.oldest_first() {
            let expires = self.workers.get(&wid).and_then(|worker| worker.expires);
            if expires.is_some_and(|at| at <= now) {
                self.ask_to_end(now, wid, Fate::Renewed, actions);
            }
        }
    }

    /// More processes than wanted: the oldest go.
    pub(super) fn stop_surplus(&mut self, now: Instant, actions: &mut Vec<Action>) {
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
            self.ask_to_end(now, wid, Fate::Dismissed, actions);
        }
        self.kill_overdue(now, actions);
    }
}
