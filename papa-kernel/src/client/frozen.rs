//! A connection to its snapshot and back.

use std::os::fd::{AsRawFd, OwnedFd};

use super::{Client, Mode};
use crate::poller::ClientId;
use crate::snapshot::v1;
use crate::watch::Watch;

impl Client {
    /// What a snapshot keeps of it.
    pub(crate) fn freeze(&self) -> v1::Client<'_> {
        v1::Client {
            id: self.id.0,
            fd: self.fd.as_raw_fd(),
            input: self.input.get(self.taken..).unwrap_or_default(),
            output: self.output.get(self.written..).unwrap_or_default(),
            drained: self.drained as u64,
            mode: match &self.mode {
                Mode::Commands => v1::Mode::Commands,
                Mode::Watching(watch) => v1::Mode::Watching(watch.freeze()),
                Mode::Leaving => v1::Mode::Leaving,
                Mode::Upgrading => v1::Mode::Upgrading,
            },
            ended: self.ended,
            broken: self.broken,
            shut: self.shut,
        }
    }

    /// The connection of a snapshot, which `fd` belongs to.
    pub(crate) fn thaw(frozen: &v1::Client<'_>, fd: OwnedFd) -> Self {
        let id = ClientId(frozen.id);
        let mut client = Self {
            input: frozen.input.to_vec(),
            output: frozen.output.to_vec(),
            drained: usize::try_from(frozen.drained).unwrap_or(usize::MAX),
            ended: frozen.ended,
            broken: frozen.broken,
            shut: frozen.shut,
            ..Self::new(id, fd)
        };
        match &frozen.mode {
            v1::Mode::Commands => {}
            v1::Mode::Watching(watch) => client.watch(Watch::thaw(id, watch)),
            v1::Mode::Leaving => client.mode = Mode::Leaving,
            v1::Mode::Upgrading => client.mode = Mode::Upgrading,
        }
        client
    }
}
