//! How this program was started: what it takes to start it, or another one, the same way.

use std::ffi::{CStr, OsString};
use std::path::PathBuf;

use papa_spawn::successor::{self, Environment};

/// What the memory file with everything the kernel holds is called in /proc.
pub(crate) const SNAPSHOT_NAME: &CStr = c"papa-kernel-snapshot";
/// Number of the memory file with everything the kernel holds.
pub(crate) const SNAPSHOT_VARIABLE: &str = "PAPA_SNAPSHOT_FD";
/// Number of the program to go back to.
pub(crate) const PREDECESSOR_VARIABLE: &str = "PAPA_PREDECESSOR_FD";
/// Why the program that was to take over could not.
pub(crate) const ROLLBACK_VARIABLE: &str = "PAPA_ROLLBACK";

/// How this program was started.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The file, as it was named when it started.
    pub(crate) program: PathBuf,
    /// What comes after the program's name and before [`Origin::arguments`], where the kernel is
    /// one of several roles of a program.
    pub(crate) role: Vec<OsString>,
    /// What the kernel serves with.
    pub(crate) arguments: Vec<OsString>,
}

impl Origin {
    /// That of this process, which got `arguments` to serve with. With no /proc there is no
    /// program to be found, and an upgrade needs a path.
    pub(crate) fn new(arguments: &[OsString]) -> Self {
        let all: Vec<OsString> = std::env::args_os().collect();
        let role = all.len().saturating_sub(arguments.len()).max(1);
        Self {
            program: std::env::current_exe().unwrap_or_default(),
            role: all.get(1..role).unwrap_or_default().to_vec(),
            arguments: arguments.to_vec(),
        }
    }
}

/// The environment without what one kernel says to the next.
pub(crate) fn environment() -> Environment {
    successor::environment(&[SNAPSHOT_VARIABLE, PREDECESSOR_VARIABLE, ROLLBACK_VARIABLE])
}
