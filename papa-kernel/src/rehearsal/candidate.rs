//! The file that is to take over: opened once, so that what is rehearsed is what is started.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use papa_spawn::errno::errno_text;

use crate::refusal::Refusal;

/// A file that looks like a program for this machine.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) path: PathBuf,
    file: File,
}

impl Candidate {
    /// Opens the file. What is no program is refused here: `exec` would give a text to a shell.
    pub(crate) fn open(path: &[u8]) -> Result<Self, Refusal> {
        let path = PathBuf::from(OsStr::from_bytes(path));
        let shown = path.display();
        let refused = |text: String| Err(Refusal::new(text));
        if !path.is_absolute() {
            return refused(format!(
                "The path of the new kernel must be absolute, not \"{shown}\""
            ));
        }
        let opened = || -> io::Result<Option<File>> {
            if !path.metadata()?.is_file() {
                return Ok(None);
            }
            let mut options = OpenOptions::new();
            options.read(true).custom_flags(libc::O_NONBLOCK).open(&path).map(Some)
        };
        let file = match opened() {
            Err(error) => return refused(format!("Cannot open {shown} - {}", errno_text(&error))),
            Ok(None) => return refused(format!("{shown} is not a file")),
            Ok(Some(file)) => file,
        };
        match (Machine::of(&file), own_machine()) {
            (None, _) => refused(format!("{shown} is not a program")),
            (Some(its), Some(own)) if its != own => {
                refused(format!("{shown} is a program for another machine"))
            }
            _ => Ok(Self { path, file }),
        }
    }

    /// A name for exactly this file, whatever its path names by now.
    pub(super) fn open_name(&self) -> Vec<u8> {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into_bytes()
    }
}

impl AsFd for Candidate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// What an ELF file says about where it runs: word size, byte order and processor.
#[derive(Debug, PartialEq, Eq)]
struct Machine([u8; 2], [u8; 2]);

impl Machine {
    fn of(file: &File) -> Option<Self> {
        let mut head = [0; 20];
        file.read_exact_at(&mut head, 0).ok()?;
        let [0x7f, b'E', b'L', b'F', class, order, .., low, high] = head else { return None };
        Some(Self([class, order], [low, high]))
    }
}

fn own_machine() -> Option<Machine> {
    Machine::of(&File::open(Path::new("/proc/self/exe")).ok()?)
}
