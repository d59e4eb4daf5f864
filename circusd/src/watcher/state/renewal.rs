//! Reloads: replacing every process while the watcher stays active.

use super::super::vocabulary::{Renewal, Status, Token};
use super::super::wid::Wid;
use super::super::worker::Fate;
use super::{Goal, State};
use protocol::circus::event::EventKind;
use std::collections::VecDeque;
use std::time::Instant;

/// A reload in progress.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Renewing {
    /// So many new processes are still to be spawned; these have been.
    Overlap { left: u32, fresh: Vec<Wid> },
    /// These are still to be replaced, oldest first.
    OneByOne { old: VecDeque<Wid> },
}

impl State {
    /// Begins a reload. A watcher that is not active is started.
    pub(super) fn reload(&mut self, token: Token, renewal: Renewal) {
        self.begin(token, Goal::Run);
        if self.status != Status::Active {
            if !self.rules.on_demand || self.status != Status::Stopped {
                self.run();
            }
            return;
        }
        if let Some(job) = &mut self.job {
            job.event = Some(EventKind::Reload);
        }
        self.renewing = match renewal {
            // With nothing wanted there is nothing to wait for.
            Renewal::Overlap if self.desired == 0 => None,
            Renewal::Overlap => Some(Renewing::Overlap { left: self.desired, fresh: Vec::new() }),
            Renewal::OneByOne => Some(Renewing::OneByOne { old: self.oldest_first().into() }),
        };
    }

    /// No process comes of it. A reload is called off and the old processes stay; otherwise the watcher
    /// stops.
    pub(super) fn give_up(&mut self, now: Instant) {
        let Some(Renewing::Overlap { fresh, .. }) = self.renewing.take() else {
            self.refused_until = Some(now + self.rules.check_delay);
            self.wind_down();
            return;
        };
        self.failures = 0;
        self.cleared = false;
        if let Some(job) = &mut self.job {
            job.event = None;
        }
        for wid in fresh {
            self.ask_to_end(now, wid, Fate::Dismissed);
        }
    }

    /// Goes on with a reload one by one. True while it is under way.
    pub(super) fn renew_next(&mut self, now: Instant) -> bool {
        let Some(Renewing::OneByOne { old }) = &mut self.renewing else { return false };
        if self.workers.values().any(|worker| !worker.is_running()) {
            return true;
        }
        while let Some(wid) = old.pop_front() {
            if self.workers.contains_key(&wid) {
                self.ask_to_end(now, wid, Fate::Renewed);
                return true;
            }
        }
        self.renewing = None;
        false
    }
}
