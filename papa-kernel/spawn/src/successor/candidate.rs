//! The file that is to take over: opened once, so that what is rehearsed is what is started.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::errno::errno_text;

/// A file that looks like a program for this machine.
#[derive(Debug)]
pub struct Candidate {
    /// As it was given.
    pub path: PathBuf,
    file: File,
}

/// A file cannot take over.
#[derive(Debug, thiserror::Error)]
pub enum CandidateError {
    /// There is none, or it is not for us.
    #[error("Cannot open {} - {}", path.display(), errno_text(source))]
    Open {
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a directory or something else.
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    /// It is a script or something else.
    #[error("{} is not a program", .0.display())]
    NotAProgram(PathBuf),
    /// It would not run here.
    #[error("{} is a program for another machine", .0.display())]
    OtherMachine(PathBuf),
}

impl Candidate {
    /// Opens the file. What is no program is refused here: `exec` would give a text to a shell.
    ///
    /// # Errors
    /// [`CandidateError`] says what it is instead.
    pub fn open(path: PathBuf) -> Result<Self, CandidateError> {
        let opened = || -> io::Result<Option<File>> {
            if !path.metadata()?.is_file() {
                return Ok(None);
            }
            let mut options = OpenOptions::new();
            options.read(true).custom_flags(libc::O_NONBLOCK).open(&path).map(Some)
        };
        match opened() {
            Err(source) => Err(CandidateError::Open { path, source }),
            Ok(None) => Err(CandidateError::NotAFile(path)),
            Ok(Some(file)) => match (Machine::of(&file), own_machine()) {
                (None, _) => Err(CandidateError::NotAProgram(path)),
                (Some(its), Some(own)) if its != own => Err(CandidateError::OtherMachine(path)),
                _ => Ok(Self { path, file }),
            },
        }
    }

    /// A name for exactly this file, whatever its path names by now.
    pub fn open_name(&self) -> Vec<u8> {
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
