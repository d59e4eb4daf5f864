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
    /// Stops reading a pipe. The poller forgets it, because it would go on to tell that the writers have gone.
    pub(crate) fn pause(&mut self, id: PipeId, processes: &ProcessTable, poller: &Poller) {
        let Some(pipe) = processes.pipe(id) else { return };
        match poller.remove(pipe) {
            Ok(()) => drop(self.0.insert(id, Instant::now() + PATIENCE)),
            Err(error) => tracing::error!(%error, "could not stop watching a pipe"),
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
            let Some(pipe) = processes.pipe(id) else { return false };
            let added = poller.add(pipe, Source::Output(id), EpollFlags::EPOLLIN);
            if let Err(error) = &added {
                tracing::error!(%error, "could not go on watching a pipe; trying again");
                *deadline = Instant::now() + PATIENCE;
            }
            added.is_err()
        });
    }

    /// When the first wait has been long enough.
    pub(crate) fn next(&self) -> Option<&Instant> {
        self.0.values().min()
    }
}
