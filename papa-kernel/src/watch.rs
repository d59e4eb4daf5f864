//! One client's stream: which processes it follows, what it was sent and has yet to confirm.
//!
//! A block is sent, then nothing more until the client has answered it. What an answer releases
//! is decided by `process_table`.

use std::collections::BTreeSet;

use bincode::{Decode, Encode};
use protocol::papa::{Form, print_closed, print_dropped, print_output};

use crate::budget::can_grow_to;
use crate::output::RecordKind;
use crate::poller::{ClientId, ProcessId};
use crate::process_table::ProcessTable;

/// The stream of one client.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(crate) struct Watch {
    /// Asked for in the exact form, and so answered.
    exact: bool,
    followed: BTreeSet<ProcessId>,
    /// Those that may have something new.
    changed: BTreeSet<ProcessId>,
    /// What the unanswered block went up to, by process.
    unanswered: Vec<(ProcessId, u64)>,
    /// Where the last full block broke off, so that no process waits behind a busy one.
    resume_after: Option<ProcessId>,
}

impl Watch {
    /// Begins to follow `processes`.
    pub(crate) fn begin(
        client: ClientId,
        form: Form,
        processes: Vec<ProcessId>,
        table: &mut ProcessTable,
    ) -> Self {
        for id in &processes {
            if let Some(hosted) = table.get_mut(*id) {
                hosted.follow(client);
            }
        }
        let followed: BTreeSet<_> = processes.into_iter().collect();
        let changed = followed.clone();
        let exact = form == Form::Exact;
        Self { exact, followed, changed, unanswered: Vec::new(), resume_after: None }
    }

    /// Notes that `process` has new records.
    pub(crate) fn note_change(&mut self, process: ProcessId) {
        self.changed.insert(process);
    }

    /// Whether a block was sent and not answered.
    pub(crate) fn awaits_answer(&self) -> bool {
        !self.unanswered.is_empty()
    }

    /// Whether nothing is left to follow.
    pub(crate) fn is_over(&self) -> bool {
        self.followed.is_empty()
    }

    /// Appends the next block to `out`, if there is anything to send. The block ends after the
    /// record that reaches `size`.
    pub(crate) fn send_block(
        &mut self,
        client: ClientId,
        table: &mut ProcessTable,
        out: &mut Vec<u8>,
        size: usize,
    ) -> bool {
        let begin = out.len();
        let form = if self.exact { Form::Exact } else { Form::Classic };
        let later = self.resume_after.take().map_or(0, |id| id.0 + 1);
        let order =
            self.changed.range(ProcessId(later)..).chain(self.changed.range(..ProcessId(later)));
        for id in order.copied().collect::<Vec<_>>() {
            let Some(hosted) = table.get_mut(id) else {
                self.changed.remove(&id);
                continue;
            };
            let name = hosted.spec.name.clone();
            let sent = hosted.send_unread(client, |record, missing| {
                let wanted = out.len() + record.data.0.len() + record.data.1.len() + 3 * name.len();
                // One record goes in any case: reading is what makes room.
                let fits = wanted <= out.capacity() || out.len() == begin;
                if out.len() - begin >= size || !(fits || can_grow_to(2 * wanted)) {
                    return false;
                }
                if missing > 0 && form == Form::Exact {
                    print_dropped(&name, record.timestamp, missing, out);
                }
                match record.kind {
                    RecordKind::Closed(code) => {
                        print_closed(form, &name, record.timestamp, code, out);
                    }
                    kind => {
                        let stderr = kind == RecordKind::Err;
                        print_output(form, stderr, &name, record.timestamp, record.data, out);
                    }
                }
                true
            });
            self.unanswered.extend(sent.map(|seq| (id, seq)));
            if hosted.has_unread(client) {
                self.resume_after = Some(id);
                break;
            }
            self.changed.remove(&id);
        }
        if out.len() == begin {
            return false;
        }
        out.extend(b"] ");
        true
    }

    /// Whether answers in exact form are understood.
    pub(crate) fn is_exact(&self) -> bool {
        self.exact
    }

    /// The process, if there is only one.
    pub(crate) fn only_process(&self) -> Option<ProcessId> {
        self.followed.first().copied().filter(|_| self.followed.len() == 1)
    }

    /// Takes the answer to a block: all of it was read, or of its only process what ends at or before
    /// an offset.
    pub(crate) fn acknowledge(
        &mut self,
        client: ClientId,
        table: &mut ProcessTable,
        up_to: Option<u64>,
    ) {
        for (id, sent) in std::mem::take(&mut self.unanswered) {
            if table.acknowledge(id, client, sent, up_to) {
                self.followed.remove(&id);
                self.changed.remove(&id);
            }
        }
    }

    /// Stops following. What was not acknowledged comes again to whoever follows next.
    pub(crate) fn end(self, client: ClientId, table: &mut ProcessTable) {
        for id in self.followed {
            table.unfollow(id, client);
        }
    }
}
