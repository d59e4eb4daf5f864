//! What one program leaves to the next, and the way back.
//!
//! Until [`Guarded::settle`] has succeeded nothing that came over the exec is closed or changed, so
//! that the predecessor finds all of it when it comes back.

use std::mem::ManuallyDrop;
use std::os::fd::RawFd;

use papa_spawn::successor::{WayBack, become_program};
use papa_spawn::sys;

use crate::carried::Carried;
use crate::message::{
    PREDECESSOR_VARIABLE, ROLLBACK_VARIABLE, SNAPSHOT_VARIABLE, environment, read_snapshot,
};
use crate::refusal::Refusal;
use crate::{fault, received};

/// What the environment says about a predecessor.
#[derive(Debug, Clone)]
pub struct Handover {
    snapshot: RawFd,
    /// The old program.
    predecessor: RawFd,
    /// Why the new program failed, if this is the old one.
    failure: Option<String>,
}

impl Handover {
    /// The handover that this program was started for, if it was.
    ///
    /// # Errors
    /// The environment makes no sense.
    pub fn from_environment() -> Result<Option<Self>, Refusal> {
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
    ///
    /// # Errors
    /// The handlers of crashes cannot be installed.
    pub fn guard(&self) -> std::io::Result<Guarded> {
        let mut way_back = None;
        if self.failure.is_none() {
            let variables = self.variables("the new kernel crashed");
            way_back = Some(WayBack::arm(self.predecessor, &environment(&variables), None)?);
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
    pub fn roll_back(&self, reason: &str) -> String {
        if self.failure.is_some() {
            return format!("the upgrade failed and so did going back: {reason}");
        }
        let failed = |error| format!("the upgrade failed: {reason}; cannot go back: {error}");
        match sys::adopt(self.predecessor) {
            Err(error) => failed(error),
            Ok(fd) => {
                let fd = ManuallyDrop::new(fd);
                failed(become_program(&*fd, &environment(&self.variables(reason))))
            }
        }
    }
}

/// What to say to whoever asked for an upgrade.
pub type Answer = Result<String, String>;

/// A handover whose failure is provided for.
#[derive(Debug)]
pub struct Guarded {
    handover: Handover,
    way_back: Option<WayBack>,
}

impl Guarded {
    /// Everything that the predecessor held, and what to answer to whoever asked for the upgrade.
    ///
    /// # Errors
    /// What failed; everything is as it was, for [`Handover::roll_back`].
    pub fn receive<S: Carried>(&self) -> Result<(S, Answer), Refusal> {
        let Handover { snapshot, failure, .. } = &self.handover;
        let mut state: S = read_snapshot(*snapshot)?;
        let answer = state.origin().arrive(failure.as_deref());
        if failure.is_none() {
            fault::in_takeover()?;
        }
        received::verify(&state)?;
        Ok((state, answer))
    }

    /// From now on everything is this program's, and there is no way back.
    ///
    /// # Errors
    /// As [`Guarded::receive`].
    pub fn settle(self, state: &impl Carried) -> Result<(), Refusal> {
        sys::close_all_on_exec()?;

        // Nothing is left that could fail.
        state.descriptors().for_each(|(fd, _)| fd.claim());
        if let Some(way_back) = self.way_back {
            way_back.disarm();
        }
        drop(std::panic::take_hook());
        drop((sys::adopt(self.handover.snapshot), sys::adopt(self.handover.predecessor)));
        Ok(())
    }
}
