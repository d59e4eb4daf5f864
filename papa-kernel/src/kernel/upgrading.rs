//! The kernel's part in an upgrade, on both sides of the exec.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use nix::sys::epoll::EpollFlags;
use papa_handover::{Answer, Guarded, Refusal, Rehearsal, hand_over};
use papa_spawn::successor::Candidate;
use protocol::papa::Reply;

use super::Kernel;
use crate::access::Access;
use crate::budget::can_grow_to;
use crate::client::Mode;
use crate::poller::{ClientId, Source};

impl Kernel {
    /// Goes on where another program has left off.
    pub(crate) fn take_over(left: Guarded, access: Access) -> Result<Self, Refusal> {
        let (state, answer) = left.receive()?;
        let mut kernel = Self::new(state, access)?;
        left.settle(&kernel.state)?;
        kernel.state.restore_shield();
        kernel.answer_upgrade(kernel.state.requester, answer);
        Ok(kernel)
    }

    /// Starts the rehearsal of the program at `path`, or answers why not.
    pub(super) fn begin_upgrade(&mut self, requester: ClientId, path: Option<Vec<u8>>) {
        if let Err(error) = self.rehearse(requester, path) {
            self.answer_upgrade(requester, Err(error.to_string()));
        }
    }

    fn rehearse(&mut self, requester: ClientId, path: Option<Vec<u8>>) -> Result<(), Refusal> {
        if self.rehearsal.is_some() {
            return Err(Refusal::new("An upgrade is under way"));
        }
        let path = path.map(|path| PathBuf::from(OsString::from_vec(path)));
        let path = path.unwrap_or_else(|| self.state.origin.program());
        if !path.is_absolute() {
            let shown = path.display();
            return Err(Refusal::new(format!(
                "The path of the new kernel must be absolute, not \"{shown}\""
            )));
        }
        let candidate = Candidate::open(path)?;
        let tables = &self.state.tables;
        // Each byte of a word may be escaped.
        let of_processes = tables.processes.unread() as usize + 3 * tables.processes.words();
        let held = of_processes + tables.value_bytes() + self.budget.held();
        // The snapshot, the buffer it grows from, and its copy in the new program.
        if !can_grow_to(4 * held) {
            return Err(Refusal::new("The kernel has no memory for a snapshot"));
        }
        self.state.requester = requester;
        let rehearsal = Rehearsal::begin(&mut self.state, candidate)?;
        let watch = |fd| self.poller.add(fd, Source::Rehearsal, EpollFlags::EPOLLIN);
        if let Err(error) = rehearsal.events().try_for_each(watch) {
            // Unwatched it could run for ever.
            rehearsal.cancel();
            return Err(Refusal::to("watch the rehearsal")(error));
        }
        self.rehearsal = Some(rehearsal);
        Ok(())
    }

    /// Becomes the program that has shown that it can take over. If it cannot, everything goes on.
    pub(super) fn end_rehearsal(&mut self, rehearsal: Rehearsal) {
        let error = match rehearsal.judge() {
            Ok(candidate) => hand_over(&mut self.state, &candidate),
            Err(error) => error,
        };
        self.answer_upgrade(self.state.requester, Err(error.to_string()));
    }

    /// Tells whoever asked for the upgrade how it ended.
    pub(super) fn answer_upgrade(&mut self, requester: ClientId, answer: Answer) {
        match &answer {
            Ok(text) => tracing::info!(text, "upgraded"),
            Err(text) => tracing::warn!(text, "no upgrade"),
        }
        let Some(client) = self.state.clients.get_mut(&requester) else { return };
        if matches!(client.mode, Mode::Upgrading) {
            client.mode = Mode::Commands;
            let reply = answer.map_or_else(Reply::Error, |text| Reply::Text(text.into_bytes()));
            reply.print(&mut client.output);
            self.due.insert(requester);
        }
    }
}
