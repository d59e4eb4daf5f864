//! Everything to a snapshot and back.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::sys::epoll::EpollFlags;
use protocol::papa::{Command, ProcessSpec, SocketSpec, parse_request};

use super::{Kernel, open_signals};
use crate::access::Access;
use crate::child;
use crate::client::Client;
use crate::errno::errno_text;
use crate::listener::Listener;
use crate::origin::Origin;
use crate::output::Ring;
use crate::poller::{ClientId, Poller, Source};
use crate::process_table::ProcessTable;
use crate::snapshot::v1;

/// A snapshot does not make a kernel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ThawError {
    #[error("the snapshot holds a request that is not understood: {0}")]
    Request(String),
    #[error("the output of process {0} is not whole")]
    Ring(String),
    #[error("two entries of the snapshot are called {0}")]
    Twice(String),
    #[error("the snapshot names descriptor {0}, which is not there")]
    Descriptor(RawFd),
    #[error("cannot wait for events - {}", errno_text(.0))]
    System(#[from] io::Error),
}

impl Kernel {
    /// Everything as it is between two turns of the loop, for the program at `successor`.
    pub(crate) fn freeze<'a>(&'a self, requester: ClientId, successor: &'a [u8]) -> v1::State<'a> {
        let arguments = &self.origin.arguments;
        let mut state = v1::State {
            version: env!("CARGO_PKG_VERSION"),
            program: self.origin.program.as_os_str().as_bytes(),
            successor,
            arguments: arguments.iter().map(|word: &OsString| word.as_bytes()).collect(),
            requester: requester.0,
            exit_requested: self.exit_requested,
            shield: child::freeze_shield(),
            listener: self.listener.freeze(),
            sockets: self.tables.sockets.iter().map(|socket| socket.freeze()).collect(),
            values: self.tables.values.iter().collect(),
            processes: Vec::new(),
            next_process: 0,
            leftovers: Vec::new(),
            doomed: Vec::new(),
            dropped: 0,
            discarded: 0,
            clients: self.clients.values().map(Client::freeze).collect(),
            next_client: self.next_client,
        };
        self.tables.processes.freeze_into(&mut state);
        state
    }

    /// The kernel of a snapshot, with the descriptors in `open` under the numbers it knows them
    /// by. Everybody is served once, since what was due is not kept.
    ///
    /// Never drops anything that it was given: that would close what the predecessor still needs
    /// if this fails, and remove the paths of sockets.
    pub(crate) fn thaw(
        state: &v1::State<'_>,
        origin: Origin,
        access: Access,
        open: BTreeMap<RawFd, OwnedFd>,
    ) -> Result<ManuallyDrop<Self>, ThawError> {
        let mut open = ManuallyDrop::new(open);
        // All that can fail comes first, then what takes descriptors, then what registers them.
        let plan = Plan::new(state)?;
        if let Some(missing) = numbers(state).find(|number| !open.contains_key(number)) {
            return Err(ThawError::Descriptor(missing));
        }
        let (poller, signals) = (Poller::new()?, open_signals()?);
        let mut take = |number: RawFd| open.remove(&number).ok_or(ThawError::Descriptor(number));
        let listener = Listener::thaw(&state.listener, take(state.listener.fd)?);
        let mut kernel =
            ManuallyDrop::new(Self::assemble(listener, access, poller, signals, origin));
        for (frozen, spec) in state.sockets.iter().zip(plan.sockets) {
            let fd = frozen.fd.map(&mut take).transpose()?;
            kernel.tables.sockets.thaw(frozen, spec, fd);
        }
        for (name, value) in &state.values {
            kernel.tables.values.set((*name).to_owned(), Some(value.to_vec()));
        }
        kernel.tables.processes = ProcessTable::thaw(state, plan.processes, &mut take)?;
        for frozen in &state.clients {
            let client = Client::thaw(frozen, take(frozen.fd)?);
            kernel.due.insert(client.id);
            kernel.clients.insert(client.id, client);
        }
        kernel.next_client = state.next_client;
        kernel.exit_requested = state.exit_requested;
        kernel.register()?;
        Ok(kernel)
    }

    fn register(&self) -> io::Result<()> {
        self.register_own()?;
        self.tables.processes.register(&self.poller)?;
        for (id, client) in &self.clients {
            self.poller.add(client, Source::Client(*id), EpollFlags::empty())?;
        }
        Ok(())
    }
}

/// The parts of a snapshot that need to be understood.
struct Plan {
    sockets: Vec<SocketSpec>,
    processes: Vec<(ProcessSpec, Ring)>,
}

impl Plan {
    fn new(state: &v1::State<'_>) -> Result<Self, ThawError> {
        let mut names = BTreeSet::new();
        let mut sockets = Vec::new();
        for frozen in &state.sockets {
            let Ok(Some(Command::MakeSocket(spec))) = parse_request(&frozen.request).1 else {
                return Err(refused(&frozen.request));
            };
            if !names.insert(spec.name.clone()) {
                return Err(ThawError::Twice(spec.name));
            }
            sockets.push(*spec);
        }
        let (mut names, mut ids) = (BTreeSet::new(), BTreeSet::new());
        let mut processes = Vec::new();
        for frozen in &state.processes {
            let parsed = parse_request(&frozen.request).1;
            let Ok(Some(Command::MakeProcess { spec, .. })) = parsed else {
                return Err(refused(&frozen.request));
            };
            let fresh = ids.insert(frozen.id) && frozen.id < state.next_process;
            if !fresh || (frozen.listed && !names.insert(spec.name.clone())) {
                return Err(ThawError::Twice(spec.name));
            }
            let ring = Ring::thaw(&frozen.ring);
            let ring = ring.ok_or_else(|| ThawError::Ring(spec.name.clone()))?;
            processes.push((*spec, ring));
        }
        let mut ids = BTreeSet::new();
        for client in &state.clients {
            if !ids.insert(client.id) || client.id >= state.next_client {
                return Err(ThawError::Twice(format!("client {}", client.id)));
            }
        }
        Ok(Self { sockets, processes })
    }
}

/// Whether everything in a snapshot can be understood, without its descriptors.
pub(crate) fn check(state: &v1::State<'_>) -> Result<(), ThawError> {
    Plan::new(state).map(drop)
}

/// The numbers of all descriptors in a snapshot.
pub(crate) fn numbers<'s>(state: &'s v1::State<'_>) -> impl Iterator<Item = RawFd> + 's {
    let processes = state.processes.iter();
    std::iter::once(state.listener.fd)
        .chain(state.sockets.iter().filter_map(|socket| socket.fd))
        .chain(processes.flat_map(|p| [Some(p.pidfd), p.stdout, p.stderr].into_iter().flatten()))
        .chain(state.leftovers.iter().map(|leftover| leftover.fd))
        .chain(state.doomed.iter().copied())
        .chain(state.clients.iter().map(|client| client.fd))
}

/// The words of a snapshot that were given to the program.
pub(crate) fn arguments(state: &v1::State<'_>) -> Vec<OsString> {
    state.arguments.iter().map(|word| OsString::from_vec(word.to_vec())).collect()
}

fn refused(request: &[u8]) -> ThawError {
    const SHOWN: usize = 200;
    let shown = request.get(..SHOWN).unwrap_or(request);
    ThawError::Request(String::from_utf8_lossy(shown).into_owned())
}
