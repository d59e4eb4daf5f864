//! Becoming another program in the same process, with a way back.
//!
//! Used by circusd, whose upgrade goes over the same exec as that of the kernel. What an exec keeps, such as
//! the pid, children and descriptors without close-on-exec, needs nothing here.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::alarm;

use crate::sys;

/// Replaces this program. Returns what failed; nothing has changed then.
pub fn become_program(program: impl AsFd, words: &[CString], environment: &[CString]) -> io::Error {
    match nix::unistd::fexecve(program, words, environment) {
        Ok(never) => match never {},
        Err(errno) => errno.into(),
    }
}

/// Lets a descriptor live on in the next program.
///
/// # Errors
/// As fcntl(2).
pub fn pass_on(fd: BorrowedFd<'_>) -> io::Result<()> {
    sys::set_close_on_exec(fd.as_raw_fd(), false)
}

/// Takes a descriptor that the program before has passed on. It is close-on-exec from now on. Only for
/// numbers that this program has from its predecessor, and once for each.
///
/// # Errors
/// It is not open.
pub fn take(fd: RawFd) -> io::Result<OwnedFd> {
    sys::set_close_on_exec(fd, true)?;
    sys::adopt(fd)
}

/// A program to go back to. While it lives, a crash turns this process into that program, and so does the
/// end of its time.
#[derive(Debug)]
pub struct WayBack {
    handlers: sys::Handlers,
}

impl WayBack {
    /// From now on a crash turns this process into `program`, which must stay open; so does not being
    /// disarmed within this time, which is rounded up to whole seconds.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn arm(
        program: BorrowedFd<'_>,
        words: &[CString],
        environment: &[CString],
        within: Duration,
    ) -> io::Result<Self> {
        let signals: Vec<Signal> = sys::CRASHES.into_iter().chain([Signal::SIGALRM]).collect();
        let handlers = sys::arm(&signals, program.as_raw_fd(), words, environment)?;
        let seconds = within.as_millis().div_ceil(1000).clamp(1, u32::MAX.into());
        alarm::set(u32::try_from(seconds).unwrap_or(u32::MAX));
        Ok(Self { handlers })
    }

    /// The way back is not needed any more.
    pub fn disarm(self) {
        alarm::cancel();
        sys::disarm(self.handlers);
    }
}
