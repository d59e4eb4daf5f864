//! What the kernel keeps, and which names a pattern selects.

use bincode::{Decode, Encode};
use protocol::papa::Pattern;

use crate::process_table::ProcessTable;
use crate::snapshot::field::Fresh;
use crate::socket_table::SocketTable;
use crate::value_table::ValueTable;

/// What the verbs cannot see by themselves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Status {
    pub(crate) clients: usize,
    /// Bytes in the buffers of clients.
    pub(crate) client_memory: usize,
}

/// Everything that outlives a client.
#[derive(Debug, Default, Encode, Decode)]
pub(crate) struct Tables {
    pub(crate) sockets: SocketTable,
    pub(crate) values: ValueTable,
    pub(crate) processes: ProcessTable,
    /// About the clients, for `info` alone.
    pub(crate) status: Fresh<Status>,
}

impl Tables {
    /// Whether nothing would be lost if the kernel ended.
    pub(crate) fn is_idle(&self) -> bool {
        self.sockets.is_empty() && self.values.is_empty() && self.processes.is_empty()
    }
}

/// Whether the patterns select `name`. No patterns select everything.
pub(crate) fn selected(patterns: &[Pattern], name: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name))
}

/// The first pattern that is a plain name and names nothing.
pub(crate) fn first_missing(patterns: &[Pattern], exists: impl Fn(&str) -> bool) -> Option<&str> {
    let missing = patterns.iter().find(|pattern| !pattern.is_wildcard() && !exists(&pattern.0));
    missing.map(|pattern| pattern.0.as_str())
}
