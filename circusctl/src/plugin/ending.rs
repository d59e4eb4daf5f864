//! The signals that end a plugin, as something to wait for.

use crate::interrupt;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// Takes SIGTERM and SIGINT from now on.
pub struct Ending {
    /// Never read, so it stays readable.
    noticed: UnixStream,
}

impl Ending {
    /// Takes both signals from their default, which ends us at once. Whoever waits for circusd meanwhile gives
    /// up.
    ///
    /// # Errors
    /// When the process is out of fds.
    pub fn watch() -> io::Result<Self> {
        let (noticed, told) = UnixStream::pair()?;
        for signal in [SIGTERM, SIGINT] {
            interrupt::note_signal(signal);
            pipe::register(signal, told.try_clone()?)?;
        }
        Ok(Self { noticed })
    }

    /// Readable once one of them has come.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.noticed.as_fd()
    }
}
