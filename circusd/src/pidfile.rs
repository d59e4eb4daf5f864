//! The pidfile: says which process is the daemon, and goes away with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The pidfile cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum PidfileError {
    /// Another daemon is alive.
    #[error("pidfile `{path}` names the running process {pid}; is another circusd running?")]
    Alive {
        /// The file.
        path: PathBuf,
        /// The process.
        pid: i32,
    },
    /// The file cannot be written.
    #[error("cannot write the pidfile `{path}`: {source}")]
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
}

impl Pidfile {
    /// Writes our pid. A file that names no live process is taken over.
    ///
    /// # Errors
    /// [`PidfileError`].
    pub fn create(path: &Path) -> Result<Self, PidfileError> {
        let path = path.to_owned();
        let old = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        if let Some(pid) = old.filter(|pid| *pid > 0 && *pid != own_pid() && is_alive(*pid)) {
            return Err(PidfileError::Alive { path, pid });
        }
        match fs::write(&path, format!("{}\n", own_pid())) {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(PidfileError::Write { path, source }),
        }
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // Nothing can be done about a file that does not go away.
        let _ = fs::remove_file(&self.path);
    }
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
        for old in ["", "rubbish", "0", "-5", "999999999"] {
            fs::write(&path, old).unwrap();
            let pidfile = Pidfile::create(&path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", own_pid()));
            drop(pidfile);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_live_process_is_respected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        fs::write(&path, "1\n").unwrap();
        assert!(matches!(Pidfile::create(&path), Err(PidfileError::Alive { pid: 1, .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }
}
