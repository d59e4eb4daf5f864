//! Why a process could not be started.

use std::io;
use std::path::PathBuf;

use crate::errno::errno_text;

/// Which limit stopped it, where one did.
fn remedy(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EMFILE) => {
            " - each process takes up to 3; raise the hard limit of open files (ulimit -Hn, LimitNOFILE=)"
        }
        Some(libc::EAGAIN) => " - a limit of processes is reached (RLIMIT_NPROC, TasksMax=)",
        _ => "",
    }
}

/// A process could not be started. The texts name what failed; the kernel sends them to clients.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// There is nothing to run.
    #[error("No command")]
    NoCommand,
    /// A word or variable contains a zero byte.
    #[error("Bad {what} - a zero byte cannot be passed to a process")]
    NulByte {
        /// Where it stands.
        what: &'static str,
    },
    /// The program does not exist, neither as a path nor on the PATH of the process.
    #[error("Bad command - [Errno 2] No such file or directory: '{program}'")]
    ProgramNotFound {
        /// As it was given.
        program: String,
    },
    /// The program exists but cannot be run.
    #[error("Bad command - {}: '{program}'", errno_text(source))]
    Exec {
        /// As it was given.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The working directory cannot be entered.
    #[error("Bad working_dir - {}: '{}'", errno_text(source), path.display())]
    WorkingDir {
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No user has this name.
    #[error("'{0}' is not a valid user name")]
    UnknownUserName(String),
    /// No user has this number.
    #[error("'{0}' is not a valid user id")]
    UnknownUserId(String),
    /// No group has this name or number.
    #[error("No such group: '{0}'")]
    UnknownGroup(String),
    /// The user database could not be read.
    #[error("Could not look up '{name}' - {}", errno_text(source))]
    Lookup {
        /// User or group.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no resource limit of this name.
    #[error("Unknown rlimit \"{0}\"")]
    UnknownLimit(String),
    /// The process could not become the user or group asked for.
    #[error("Could not change {what} - {}", errno_text(source))]
    Credentials {
        /// User, group or supplementary groups.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A resource limit could not be set.
    #[error("Could not set rlimit {name} - {}", errno_text(source))]
    Limit {
        /// The limit's name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Pipes, the copy of the process or another step failed.
    #[error("Could not {step} - {}{}", errno_text(source), remedy(source))]
    System {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}
