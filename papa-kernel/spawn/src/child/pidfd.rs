//! A handle on one process that cannot be confused with a later one of the same number.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::exit::Exit;
use crate::sys;

/// A process, held by a descriptor that becomes readable when it ends.
#[derive(Debug)]
pub struct PidFd<F = OwnedFd>(F);

impl PidFd {
    /// Opens a handle on `pid`. Free of races only for a child that is not yet reaped.
    ///
    /// # Errors
    /// When there is no such process, or no descriptor is left.
    pub fn open(pid: i32) -> io::Result<Self> {
        sys::pidfd_open(pid).map(Self)
    }
}

impl<F: AsFd> PidFd<F> {
    /// Sends a signal to the process.
    ///
    /// # Errors
    /// `ESRCH` when it is gone, `EPERM` when it is not ours to signal.
    pub fn send_signal(&self, signal: i32) -> io::Result<()> {
        sys::pidfd_send_signal(self.as_fd(), signal)
    }

    /// How the child ended, if it has; it stays a zombie, so its pid cannot be used again.
    ///
    /// # Errors
    /// `ECHILD` when it is not our child or was reaped.
    pub fn peek(&self) -> io::Result<Option<Exit>> {
        sys::wait_pidfd(self.as_fd(), true)
    }

    /// How the child ended, if it has, and lets go of its pid.
    ///
    /// # Errors
    /// `ECHILD` when it is not our child or was reaped.
    pub fn reap(&self) -> io::Result<Option<Exit>> {
        sys::wait_pidfd(self.as_fd(), false)
    }
}

impl<F> From<F> for PidFd<F> {
    fn from(fd: F) -> Self {
        Self(fd)
    }
}

impl From<PidFd> for OwnedFd {
    fn from(process: PidFd) -> Self {
        process.0
    }
}

impl<F: AsFd> AsFd for PidFd<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
