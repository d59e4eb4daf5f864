//! What can happen, as tokens of one epoll.
//!
//! Tokens carry numbers that are never used twice, so an event that outlived its source finds
//! nothing. Reads and writes nothing itself.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use bincode::{Decode, Encode};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// A client connection, numbered in the order of arrival.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub(crate) struct ClientId(pub(crate) u64);

/// A hosted process, numbered in the order of starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub(crate) struct ProcessId(pub(crate) u64);

/// One of the two outputs of a hosted process; true is standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub(crate) struct PipeId(pub(crate) ProcessId, pub(crate) bool);

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Somebody wants to connect.
    Listener,
    /// A signal for the kernel itself.
    Signals,
    /// A connection can be read or written.
    Client(ClientId),
    /// An output of a process can be read.
    Output(PipeId),
    /// A process has ended.
    Exit(ProcessId),
    /// Something about the program that is to take over.
    Rehearsal,
}

impl Source {
    fn token(self) -> u64 {
        let (kind, number) = match self {
            Self::Listener => (0, 0),
            Self::Signals => (1, 0),
            Self::Client(id) => (2, id.0),
            Self::Output(PipeId(id, stderr)) => (3 + u64::from(stderr), id.0),
            Self::Exit(id) => (5, id.0),
            Self::Rehearsal => (7, 0),
        };
        number << 3 | kind
    }

    fn from_token(token: u64) -> Option<Self> {
        let id = token >> 3;
        Some(match token & 7 {
            0 => Self::Listener,
            1 => Self::Signals,
            2 => Self::Client(ClientId(id)),
            kind @ (3 | 4) => Self::Output(PipeId(ProcessId(id), kind == 4)),
            5 => Self::Exit(ProcessId(id)),
            7 => Self::Rehearsal,
            _ => return None,
        })
    }
}

/// The kernel's only place to wait.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: Epoll,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)? })
    }

    /// Reports `events` of `fd` as `source`, as long as it lasts (level-triggered). Closing the
    /// descriptor ends it.
    pub(crate) fn add(&self, fd: impl AsFd, source: Source, events: EpollFlags) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(events, source.token()))?)
    }

    /// Changes which events are reported.
    pub(crate) fn change(
        &self,
        fd: impl AsFd,
        source: Source,
        events: EpollFlags,
    ) -> io::Result<()> {
        Ok(self.epoll.modify(fd, &mut EpollEvent::new(events, source.token()))?)
    }

    /// Reports nothing more about `fd`, which stays open.
    pub(crate) fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    /// What has happened. Waits for it up to the limit, if there is one.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> io::Result<Vec<(Source, EpollFlags)>> {
        const AT_ONCE: usize = 64;
        let mut events = [EpollEvent::empty(); AT_ONCE];
        // Rounded up, so that a wait is not cut into many short ones.
        let limit = limit.map(|limit| limit.as_micros().div_ceil(1000));
        let limit = limit.map(|limit| i32::try_from(limit).unwrap_or(i32::MAX));
        let timeout = EpollTimeout::try_from(limit.unwrap_or(-1)).unwrap_or(EpollTimeout::NONE);
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(nix::Error::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let known = |event: &EpollEvent| Some((Source::from_token(event.data())?, event.events()));
        Ok(events.iter().take(count).filter_map(known).collect())
    }
}
