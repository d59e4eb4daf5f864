//! How this program was started: what it takes to start it, or another one, the same way.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

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

/// The words this process was started with.
pub(crate) fn words() -> Vec<CString> {
    // They were C strings when they came.
    std::env::args_os().filter_map(|word| CString::new(word.into_vec()).ok()).collect()
}

/// The environment without what one kernel says to the next, as names and values.
pub(crate) fn environment() -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let ours = [SNAPSHOT_VARIABLE, PREDECESSOR_VARIABLE, ROLLBACK_VARIABLE];
    std::env::vars_os()
        .filter(move |(name, _)| !ours.iter().any(|own| name == own))
        .map(|(name, value)| (name.into_vec(), value.into_vec()))
}
