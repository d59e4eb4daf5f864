//! Becoming the other program.

use std::os::fd::{AsRawFd, OwnedFd};

use papa_spawn::successor::{Candidate, become_program};
use papa_spawn::sys;

use crate::carried::Carried;
use crate::fault;
use crate::message::{PREDECESSOR_VARIABLE, SNAPSHOT_VARIABLE, environment, write_snapshot};
use crate::refusal::Refusal;

/// Becomes the other program, which goes on with everything. Returns only if that failed; nothing has
/// changed then.
pub fn hand_over(state: &mut impl Carried, candidate: &Candidate) -> Refusal {
    state.origin().appoint(&candidate.path);
    let prepared = || -> Result<(OwnedFd, OwnedFd), Refusal> {
        let file = write_snapshot(state)?;
        let own = std::fs::File::open("/proc/self/exe")
            .map_err(Refusal::to("open the running program"))?;
        Ok((file, own.into()))
    };
    let (file, own) = match prepared() {
        Ok(prepared) => prepared,
        Err(error) => return error,
    };
    let mut kept = vec![file.as_raw_fd(), own.as_raw_fd()];
    kept.extend(state.descriptors().map(|(fd, _)| fd.as_raw_fd()));
    let passed = kept.iter().try_for_each(|fd| sys::set_close_on_exec(*fd, false));
    let error = match passed {
        Err(error) => Refusal::to("pass on a descriptor")(error),
        Ok(()) => {
            let variables = [
                (SNAPSHOT_VARIABLE, file.as_raw_fd().to_string()),
                (PREDECESSOR_VARIABLE, own.as_raw_fd().to_string()),
            ];
            let source = match fault::in_exec() {
                Ok(()) => become_program(candidate, &environment(&variables)),
                Err(error) => error,
            };
            Refusal::to("start the new kernel")(source)
        }
    };
    for fd in kept {
        if let Err(error) = sys::set_close_on_exec(fd, true) {
            // Children close everything they were not given in any case.
            tracing::error!(fd, %error, "could not keep a descriptor from children");
        }
    }
    error
}
