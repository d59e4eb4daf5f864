//! One log file: open for appending, shared by all streams that name it.
//!
//! Every file has one owner in circusd, so that two streams on one file neither rotate against each other
//! nor write into a file that the other has renamed.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::super::intent::FileId;
use super::super::sink::Turn;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::Mutex as TurnMutex;

/// How long a pipe or terminal may be full before that counts as a failure, in milliseconds.
const FULL_PIPE: u16 = 200;

/// A file that several streams write to.
#[derive(Clone)]
pub(super) struct SharedLogFile {
    /// Whoever has it writes at the end that it has seen.
    pub(super) turn: Turn,
    file: Arc<Mutex<LogFile>>,
}

/// A log file, whether it is open or not.
pub(super) struct LogFile {
    path: PathBuf,
    open: Option<Open>,
    /// When one of the streams has rotated it last, in seconds since the epoch.
    pub(super) rotated: Option<i64>,
}

struct Open {
    file: File,
    /// Not a pipe, a terminal or a device: it has a size and can be renamed.
    regular: bool,
    size: u64,
    /// Nothing, or a whole line, comes before the end.
    ends_line: bool,
}

/// The file at `path` that all streams share.
pub(super) fn shared(path: &Path) -> SharedLogFile {
    type Known = (Weak<TurnMutex<()>>, Weak<Mutex<LogFile>>);
    static FILES: Mutex<BTreeMap<PathBuf, Known>> = Mutex::new(BTreeMap::new());
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    files.retain(|_, (_, file)| file.strong_count() > 0);
    if let Some((turn, file)) = files.get(&path)
        && let (Some(turn), Some(file)) = (turn.upgrade(), file.upgrade())
    {
        return SharedLogFile { turn, file };
    }
    let file = LogFile { path: path.clone(), open: None, rotated: None };
    let shared = SharedLogFile { turn: Turn::default(), file: Arc::new(Mutex::new(file)) };
    files.insert(path, (Arc::downgrade(&shared.turn), Arc::downgrade(&shared.file)));
    shared
}

impl SharedLogFile {
    /// The file, for whoever has the turn or only looks.
    pub(super) fn lock(&self) -> MutexGuard<'_, LogFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogFile {
    /// The name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file unless it is open. A file that has been deleted is made again; with `follow` also
    /// one that has been moved away.
    pub(super) fn ready(&mut self, follow: bool) -> io::Result<()> {
        if let Some(open) = &mut self.open {
            let metadata = open.file.metadata()?;
            let deleted = open.regular && metadata.nlink() == 0;
            let gone = deleted || (follow && is_elsewhere(&metadata, &self.path)?);
            if !gone {
                if open.regular && metadata.len() != open.size {
                    open.size = metadata.len();
                    open.ends_line = open.size == 0 || ends_with_line(&open.file);
                }
                return Ok(());
            }
            self.open = None;
        }
        let file = append(&self.path)?;
        let metadata = file.metadata()?;
        let regular = metadata.is_file();
        let size = if regular { metadata.len() } else { 0 };
        let ends_line = size == 0 || ends_with_line(&file);
        self.open = Some(Open { file, regular, size, ends_line });
        Ok(())
    }

    /// Whether it can be renamed and cut, which only a file on a disk can.
    pub(super) fn is_regular(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.regular)
    }

    /// Its size in bytes; 0 if it is not open or has none.
    pub(super) fn size(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.size)
    }

    /// Which file it is, if it is one that keeps what is written.
    pub(super) fn identity(&self) -> Option<FileId> {
        let open = self.open.as_ref().filter(|open| open.regular)?;
        open.file.metadata().ok().map(|metadata| FileId::of(&metadata))
    }

    /// Whether what comes next begins a line.
    pub(super) fn ends_line(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.ends_line)
    }

    /// Appends `bytes`. Returns how many of them it took, and why not all.
    pub(super) fn append(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let Some(open) = &mut self.open else {
            return (0, Err(io::ErrorKind::NotConnected.into()));
        };
        let mut written = 0;
        let mut result = Ok(());
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match open.file.write(rest) {
                Ok(0) => result = Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(open.file.as_fd(), PollFlags::POLLOUT)];
                    if poll(&mut fds, PollTimeout::from(FULL_PIPE)).unwrap_or(0) == 0 {
                        result = Err(error);
                    }
                }
                Err(error) => result = Err(error),
            }
            if result.is_err() {
                break;
            }
        }
        if written > 0 {
            open.ends_line = bytes.get(written - 1) == Some(&b'\n');
        }
        if open.regular {
            open.size += written as u64;
        }
        (written, result)
    }

    /// Takes back the last `bytes`, which were just appended. False when they have to stay.
    pub(super) fn take_back(&mut self, bytes: usize) -> bool {
        let Some(open) = self.open.as_mut().filter(|open| open.regular) else { return false };
        let size = open.size.saturating_sub(bytes as u64);
        // Somebody else may have appended meanwhile: that is not ours to cut.
        let untouched = open.file.metadata().is_ok_and(|metadata| metadata.len() == open.size);
        if !untouched || open.file.set_len(size).is_err() {
            return false;
        }
        open.size = size;
        // It is cut where a piece begins, which is where the file ended before.
        open.ends_line = size == 0 || ends_with_line(&open.file);
        true
    }

    /// Lets go of the file; the next [`Self::ready`] opens it again.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// When it was last written, in seconds since the epoch, if it is there.
    pub(super) fn modified(&self) -> Option<i64> {
        std::fs::metadata(&self.path).ok().map(|metadata| metadata.mtime())
    }
}

/// A file that can be read, too, if that is allowed. A pipe that nobody reads is an error, not a wait.
fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
    match options.clone().read(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => options.open(path),
        // Opened for both, a pipe is its own reader.
        Ok(file) if !file.metadata()?.is_file() => options.open(path),
        result => result,
    }
}

/// Another file, or none, is at `path`.
fn is_elsewhere(own: &Metadata, path: &Path) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) != (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// The last byte is a line feed, or cannot be read. Writes go to the end wherever the cursor is.
fn ends_with_line(mut file: &File) -> bool {
    let mut last = [b'\n'];
    let read = file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last));
    read.is_err() || last == *b"\n"
}
