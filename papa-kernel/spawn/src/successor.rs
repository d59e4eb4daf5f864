//! Becoming another program in the same process, with a way back.
//!
//! Both daemons are upgraded so. What an exec keeps, such as the pid, children and descriptors without
//! close-on-exec, needs nothing here. The next program has the words of this one.

mod candidate;
mod memory;

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::alarm;

pub use candidate::{Candidate, CandidateError};
pub use memory::{read_sealed, write_sealed};

use crate::sys;

/// Names and values.
pub type Environment = Vec<(Vec<u8>, Vec<u8>)>;

/// The environment of this program without what the program before may have put there for it.
pub fn environment(without: &[&str]) -> Environment {
    std::env::vars_os()
        .filter(|(name, _)| !without.iter().any(|own| name == own))
        .map(|(name, value)| (name.into_vec(), value.into_vec()))
        .collect()
}

/// Replaces this program. Returns what failed; nothing has changed then.
pub fn become_program(program: impl AsFd, environment: &Environment) -> io::Error {
    match nix::unistd::fexecve(program, &words(), &assignments(environment)) {
        Ok(never) => match never {},
        Err(errno) => errno.into(),
    }
}

/// The words this program was started with.
fn words() -> Vec<CString> {
    // They were C strings when they came.
    std::env::args_os().map(OsString::into_vec).filter_map(|word| CString::new(word).ok()).collect()
}

fn assignments(environment: &Environment) -> Vec<CString> {
    let joined = environment.iter().map(|(name, value)| [name, &b"="[..], value].concat());
    joined.filter_map(|assignment| CString::new(assignment).ok()).collect()
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
    /// disarmed `within` a time, which is rounded up to whole seconds.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn arm(
        program: RawFd,
        environment: &Environment,
        within: Option<Duration>,
    ) -> io::Result<Self> {
        let timer = within.map(|_| Signal::SIGALRM);
        let signals: Vec<Signal> = sys::CRASHES.into_iter().chain(timer).collect();
        let handlers = sys::arm(&signals, program, &words(), &assignments(environment))?;
        if let Some(within) = within {
            let seconds = within.as_millis().div_ceil(1000).clamp(1, u32::MAX.into());
            alarm::set(u32::try_from(seconds).unwrap_or(u32::MAX));
        }
        Ok(Self { handlers })
    }

    /// The way back is not needed any more.
    pub fn disarm(self) {
        if self.handlers.iter().any(|(signal, _)| *signal == Signal::SIGALRM) {
            alarm::cancel();
        }
        sys::disarm(self.handlers);
    }
}
