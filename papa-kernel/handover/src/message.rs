//! What one kernel says to the next: variables in the environment, and a memory file.

use std::ffi::CStr;
use std::os::fd::{OwnedFd, RawFd};

use papa_spawn::successor::{self, Environment, read_sealed, write_sealed};
use papa_spawn::sys;

use crate::carried::Carried;
use crate::refusal::Refusal;
use crate::snapshot::{self, LARGEST};

/// What the memory file with everything the kernel holds is called in /proc.
const SNAPSHOT_NAME: &CStr = c"papa-kernel-snapshot";
/// Number of the memory file with everything the kernel holds.
pub(crate) const SNAPSHOT_VARIABLE: &str = "PAPA_SNAPSHOT_FD";
/// Number of the program to go back to.
pub(crate) const PREDECESSOR_VARIABLE: &str = "PAPA_PREDECESSOR_FD";
/// Why the program that was to take over could not.
pub(crate) const ROLLBACK_VARIABLE: &str = "PAPA_ROLLBACK";

/// The environment with these variables for the next program, and none that was for this one.
pub(crate) fn environment(variables: &[(&str, String)]) -> Environment {
    let ours = variables.iter().map(|(name, value)| ((*name).into(), value.clone().into()));
    successor::environment(&[SNAPSHOT_VARIABLE, PREDECESSOR_VARIABLE, ROLLBACK_VARIABLE])
        .into_iter()
        .chain(ours)
        .collect()
}

/// Writes everything into a sealed memory file.
pub(crate) fn write_snapshot(state: &impl Carried) -> Result<OwnedFd, Refusal> {
    let snapshot = snapshot::encode(state)
        .map_err(|error| Refusal::new(format!("Could not take a snapshot - {error}")))?;
    write_sealed(SNAPSHOT_NAME, &snapshot).map_err(Refusal::to("write a snapshot"))
}

/// Reads what [`write_snapshot`] has written. The memory file stays open.
pub(crate) fn read_snapshot<S: Carried>(number: RawFd) -> Result<S, Refusal> {
    let file = sys::duplicate(number)
        .map_err(|error| Refusal::new(format!("descriptor {number} is no snapshot: {error}")))?;
    Ok(S::decode_snapshot(&read_sealed(&file, LARGEST)?)?)
}
