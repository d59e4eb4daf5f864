//! Pipes that are not read for a moment, because their buffer is full and a watcher is about to
//! make room.
//!
//! A watcher that keeps up thus loses nothing however fast the process writes. One that does not
//! answer holds the process up for [`PATIENCE`] once; then its oldest output goes, as it does for
//! a process that nobody watches.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::epoll::EpollFlags;

use crate::poller::{Poller, ProcessId, Source};
use crate::process_table::ProcessTable;

/// How long a process may wait for a watcher's answer.
const PATIENCE: Duration = Duration::from_millis(100);

/// The pipes that wait, and until when; true is standard error.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    paused: BTreeMap<(ProcessId, bool), Instant>,
}

impl Flow {
    /// Stops reading a pipe.
    pub(crate) fn pause(
        &mut self,
        id: ProcessId,
        stderr: bool,
        processes: &ProcessTable,
        poller: &Poller,
    ) {
        if set_interest(id, stderr, EpollFlags::empty(), processes, poller) {
            self.paused.insert((id, stderr), Instant::now() + PATIENCE);
        }
    }

    /// Reads on where there is room, or where the wait has been long enough.
    pub(crate) fn resume(&mut self, processes: &mut ProcessTable, poller: &Poller) {
        if self.paused.is_empty() {
            return;
        }
        let now = Instant::now();
        self.paused.retain(|&(id, stderr), deadline| {
            if now >= *deadline {
                processes.lose_patience(id);
            } else if !processes.may_read(id) {
                return true;
            }
            set_interest(id, stderr, EpollFlags::EPOLLIN, processes, poller);
            false
        });
    }

    /// When the first wait has been long enough.
    pub(crate) fn next(&self) -> Option<&Instant> {
        self.paused.values().min()
    }
}

fn set_interest(
    id: ProcessId,
    stderr: bool,
    interest: EpollFlags,
    processes: &ProcessTable,
    poller: &Poller,
) -> bool {
    let Some(pipe) = processes.pipe(id, stderr) else { return false };
    match poller.change(pipe, Source::output(id, stderr), interest) {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(%error, "could not change how a pipe is watched");
            false
        }
    }
}
