//! The hosted processes to their snapshot and back.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::epoll::EpollFlags;
use protocol::papa::{Form, ProcessSpec};

use super::{Follower, Hosted, ProcessTable};
use crate::child::{Credentials, Exit, PidFd};
use crate::output::Ring;
use crate::poller::{ClientId, Poller, ProcessId, Source};
use crate::snapshot::v1;

/// What a hosted process of a snapshot had open.
#[derive(Debug)]
pub(crate) struct Descriptors {
    pub(crate) pidfd: OwnedFd,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

impl Hosted {
    fn freeze(&self, id: ProcessId, listed: bool) -> v1::Process<'_> {
        let mut request = Vec::new();
        self.spec.print(Form::Exact, false, &mut request);
        let follower = |follower: &Follower| v1::Follower {
            client: follower.client.0,
            next: follower.next,
            acknowledged: follower.acknowledged,
            offset: follower.offset,
        };
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
            followers: self.followers.iter().map(follower).collect(),
        }
    }
}

impl ProcessTable {
    /// What a snapshot keeps of it: the processes, and the number of the next.
    pub(crate) fn freeze(&self) -> (Vec<v1::Process<'_>>, u64) {
        let frozen = self
            .hosted
            .iter()
            .map(|(id, hosted)| hosted.freeze(*id, self.names.get(&hosted.spec.name) == Some(id)));
        (frozen.collect(), self.next_id)
    }

    /// Takes in the process of a snapshot.
    pub(crate) fn thaw(
        &mut self,
        frozen: &v1::Process<'_>,
        spec: ProcessSpec,
        ring: Ring,
        open: Descriptors,
    ) {
        let id = ProcessId(frozen.id);
        if frozen.listed {
            self.names.insert(spec.name.clone(), id);
        }
        let follower = |follower: &v1::Follower| Follower {
            client: ClientId(follower.client),
            next: follower.next,
            acknowledged: follower.acknowledged,
            offset: follower.offset,
        };
        let hosted = Hosted {
            spec,
            credentials: frozen.credentials.as_ref().map(Credentials::thaw),
            pid: frozen.pid,
            pidfd: PidFd::from(open.pidfd),
            started: frozen.started,
            exit: frozen.exit.map(|exit| match exit {
                v1::Exit::Code(code) => Exit::Code(code),
                v1::Exit::Signal(signal) => Exit::Signal(signal),
            }),
            removed: frozen.removed,
            stdout: open.stdout,
            stderr: open.stderr,
            ring,
            acknowledged: frozen.acknowledged,
            followers: frozen.followers.iter().map(follower).collect(),
            impatient: false,
        };
        self.hosted.insert(id, hosted);
    }

    /// Pipes that outlive their process.
    pub(crate) fn freeze_leftovers(&self) -> Vec<v1::Leftover> {
        let pipes = self.leftovers.pipes.iter();
        pipes
            .map(|((process, stderr), fd)| v1::Leftover {
                process: process.0,
                stderr: *stderr,
                fd: fd.as_raw_fd(),
            })
            .collect()
    }

    /// Takes in a pipe that outlives its process.
    pub(crate) fn thaw_leftover(&mut self, process: ProcessId, stderr: bool, fd: OwnedFd) {
        self.leftovers.keep(process, stderr, fd);
    }

    /// Children that are still to be reaped.
    pub(crate) fn freeze_doomed(&self) -> Vec<i32> {
        self.doomed.iter().map(|pidfd| pidfd.as_fd().as_raw_fd()).collect()
    }

    /// Takes in a child that is still to be reaped.
    pub(crate) fn thaw_doomed(&mut self, pidfd: OwnedFd) {
        self.doomed.push(PidFd::from(pidfd));
    }

    /// Bytes dropped by processes that are gone, and discarded from leftover pipes.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.dropped, self.leftovers.discarded)
    }

    /// Sets the number of the next process, and the totals so far.
    pub(crate) fn continue_at(&mut self, next_id: u64, (dropped, discarded): (u64, u64)) {
        self.next_id = next_id;
        self.dropped = dropped;
        self.leftovers.discarded = discarded;
    }

    /// Reports everything that happens to the processes, after all of them were taken in.
    pub(crate) fn register(&self, poller: &Poller) -> io::Result<()> {
        for (id, hosted) in &self.hosted {
            if hosted.exit.is_none() {
                poller.add(&hosted.pidfd, Source::Exit(*id), EpollFlags::EPOLLIN)?;
            }
            if let Some(pipe) = &hosted.stdout {
                poller.add(pipe, Source::Stdout(*id), EpollFlags::EPOLLIN)?;
            }
            if let Some(pipe) = &hosted.stderr {
                poller.add(pipe, Source::Stderr(*id), EpollFlags::EPOLLIN)?;
            }
        }
        for ((id, stderr), pipe) in &self.leftovers.pipes {
            let source = if *stderr { Source::Stderr(*id) } else { Source::Stdout(*id) };
            poller.add(pipe, source, EpollFlags::EPOLLIN)?;
        }
        Ok(())
    }
}
