//! The pidfile: says which process is the daemon, and goes away with it.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bytes that a pid file may have, whatever they are: somebody may have written it by hand.
const LONGEST: u64 = 64;

/// The pidfile cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum PidfileError {
    /// Another daemon is alive.
    #[error("the pid file `{path}` names the running process {pid}; is another circusd running?")]
    Alive {
        /// The file.
        path: PathBuf,
        /// The process.
        pid: i32,
    },
    /// Another daemon starts at this moment.
    #[error("another circusd holds the pid file `{0}`")]
    Held(PathBuf),
    /// There is no such directory.
    #[error("the directory of the pid file `{0}` does not exist")]
    NoDirectory(PathBuf),
    /// It must be a mistake: it would be lost.
    #[error("the pid file `{0}` is there already and is no pid file; name another one")]
    SomethingElse(PathBuf),
    /// The file cannot be written.
    #[error("cannot write the pid file `{path}`: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The pidfile of this process; removed when dropped.
#[derive(Debug)]
pub struct Pidfile {
    path: PathBuf,
    /// Locked, so that of two daemons that start together one is refused.
    file: File,
}

impl Pidfile {
    /// Writes our pid. A file that names no live process is taken over, unless it cannot have been a pid file.
    ///
    /// # Errors
    /// [`PidfileError`].
    pub fn create(path: &Path) -> Result<Self, PidfileError> {
        let wrong = |source: io::Error| PidfileError::Write { path: path.to_owned(), source };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if parent.is_some_and(|parent| !parent.is_dir()) {
            return Err(PidfileError::NoDirectory(path.to_owned()));
        }
        let file = locked(path)?;
        if let Some(pid) =
            pid_in(&file).filter(|pid| *pid > 0 && *pid != own_pid() && is_alive(*pid))
        {
            return Err(PidfileError::Alive { path: path.to_owned(), pid });
        }
        file.set_permissions(Permissions::from_mode(0o644)).map_err(wrong)?;
        let mut pidfile = Self { path: path.to_owned(), file };
        // One that cannot be written, on a full disk, goes again.
        pidfile.write().map_err(wrong)?;
        Ok(pidfile)
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{}", own_pid())
    }
}

/// Opens and locks the file. A daemon that ends removes it, so the one that was locked must still be there.
fn locked(path: &Path) -> Result<File, PidfileError> {
    let wrong = |source: io::Error| PidfileError::Write { path: path.to_owned(), source };
    loop {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // Not to wait for who reads a FIFO.
        let file = options.custom_flags(libc::O_NONBLOCK).open(path).map_err(wrong)?;
        let found = file.metadata().map_err(wrong)?;
        if !found.is_file() || found.len() > LONGEST {
            return Err(PidfileError::SomethingElse(path.to_owned()));
        }
        match file.try_lock() {
            Ok(()) if is_at(&file, path) => return Ok(file),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let path = path.to_owned();
                return Err(match pid_in(&file) {
                    Some(pid) => PidfileError::Alive { path, pid },
                    // It has not written its pid yet.
                    None => PidfileError::Held(path),
                });
            }
            Err(TryLockError::Error(error)) => return Err(wrong(error)),
        }
    }
}

/// The number in the file. What is no number names no process.
fn pid_in(mut file: &File) -> Option<i32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // Somebody may have replaced it. Nothing can be done about a file that does not go away.
        if is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}

fn is_alive(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_file_is_taken_over_and_removed_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        for old in
            [&b""[..], b"rubbish", b"0", b"-5", b"999999999", b"\xff\xfe", b"12345678901234567890"]
        {
            fs::write(&path, old).unwrap();
            let pidfile = Pidfile::create(&path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", own_pid()));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
            drop(pidfile);
            assert!(!path.exists());
        }
    }

    #[test]
    fn what_is_no_pid_file_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let text = "[circus]\n".repeat(20);
        fs::write(&path, &text).unwrap();
        let refused = |path: &Path| matches!(Pidfile::create(path), Err(PidfileError::SomethingElse(named)) if named == path);
        assert!(refused(&path));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        let fifo = dir.path().join("fifo");
        let mode = || fs::metadata(&fifo).unwrap().permissions().mode() & 0o777;
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR)
            .unwrap();
        assert!(refused(&fifo));
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn a_live_process_is_respected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        fs::write(&path, "1\n").unwrap();
        assert!(matches!(Pidfile::create(&path), Err(PidfileError::Alive { pid: 1, .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }

    #[test]
    fn of_two_that_start_together_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let first = Pidfile::create(&path).unwrap();
        let refused = Pidfile::create(&path);
        assert!(matches!(refused, Err(PidfileError::Alive { pid, .. }) if pid == own_pid()));
        drop(first);
        Pidfile::create(&path).unwrap();
    }

    #[test]
    fn a_file_that_somebody_else_has_put_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let pidfile = Pidfile::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "other").unwrap();
        drop(pidfile);
        assert_eq!(fs::read_to_string(&path).unwrap(), "other");
        let missing = dir.path().join("no/pid");
        assert!(matches!(Pidfile::create(&missing), Err(PidfileError::NoDirectory(_))));
    }
}
