//! The hosted processes to their snapshot and back.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::sys::epoll::EpollFlags;
use protocol::papa::{Form, ProcessSpec};

use super::{Follower, Hosted, ProcessTable};
use crate::child::{Credentials, Exit, PidFd};
use crate::output::Ring;
use crate::poller::{ClientId, Poller, ProcessId, Source};
use crate::snapshot::v1;

impl Hosted {
    fn freeze(&self, id: ProcessId, listed: bool) -> v1::Process<'_> {
        let mut request = Vec::new();
        self.spec.print(Form::Exact, false, &mut request);
        v1::Process {
            id: id.0,
            listed,
            request,
            credentials: self.credentials.as_ref().map(Credentials::freeze),
            pid: self.pid,
            pidfd: self.pidfd.as_fd().as_raw_fd(),
            started: self.started,
            exit: self.exit.map(|exit| match exit {
                Exit::Code(code) => v1::Exit::Code(code),
                Exit::Signal(signal) => v1::Exit::Signal(signal),
            }),
            removed: self.removed,
            stdout: self.stdout.as_ref().map(AsRawFd::as_raw_fd),
            stderr: self.stderr.as_ref().map(AsRawFd::as_raw_fd),
            ring: self.ring.freeze(),
            acknowledged: self.acknowledged,
            followers: self.followers.iter().map(Follower::freeze).collect(),
        }
    }

    fn thaw<E>(
        frozen: &v1::Process<'_>,
        (spec, ring): (ProcessSpec, Ring),
        take: &mut impl FnMut(RawFd) -> Result<OwnedFd, E>,
    ) -> Result<Self, E> {
        Ok(Self {
            spec,
            credentials: frozen.credentials.as_ref().map(Credentials::thaw),
            pid: frozen.pid,
            pidfd: PidFd::from(take(frozen.pidfd)?),
            started: frozen.started,
            exit: frozen.exit.map(|exit| match exit {
                v1::Exit::Code(code) => Exit::Code(code),
                v1::Exit::Signal(signal) => Exit::Signal(signal),
            }),
            removed: frozen.removed,
            stdout: frozen.stdout.map(&mut *take).transpose()?,
            stderr: frozen.stderr.map(take).transpose()?,
            ring,
            acknowledged: frozen.acknowledged,
            followers: frozen.followers.iter().map(Follower::thaw).collect(),
            impatient: false,
        })
    }
}

impl Follower {
    fn freeze(&self) -> v1::Follower {
        let Self { client: ClientId(client), next, acknowledged, offset } = *self;
        v1::Follower { client, next, acknowledged, offset }
    }

    fn thaw(frozen: &v1::Follower) -> Self {
        let v1::Follower { client, next, acknowledged, offset } = *frozen;
        Self { client: ClientId(client), next, acknowledged, offset }
    }
}

impl ProcessTable {
    /// Adds itself to a snapshot.
    pub(crate) fn freeze_into<'a>(&'a self, state: &mut v1::State<'a>) {
        let listed =
            |id: &ProcessId, hosted: &Hosted| self.names.get(&hosted.spec.name) == Some(id);
        let processes = self.hosted.iter();
        state.processes =
            processes.map(|(id, hosted)| hosted.freeze(*id, listed(id, hosted))).collect();
        state.next_process = self.next_id;
        let leftovers = self.leftovers.pipes.iter();
        state.leftovers = leftovers
            .map(|(&(ProcessId(process), stderr), fd)| v1::Leftover {
                process,
                stderr,
                fd: fd.as_raw_fd(),
            })
            .collect();
        state.doomed = self.doomed.iter().map(|pidfd| pidfd.as_fd().as_raw_fd()).collect();
        state.dropped = self.dropped;
        state.discarded = self.leftovers.discarded;
    }

    /// The processes of a snapshot, whose requests and rings are in `understood`. `take` gives the
    /// descriptors by their numbers.
    ///
    /// # Errors
    /// That of `take`.
    pub(crate) fn thaw<E>(
        state: &v1::State<'_>,
        understood: Vec<(ProcessSpec, Ring)>,
        mut take: impl FnMut(RawFd) -> Result<OwnedFd, E>,
    ) -> Result<Self, E> {
        let mut table =
            Self { next_id: state.next_process, dropped: state.dropped, ..Self::default() };
        for (frozen, understood) in state.processes.iter().zip(understood) {
            let hosted = Hosted::thaw(frozen, understood, &mut take)?;
            if frozen.listed {
                table.names.insert(hosted.spec.name.clone(), ProcessId(frozen.id));
            }
            table.hosted.insert(ProcessId(frozen.id), hosted);
        }
        for leftover in &state.leftovers {
            let process = ProcessId(leftover.process);
            table.leftovers.keep(process, leftover.stderr, take(leftover.fd)?);
        }
        table.leftovers.discarded = state.discarded;
        for number in &state.doomed {
            table.doomed.push(PidFd::from(take(*number)?));
        }
        Ok(table)
    }

    /// Reports everything that happens to the processes, after all of them were taken in.
    pub(crate) fn register(&self, poller: &Poller) -> io::Result<()> {
        for (id, hosted) in &self.hosted {
            hosted.register(*id, poller)?;
        }
        for (&(id, stderr), pipe) in &self.leftovers.pipes {
            poller.add(pipe, Source::output(id, stderr), EpollFlags::EPOLLIN)?;
        }
        Ok(())
    }
}
