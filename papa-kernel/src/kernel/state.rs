//! What the kernel keeps over an upgrade, and going on from it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use bincode::{Decode, Encode};
use nix::sys::epoll::EpollFlags;
use papa_spawn::child;

use super::{Kernel, open_signals};
use crate::access::Access;
use crate::client::Client;
use crate::descriptor::{Descriptor, Kind};
use crate::listener::Listener;
use crate::origin::Origin;
use crate::poller::{ClientId, Poller, Source};
use crate::refusal::Refusal;
use crate::snapshot::field::Table;
use crate::snapshot::{self, SnapshotError};
use crate::tables::Tables;

/// Everything that goes over to the next program. See `snapshot` for what a change means.
#[derive(Debug, Encode, Decode)]
pub(crate) struct State {
    /// Version of the kernel that wrote this.
    pub(crate) version: String,
    /// The file that this program was started from.
    program: Vec<u8>,
    /// The file that is to take over.
    successor: Vec<u8>,
    /// The arguments that the kernel serves with, without the program's name.
    arguments: Vec<Vec<u8>>,
    /// The client that asked for the upgrade.
    pub(crate) requester: ClientId,
    /// A client asked for the end and nobody has come since.
    pub(super) exit_requested: bool,
    /// What hosted processes must not inherit: the limits of open files, and a protection from the OOM
    /// killer.
    shield: Option<((u64, u64), bool)>,
    pub(super) listener: Listener,
    pub(crate) tables: Tables,
    pub(super) clients: Table<Client>,
    pub(super) next_client: u64,
}

impl State {
    /// At the start of a kernel, which got `arguments` to serve with.
    pub(super) fn new(listener: Listener, program: PathBuf, arguments: Vec<OsString>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            program: program.into_os_string().into_vec(),
            successor: Vec::new(),
            arguments: arguments.into_iter().map(OsStringExt::into_vec).collect(),
            requester: ClientId::default(),
            exit_requested: false,
            shield: child::shield().map(|shield| (shield.nofile, shield.reset_oom)),
            listener,
            tables: Tables::default(),
            clients: Table::default(),
            next_client: 0,
        }
    }

    /// Reads a snapshot. Nothing is opened, closed or owned by that.
    ///
    /// # Errors
    /// It is damaged, or no kernel could have written it.
    pub(crate) fn decode(snapshot: &[u8]) -> Result<Self, SnapshotError> {
        Self::checked(snapshot::decode(snapshot)?)
    }

    /// Like [`State::decode`], of a payload without a head.
    pub(crate) fn decode_payload(payload: &[u8]) -> Result<Self, SnapshotError> {
        Self::checked(snapshot::decode_payload(payload)?)
    }

    fn checked(mut self) -> Result<Self, SnapshotError> {
        self.tables.processes.index().map_err(SnapshotError::Decode)?;
        match self.clients.keys().find(|id| id.0 >= self.next_client) {
            Some(id) => Err(SnapshotError::Decode(format!("client {} comes twice", id.0))),
            None => Ok(self),
        }
    }

    /// The snapshot for the program at `successor`, which `requester` has asked for.
    pub(crate) fn encode_for(
        &mut self,
        requester: ClientId,
        successor: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        (self.requester, self.successor) = (requester, successor.to_vec());
        let taken = snapshot::encode(self);
        taken.map_err(|error| Refusal::new(format!("Could not take a snapshot - {error}")))
    }

    /// The arguments that the kernel serves with.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        self.arguments.iter().cloned().map(OsString::from_vec).collect()
    }

    pub(crate) fn program(&self) -> &[u8] {
        &self.program
    }

    pub(crate) fn successor(&self) -> PathBuf {
        OsStr::from_bytes(&self.successor).into()
    }

    /// This program is the one that was to take over. Returns the version of the one before.
    pub(crate) fn succeed(&mut self) {
        self.program.clone_from(&self.successor);
    }

    /// All descriptors, and what each is said to be.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (&Descriptor, Kind)> {
        let Tables { sockets, processes, .. } = &self.tables;
        let sockets = sockets.iter().filter_map(|socket| socket.fd.as_ref());
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
}

impl Kernel {
    /// Goes on from a snapshot whose descriptors are open. Everybody is served once, since what was due is
    /// not kept. Owns no descriptor before [`Kernel::claim`], so dropping it closes nothing that the
    /// predecessor needs, and removes no path of a socket.
    pub(crate) fn resume(state: State, access: Access) -> io::Result<Self> {
        let role = Origin::new(&state.arguments()).role;
        let mut kernel = Self::assemble(state, access, Poller::new()?, open_signals()?, role);
        kernel.register_own()?;
        kernel.state.tables.processes.register(&kernel.poller)?;
        for (id, client) in kernel.state.clients.iter() {
            kernel.poller.add(client, Source::Client(*id), EpollFlags::empty())?;
        }
        kernel.due = kernel.state.clients.keys().copied().collect();
        Ok(kernel)
    }

    /// From now on this is the kernel, and there is no way back.
    pub(crate) fn claim(&mut self) {
        self.state.descriptors().for_each(|(fd, _)| fd.claim());
        if let Some((nofile, reset_oom)) = self.state.shield {
            child::restore_shield(child::Shield { nofile, reset_oom });
        }
        env!("CARGO_PKG_VERSION").clone_into(&mut self.state.version);
    }
}
