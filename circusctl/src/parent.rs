//! Following the circusd that started us into its end.
//!
//! Used by the programs that circusd starts; one that was merely pointed at a circusd outlives it.

use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};
use std::os::fd::OwnedFd;

/// Readable when the circusd with this pid has ended; none if it is not our parent.
pub fn end_of(circusd: i32) -> Option<OwnedFd> {
    let parent = getppid().filter(|parent| parent.as_raw_nonzero().get() == circusd);
    parent.and_then(|parent: Pid| pidfd_open(parent, PidfdFlags::empty()).ok())
}
