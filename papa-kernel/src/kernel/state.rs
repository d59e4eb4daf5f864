//! What the kernel keeps over an upgrade.

use std::ffi::OsString;

use bincode::{Decode, Encode};
use papa_handover::field::{Kept, Table};
use papa_handover::{Carried, Descriptor, Kind, Origin};
use papa_spawn::child::{self, Shield};

use crate::client::Client;
use crate::listener::Listener;
use crate::poller::ClientId;
use crate::tables::Tables;

/// Everything that goes over to the next program. See `papa_handover::snapshot` for what a change means.
#[derive(Debug, Encode, Decode)]
pub(crate) struct State {
    pub(crate) origin: Origin,
    /// The client that asked for the upgrade.
    pub(super) requester: ClientId,
    /// A client asked for the end and nobody has come since.
    pub(super) exit_requested: bool,
    /// What hosted processes must not inherit: the limits of open files, and a protection from the OOM
    /// killer.
    shield: Option<Kept<Shield>>,
    pub(super) listener: Listener,
    pub(crate) tables: Tables,
    pub(super) clients: Table<Client>,
    pub(super) next_client: u64,
}

impl State {
    /// At the start of a kernel, which got `arguments` to serve with.
    pub(crate) fn new(listener: Listener, arguments: Vec<OsString>) -> Self {
        Self {
            origin: Origin::new(arguments),
            requester: ClientId::default(),
            exit_requested: false,
            shield: child::shield().map(Kept),
            listener,
            tables: Tables::default(),
            clients: Table::default(),
            next_client: 0,
        }
    }

    /// Keeps from hosted processes what the program before kept from them.
    pub(super) fn restore_shield(&self) {
        if let Some(Kept(shield)) = self.shield {
            child::restore_shield(shield);
        }
    }
}

impl Carried for State {
    fn origin(&mut self) -> &mut Origin {
        &mut self.origin
    }

    fn descriptors(&self) -> impl Iterator<Item = (&Descriptor, Kind)> {
        let Tables { sockets, processes, .. } = &self.tables;
        let sockets = sockets.values().filter_map(|socket| socket.fd.as_ref());
        let clients = self.clients.values().map(|client| &client.fd);
        let sockets = std::iter::once(&self.listener.fd).chain(sockets).chain(clients);
        let hosted = processes.hosted.values();
        let pipes = hosted.clone().flat_map(|hosted| hosted.stdout.iter().chain(&hosted.stderr));
        let pipes = pipes.chain(processes.leftovers.pipes.values());
        let children = hosted
            .map(|hosted| (&hosted.pidfd, Kind::Child { ended: !hosted.is_running() }))
            .chain(processes.leftovers.doomed.iter().map(|fd| (fd, Kind::Child { ended: false })));
        sockets.map(|fd| (fd, Kind::Socket)).chain(pipes.map(|fd| (fd, Kind::Pipe))).chain(children)
    }

    fn complete(&mut self) -> Result<(), String> {
        self.tables.processes.index()?;
        match self.clients.keys().find(|id| id.0 >= self.next_client) {
            Some(id) => Err(format!("client {} comes twice", id.0)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
