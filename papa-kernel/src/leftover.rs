//! What is left of processes that are gone; above all pipes that somebody still holds.
//!
//! The end of the process was reported, so nothing can be delivered under its name any more. What a
//! grandchild writes is read and thrown away, which keeps it from blocking or dying of SIGPIPE.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use papa_handover::Descriptor;

use crate::poller::PipeId;

/// Pipes kept; beyond that the oldest is closed.
pub(crate) const MOST_LEFTOVERS: usize = 1024;

/// What is left.
#[derive(Debug, Default, Encode, Decode)]
pub(crate) struct Leftovers {
    pub(crate) pipes: BTreeMap<PipeId, Descriptor>,
    /// Pidfds of processes that were killed because their end could not be watched for; not yet reaped.
    pub(crate) doomed: Vec<Descriptor>,
    /// Bytes evicted from the rings of processes that are gone.
    pub(crate) dropped: u64,
    /// Bytes of pipes thrown away so far.
    pub(crate) discarded: u64,
}

impl Leftovers {
    /// Goes on reading a pipe.
    pub(crate) fn keep(&mut self, id: PipeId, pipe: Descriptor) {
        self.pipes.insert(id, pipe);
        if self.pipes.len() > MOST_LEFTOVERS {
            tracing::warn!("closed the oldest pipe that outlived its process");
            self.pipes.pop_first();
        }
    }

    /// Reads a pipe once and throws away what was there; closes it at its end.
    pub(crate) fn drain(&mut self, id: PipeId, buffer: &mut [u8]) {
        let Some(pipe) = self.pipes.get(&id) else { return };
        match nix::unistd::read(pipe, buffer) {
            Ok(0) => drop(self.pipes.remove(&id)),
            Ok(count) => self.discarded += count as u64,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
            Err(_) => drop(self.pipes.remove(&id)),
        }
    }
}
