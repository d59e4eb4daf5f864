//! Pipes that are not read for a moment, because their buffer is full and a watcher is about to
//! make room.
//!
//! A watcher that keeps up thus loses nothing however fast the process writes. One that does not
//! answer holds the process up for [`PATIENCE`] once; then its oldest output goes, as it does for
//! a process that nobody watches.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::epoll::EpollFlags;

use crate::poller::{PipeId, Poller, Source};
use crate::process_table::ProcessTable;

/// How long a process may wait for a watcher's answer.
const PATIENCE: Duration = Duration::from_millis(100);

/// The pipes that wait, and until when.
#[derive(Debug, Default)]
pub(crate) struct Flow(BTreeMap<PipeId, Instant>);

impl Flow {
    /// Stops reading a pipe.
    pub(crate) fn pause(&mut self, id: PipeId, processes: &ProcessTable, poller: &Poller) {
        if set_interest(id, EpollFlags::empty(), processes, poller) {
            self.0.insert(id, Instant::now() + PATIENCE);
        }
    }

    /// Reads on where there is room, or where the wait has been long enough.
    pub(crate) fn resume(&mut self, processes: &mut ProcessTable, poller: &Poller) {
        self.0.retain(|&id, deadline| {
            if Instant::now() >= *deadline {
                processes.lose_patience(id.0);
            } else if !processes.may_read(id.0) {
                return true;
            }
            set_interest(id, EpollFlags::EPOLLIN, processes, poller);
            false
        });
    }

    /// When the first wait has been long enough.
    pub(crate) fn next(&self) -> Option<&Instant> {
        self.0.values().min()
    }
}

fn set_interest(id: PipeId, events: EpollFlags, processes: &ProcessTable, poller: &Poller) -> bool {
    let Some(pipe) = processes.pipe(id) else { return false };
    let changed = poller.change(pipe, Source::Output(id), events);
    changed
        .inspect_err(|error| tracing::error!(%error, "could not change how a pipe is watched"))
        .is_ok()
}
