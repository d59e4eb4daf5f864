//! What a watcher is in the middle of and what it waits for, told to people. Changes nothing.

use super::super::vocabulary::Status;
use super::super::wid::Wid;
use super::super::worker::Stopping;
use super::State;
use std::time::{Duration, Instant};

/// Processes that have been asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoppingView {
    /// So many are still there.
    pub left: usize,
    /// Of so many.
    pub of: usize,
    /// How long the first of them has had.
    pub waited: Duration,
    /// How long the slowest of them has until SIGKILL, counted from when it was asked.
    pub limit: Duration,
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// A command or, if on demand, a connection.
    Start,
    /// Processes to end.
    Exits,
    /// A process that is being started.
    Spawn,
    /// The pause between two starts, this long.
    WarmUp(Duration),
    /// The pause after a death or a failed start of this slot, this long.
    Retry(Wid, Duration),
    /// A hook that runs.
    Hook(&'static str),
    /// Nothing: all is as it should be.
    Nothing,
}

/// The answer to "why".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// Processes that have not been asked to end.
    pub running: usize,
    /// Those that have.
    pub stopping: Option<StoppingView>,
    /// What happens next.
    pub waits_for: WaitsFor,
    /// Starts that failed in a row.
    pub failures: u32,
    /// How many of them are too many.
    pub max_retry: Option<u32>,
}

impl State {
    /// The process of a slot has been asked to end.
    pub fn has_asked(&self, wid: Wid) -> bool {
        self.workers.get(&wid).is_some_and(|worker| !worker.is_running())
    }

    /// How it looks at `now`.
    pub fn outlook(&self, now: Instant) -> Outlook {
        Outlook {
            running: self.workers.values().filter(|worker| worker.is_running()).count(),
            stopping: self.stopping(now),
            waits_for: self.waits_for(now),
            failures: self.failures,
            max_retry: self.rules.max_retry,
        }
    }

    fn stopping(&self, now: Instant) -> Option<StoppingView> {
        let asked = || self.workers.values().filter_map(|worker| worker.stopping);
        let left = asked().count();
        // The one that has had the longest time is the one with the least left of its own.
        let had = |stopping: Stopping| {
            stopping.grace.saturating_sub(stopping.kill_at.saturating_duration_since(now))
        };
        let waited = asked().map(had).max()?;
        let limit = asked().map(|stopping| stopping.grace).max()?;
        // An operation knows how many there were when it began.
        let before = self.job.as_ref().map_or(0, |job| job.before.len());
        let of = if self.status == Status::Stopping { left.max(before) } else { left };
        Some(StoppingView { left, of, waited, limit })
    }

    fn waits_for(&self, now: Instant) -> WaitsFor {
        if let Some(hook) = self.asked_hook() {
            return WaitsFor::Hook(hook);
        }
        match self.status {
            Status::Stopped => return WaitsFor::Start,
            Status::Stopping => return WaitsFor::Exits,
            Status::Starting | Status::Active => {}
        }
        if self.spawning.is_some() {
            return WaitsFor::Spawn;
        }
        let wanted = self.wanted();
        let left = |at: Instant| at.saturating_duration_since(now);
        if let Some(at) = self.warm_at.filter(|at| *at > now && !wanted.is_empty()) {
            return WaitsFor::WarmUp(left(at));
        }
        let tries = wanted.iter().filter_map(|wid| Some((self.slots.get(wid)?.not_before?, *wid)));
        match tries.min() {
            Some((at, wid)) => WaitsFor::Retry(wid, left(at)),
            None if self.workers.values().any(|worker| !worker.is_running()) => WaitsFor::Exits,
            None => WaitsFor::Nothing,
        }
    }
}
