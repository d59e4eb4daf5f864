//! What the kernel keeps.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use papa_handover::field::Fresh;

use crate::process_table::ProcessTable;
use crate::socket_table::SocketTable;

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
    /// Named values: what circusd wants to find again.
    pub(crate) values: BTreeMap<String, Vec<u8>>,
    pub(crate) processes: ProcessTable,
    /// About the clients, for `info` alone.
    pub(crate) status: Fresh<Status>,
}

impl Tables {
    /// Bytes of all values.
    pub(crate) fn value_bytes(&self) -> usize {
        self.values.values().map(Vec::len).sum()
    }

    /// Whether nothing would be lost if the kernel ended.
    pub(crate) fn is_idle(&self) -> bool {
        self.sockets.is_empty() && self.values.is_empty() && self.processes.is_empty()
    }
}
