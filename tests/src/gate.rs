//! A place in a worker's script at which it waits until the test lets it go on.

use nix::sys::stat::Mode;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A FIFO from which a script reads a line to go on. It has both ends open itself, so that nobody waits for the
/// other to come, and a line stays until it is read.
pub struct Gate {
    path: PathBuf,
    fifo: File,
}

impl Gate {
    /// One that is closed.
    ///
    /// # Panics
    /// When something is at this path already.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).expect("a FIFO");
        let fifo = OpenOptions::new().read(true).write(true).open(&path).expect("it is ours");
        Self { path, fifo }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The command with which a shell waits before it.
    pub fn wait(&self) -> String {
        format!("read go < {}", self.path.display())
    }

    /// Lets one pass, now or when it comes.
    pub fn let_one_pass(&self) {
        (&self.fifo).write_all(b"\n").expect("a few bytes fit");
    }
}
