//! Becoming another program, and being the one that another program became.
//!
//! ```text
//!  old image                                         new image
//!  rehearsed -> fresh snapshot -> exec ------------> decode -> verify -> adopt -> answer, serve
//!      ^                           | fails                 |  any failure, a panic or a crash
//!      |  answer with the reason <-+                       v
//!      +------- decode, verify, adopt <------------- exec of the old image
//! ```
//!
//! `rehearsal` and `kernel` have done what can be done while the kernel serves; this takes a few
//! milliseconds. What an exec keeps needs nothing here: pid, children and zombies, directory,
//! mask, limits, blocked and pending signals.

mod fault;
mod handover;
mod received;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

pub(crate) use handover::Handover;

use papa_spawn::errno::errno_text;
use papa_spawn::successor::{Environment, become_program, read_sealed, write_sealed};
use papa_spawn::sys;

use crate::access::Access;
use crate::kernel::{Ended, Kernel, State, Takeover};
use crate::origin::{PREDECESSOR_VARIABLE, SNAPSHOT_NAME, SNAPSHOT_VARIABLE, environment};
use crate::refusal::Refusal;
use crate::rehearsal::ACCEPTS;
use crate::snapshot::{self, FORMAT, LARGEST};

/// Serves until the end is asked for, in this program or in those that take over from it.
pub(crate) fn serve(mut kernel: Kernel) -> io::Result<()> {
    loop {
        match kernel.run()? {
            Ended::Asked => return Ok(()),
            Ended::Takeover(takeover) => {
                let error = hand_over(&mut kernel, &takeover);
                kernel.answer_upgrade(takeover.requester, Err(error.to_string()));
            }
        }
    }
}

/// Becomes the other program. Returns only if that failed; nothing has changed then.
fn hand_over(kernel: &mut Kernel, takeover: &Takeover) -> Refusal {
    let path = takeover.candidate.path.as_os_str().as_bytes();
    let mut prepared = || -> Result<(OwnedFd, OwnedFd), Refusal> {
        let copy = kernel.state.encode_for(takeover.requester, path)?;
        let file = write_sealed(SNAPSHOT_NAME, &copy).map_err(Refusal::to("write a snapshot"))?;
        let own = std::fs::File::open("/proc/self/exe")
            .map_err(Refusal::to("open the running program"))?;
        Ok((file, own.into()))
    };
    let (file, own) = match prepared() {
        Ok(prepared) => prepared,
        Err(error) => return error,
    };
    let mut kept = vec![file.as_raw_fd(), own.as_raw_fd()];
    kept.extend(kernel.state.descriptors().map(|(fd, _)| fd.as_raw_fd()));
    let passed = kept.iter().try_for_each(|fd| sys::set_close_on_exec(*fd, false));
    let error = match passed {
        Err(error) => Refusal::to("pass on a descriptor")(error),
        Ok(()) => {
            let variables = [
                (SNAPSHOT_VARIABLE, file.as_raw_fd().to_string()),
                (PREDECESSOR_VARIABLE, own.as_raw_fd().to_string()),
            ];
            let source = match fault::in_exec() {
                Ok(()) => become_program(&takeover.candidate, &environment_with(&variables)),
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

/// The environment with these variables for the next program.
fn environment_with(variables: &[(&str, String)]) -> Environment {
    let ours = variables.iter().map(|(name, value)| ((*name).into(), value.clone().into()));
    environment().into_iter().chain(ours).collect()
}

/// Whether a kernel could go on from this payload of a snapshot, as far as that can be told without
/// its descriptors. For fuzzing only.
#[doc(hidden)]
pub fn is_acceptable_snapshot(payload: &[u8]) -> bool {
    let _ = State::decode(payload);
    State::decode_payload(payload).is_ok_and(|state| {
        let again = snapshot::encode(&state);
        let same = again.is_ok_and(|first| {
            State::decode(&first).ok().and_then(|state| snapshot::encode(&state).ok())
                == Some(first.clone())
        });
        assert!(same, "what was decoded survives");
        received::verify_numbers(&state).is_ok()
    })
}

fn no_kernel(error: io::Error) -> Refusal {
    Refusal::new(format!("cannot wait for events - {}", errno_text(&error)))
}

/// Shows on a copy that this program could take over: does all that [`Handover::take_over`] does,
/// with empty descriptors in the place of the real ones. Returns what to print.
pub(crate) fn rehearse(
    number: RawFd,
    understands: impl FnOnce(Vec<std::ffi::OsString>) -> Result<Access, Refusal>,
) -> Result<String, Refusal> {
    // One line is all that is listened to.
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string().replace('\n', " ");
        tracing::error!(text, "panicked");
        std::process::abort();
    }));
    fault::in_rehearsal();
    let file = sys::duplicate(number)
        .map_err(|error| Refusal::new(format!("descriptor {number} is no snapshot: {error}")))?;
    let snapshot = read_sealed(&file, LARGEST)?;
    let state = State::decode(&snapshot)?;
    let access = understands(state.arguments())?;
    received::stand_in(&state)?;
    Kernel::resume(state, access).map_err(no_kernel)?;
    Ok(format!("{ACCEPTS}{}, snapshot format {FORMAT}", env!("CARGO_PKG_VERSION")))
}
