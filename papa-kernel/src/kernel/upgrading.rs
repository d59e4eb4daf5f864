//! The kernel's part in an upgrade: from the request to the moment before the exec.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use papa_spawn::successor::{Candidate, write_sealed};
use protocol::papa::PROMPT;

use super::Kernel;
use crate::budget::can_grow_to;
use crate::client::Mode;
use crate::origin::SNAPSHOT_NAME;
use crate::poller::ClientId;
use crate::refusal::Refusal;
use crate::rehearsal::Rehearsal;

/// A program that has shown that it can take over, and who asked for it.
#[derive(Debug)]
pub(crate) struct Takeover {
    pub(crate) candidate: Candidate,
    pub(crate) requester: ClientId,
}

impl Kernel {
    /// Starts the rehearsal of the program at `path`, or answers why not.
    pub(super) fn begin_upgrade(&mut self, requester: ClientId, path: Option<Vec<u8>>) {
        let begun = if self.rehearsal.is_some() || self.takeover.is_some() {
            Err(Refusal::new("An upgrade is under way"))
        } else {
            self.rehearse(requester, path)
        };
        match begun {
            Ok(rehearsal) => self.rehearsal = Some(rehearsal),
            Err(error) => self.answer_upgrade(requester, Err(error.to_string())),
        }
    }

    fn rehearse(
        &mut self,
        requester: ClientId,
        path: Option<Vec<u8>>,
    ) -> Result<Rehearsal, Refusal> {
        let path = path.unwrap_or_else(|| self.state.program().to_vec());
        let program = PathBuf::from(OsString::from_vec(path.clone()));
        if !program.is_absolute() {
            let shown = program.display();
            return Err(Refusal::new(format!(
                "The path of the new kernel must be absolute, not \"{shown}\""
            )));
        }
        let candidate = Candidate::open(program)?;
        let held = self.state.tables.processes.unread() as usize + self.budget.held();
        // The snapshot, the buffer it grows from, and its copy in the new program.
        if !can_grow_to(4 * held) {
            return Err(Refusal::new("The kernel has no memory for a snapshot"));
        }
        let copy = self.state.encode_for(requester, &path)?;
        let copy = write_sealed(SNAPSHOT_NAME, &copy).map_err(Refusal::to("write a snapshot"))?;
        Rehearsal::begin(requester, candidate, &copy, &self.role, &self.poller)
    }

    /// Something has happened to the rehearsal.
    pub(super) fn advance_rehearsal(&mut self) {
        let Some(mut rehearsal) = self.rehearsal.take() else { return };
        if !rehearsal.advance(&mut self.buffer) {
            self.rehearsal = Some(rehearsal);
            return;
        }
        let requester = rehearsal.requester;
        match rehearsal.judge(&mut self.buffer) {
            Ok(candidate) => self.takeover = Some(Takeover { candidate, requester }),
            Err(error) => self.answer_upgrade(requester, Err(error.to_string())),
        }
    }

    /// Tells whoever asked for the upgrade how it ended.
    pub(crate) fn answer_upgrade(&mut self, requester: ClientId, result: Result<String, String>) {
        match &result {
            Ok(text) => tracing::info!(text, "upgraded"),
            Err(text) => tracing::warn!(text, "no upgrade"),
        }
        let Some(client) = self.state.clients.get_mut(&requester) else { return };
        if matches!(client.mode, Mode::Upgrading) {
            client.mode = Mode::Commands;
            let text = match result {
                Ok(text) => text,
                Err(text) => format!("Error: {}", text.replace('\n', " ")),
            };
            client.output.extend(format!("{text}\n{PROMPT}").bytes());
            self.due.insert(requester);
        }
    }
}
