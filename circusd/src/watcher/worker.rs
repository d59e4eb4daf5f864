//! One process of a watcher, as the machine sees it.

use super::pacing::Pacing;
use std::time::{Duration, Instant};

/// A live process.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Worker {
    pub(super) pid: i32,
    pub(super) since: Instant,
    /// Spawn order, for "the oldest".
    pub(super) sequence: u64,
    /// When it is too old.
    pub(super) expires: Option<Instant>,
    pub(super) stopping: Option<Stopping>,
    /// Its `spawn` event is out.
    pub(super) announced: bool,
    /// A hook did not want it: nobody hears of it.
    pub(super) refused: bool,
}

impl Worker {
    /// It has not been asked to end.
    pub(super) fn is_running(&self) -> bool {
        self.stopping.is_none()
    }

    /// It fills a place: it runs, or its place is kept for its successor until it is gone.
    pub(super) fn holds_place(&self) -> bool {
        self.stopping.is_none_or(|stopping| stopping.fate != Fate::Dismissed)
    }
}

/// A process that has been asked to end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stopping {
    pub(super) kill_at: Instant,
    /// Time from the signal to SIGKILL.
    pub(super) grace: Duration,
    pub(super) killed: bool,
    pub(super) fate: Fate,
}

/// What becomes of the place of a process that has been asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is given up, or already filled.
    Dismissed,
    /// A successor comes when it is gone, whatever `respawn` says.
    Renewed,
    /// The same as if it had ended by itself, but without a pause.
    Killed,
}

/// What is remembered of a slot between its processes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Slot {
    pub(super) pacing: Pacing,
    pub(super) not_before: Option<Instant>,
}
