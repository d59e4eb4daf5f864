//! What one program leaves to the next, and the way back.
//!
//! Until [`Guarded::take_over`] has succeeded nothing that came over the exec is closed or changed, so
//! that the predecessor finds all of it when it comes back.

use std::mem::ManuallyDrop;
use std::os::fd::RawFd;

use papa_spawn::successor::{WayBack, become_program, read_sealed};
use papa_spawn::sys;

use super::{environment_with, fault, no_kernel, received};
use crate::access::Access;
use crate::kernel::{Kernel, State};
use crate::origin::{PREDECESSOR_VARIABLE, ROLLBACK_VARIABLE, SNAPSHOT_VARIABLE};
use crate::refusal::Refusal;
use crate::snapshot::{FORMAT, LARGEST};

/// What the environment says about a predecessor.
#[derive(Debug, Clone)]
pub(crate) struct Handover {
    snapshot: RawFd,
    /// The old program.
    predecessor: RawFd,
    /// Why the new program failed, if this is the old one.
    failure: Option<String>,
}

impl Handover {
    /// The handover that this program was started for, if it was.
    pub(crate) fn from_environment() -> Result<Option<Self>, Refusal> {
        let number = |name: &'static str| {
            let text = std::env::var(name).ok();
            let number = text.and_then(|text| text.parse().ok());
            number.filter(|number| *number > 2).ok_or_else(|| {
                Refusal::new(format!(
                    "{name} is not the number of a descriptor; start the kernel without that variable"
                ))
            })
        };
        if std::env::var_os(SNAPSHOT_VARIABLE).is_none() {
            return Ok(None);
        }
        let failure = std::env::var_os(ROLLBACK_VARIABLE);
        Ok(Some(Self {
            snapshot: number(SNAPSHOT_VARIABLE)?,
            predecessor: number(PREDECESSOR_VARIABLE)?,
            failure: failure.map(|failure| failure.to_string_lossy().into_owned()),
        }))
    }

    /// From now on a panic or a crash leads back to the predecessor.
    pub(crate) fn guard(&self) -> std::io::Result<Guarded> {
        let mut way_back = None;
        if self.failure.is_none() {
            let variables = self.variables("the new kernel crashed");
            way_back = Some(WayBack::arm(self.predecessor, &environment_with(&variables), None)?);
        }
        let handover = self.clone();
        // Before unwinding, which would close what the predecessor needs.
        std::panic::set_hook(Box::new(move |panic| {
            let text = handover.roll_back(&format!("the new kernel panicked: {panic}"));
            tracing::error!(text, "cannot go back");
            std::process::abort();
        }));
        Ok(Guarded { handover: self.clone(), way_back })
    }

    fn variables(&self, reason: &str) -> [(&'static str, String); 3] {
        let reason = reason.replace(['\n', '\0'], " ");
        [
            (SNAPSHOT_VARIABLE, self.snapshot.to_string()),
            (PREDECESSOR_VARIABLE, self.predecessor.to_string()),
            (ROLLBACK_VARIABLE, reason),
        ]
    }

    /// Becomes the predecessor again, which answers with `reason`. Returns only if there is no way
    /// back, with what to say about that.
    pub(crate) fn roll_back(&self, reason: &str) -> String {
        if self.failure.is_some() {
            return format!("the upgrade failed and so did going back: {reason}");
        }
        let failed = |error| format!("the upgrade failed: {reason}; cannot go back: {error}");
        match sys::adopt(self.predecessor) {
            Err(error) => failed(error),
            Ok(fd) => {
                let fd = ManuallyDrop::new(fd);
                failed(become_program(&*fd, &environment_with(&self.variables(reason))))
            }
        }
    }
}

/// A handover whose failure is provided for.
#[derive(Debug)]
pub(crate) struct Guarded {
    handover: Handover,
    way_back: Option<WayBack>,
}

impl Guarded {
    /// The kernel that goes on where the predecessor left off; the client that asked for it gets
    /// its answer.
    ///
    /// # Errors
    /// What failed; everything is as it was, for [`Handover::roll_back`].
    pub(crate) fn take_over(self, access: Access) -> Result<Kernel, Refusal> {
        let Self { handover, way_back } = self;
        let file = sys::duplicate(handover.snapshot)
            .map_err(|error| Refusal::new(format!("there is no snapshot: {error}")))?;
        let snapshot = read_sealed(&file, LARGEST)?;
        let mut state = State::decode(&snapshot)?;
        let answer = answer(&handover, &state);
        if handover.failure.is_none() {
            state.succeed();
            fault::in_takeover()?;
        }
        received::verify(&state)?;
        let mut kernel = Kernel::resume(state, access).map_err(no_kernel)?;
        sys::close_all_on_exec()?;

        // From here on there is no way back, and nothing left that could fail.
        kernel.claim();
        if let Some(way_back) = way_back {
            way_back.disarm();
        }
        drop(std::panic::take_hook());
        drop((sys::adopt(handover.snapshot), sys::adopt(handover.predecessor)));
        kernel.answer_upgrade(kernel.state.requester, answer);
        Ok(kernel)
    }
}

fn answer(handover: &Handover, state: &State) -> Result<String, String> {
    let was = &state.version;
    match &handover.failure {
        None => Ok(format!(
            "ok papa-kernel {}, snapshot format {FORMAT}, was {was}",
            env!("CARGO_PKG_VERSION")
        )),
        Some(reason) => {
            let path = state.successor();
            let path = path.display();
            Err(format!("{path} could not take over and was rolled back - {reason}"))
        }
    }
}
