//! A stream to its snapshot and back.

use protocol::papa::Form;

use super::Watch;
use crate::poller::{ClientId, ProcessId};
use crate::snapshot::v1;

impl Watch {
    /// What a snapshot keeps of it.
    pub(crate) fn freeze(&self) -> v1::Watch {
        v1::Watch {
            exact: self.form == Form::Exact,
            followed: self.followed.iter().map(|id| id.0).collect(),
            changed: self.changed.iter().map(|id| id.0).collect(),
            unanswered: self.unanswered.iter().map(|(id, seq)| (id.0, *seq)).collect(),
            resume_after: self.resume_after.map(|id| id.0),
        }
    }

    /// The stream of a snapshot. What the processes know of their followers is kept with them.
    pub(crate) fn thaw(client: ClientId, frozen: &v1::Watch) -> Self {
        Self {
            client,
            form: if frozen.exact { Form::Exact } else { Form::Classic },
            followed: frozen.followed.iter().copied().map(ProcessId).collect(),
            changed: frozen.changed.iter().copied().map(ProcessId).collect(),
            unanswered: frozen.unanswered.iter().map(|(id, seq)| (ProcessId(*id), *seq)).collect(),
            resume_after: frozen.resume_after.map(ProcessId),
        }
    }
}
