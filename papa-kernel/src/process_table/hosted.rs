//! One hosted process: what it was started as, its pipes, its unread output, and how far each client has
//! read that.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bincode::{Decode, Encode};
use nix::sys::epoll::EpollFlags;
use papa_handover::field::{Entry, Fresh, Kept, Request};
use papa_handover::{Descriptor, Refusal};
use papa_spawn::child::{Credentials, Exit, PidFd, Spawned};
use protocol::papa::{DEFAULT_BUFFER, ProcessRow, ProcessSpec};

use crate::output::{RecordView, Ring};
use crate::poller::{ClientId, PipeId, Poller, ProcessId, Source};

/// The longest note beside a process, in bytes.
const LONGEST_NOTE: usize = 4 << 10;

/// How far one client has read one process.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(crate) struct Follower {
    pub(crate) client: ClientId,
    /// The next record to send.
    pub(super) next: u64,
    /// Everything below was acknowledged.
    pub(super) acknowledged: u64,
    /// Bytes of the process that were sent or reported as dropped.
    pub(super) offset: u64,
}

/// A process that the kernel started.
#[derive(Debug, Encode, Decode)]
pub(crate) struct Hosted {
    pub(super) id: ProcessId,
    /// Its name is in the list; otherwise it is reaped, and only still read.
    pub(super) listed: bool,
    pub(crate) spec: Request<ProcessSpec>,
    pub(super) credentials: Option<Kept<Credentials>>,
    pub(super) pid: i32,
    pub(crate) pidfd: Descriptor,
    /// Seconds since 1970.
    pub(super) started: f64,
    pub(super) exit: Option<Kept<Exit>>,
    /// Forgotten by its owner; leaves the list at its end.
    pub(super) removed: bool,
    pub(crate) stdout: Option<Descriptor>,
    pub(crate) stderr: Option<Descriptor>,
    pub(super) ring: Ring,
    /// The highest record that anybody has acknowledged.
    pub(super) acknowledged: u64,
    pub(crate) followers: Vec<Follower>,
    /// Nobody has answered for so long that output is no longer held back for it.
    pub(super) impatient: Fresh<bool>,
}

impl Entry for Hosted {
    type Key = ProcessId;

    fn key(&self) -> ProcessId {
        self.id
    }
}

/// Whether a note is short enough to be kept.
pub(crate) fn check_note(note: Option<&[u8]>) -> Result<(), Refusal> {
    if note.is_some_and(|note| note.len() > LONGEST_NOTE) {
        return Err(Refusal::new(format!("A note may have {LONGEST_NOTE} bytes at most")));
    }
    Ok(())
}

/// One step of reading a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PipeRead {
    /// New output is in the ring.
    Data,
    /// Not read: a watcher must make room first.
    Full,
    /// Nothing there now, or nothing any more.
    Nothing,
}

impl Hosted {
    /// A process that was just started.
    pub(super) fn new(
        id: ProcessId,
        spec: ProcessSpec,
        credentials: Option<Credentials>,
        spawned: Spawned,
        started: f64,
    ) -> Self {
        let limit = usize::try_from(spec.bufsize.unwrap_or(DEFAULT_BUFFER)).unwrap_or(usize::MAX);
        Self {
            id,
            listed: true,
            spec: Request(spec),
            credentials: credentials.map(Kept),
            pid: spawned.pid,
            pidfd: OwnedFd::from(spawned.pidfd).into(),
            started,
            exit: None,
            removed: false,
            stdout: spawned.stdout.map(Descriptor::from),
            stderr: spawned.stderr.map(Descriptor::from),
            ring: Ring::new(limit),
            acknowledged: 0,
            followers: Vec::new(),
            impatient: Fresh(false),
        }
    }

    /// The row in `list`.
    pub(crate) fn row(&self) -> ProcessRow {
        ProcessRow {
            name: self.spec.name.clone(),
            pid: self.pid,
            running: self.exit.is_none(),
            started: self.started,
            uid: self.credentials.as_ref().and_then(|credentials| credentials.0.uid),
            gid: self.credentials.as_ref().map(|credentials| credentials.0.gid),
            shell: self.spec.shell,
            dropped: Some(self.ring.dropped()).filter(|dropped| *dropped > 0),
            note: self.spec.note.clone(),
            args: self.spec.argv.iter().map(|argument| argument.text().to_vec()).collect(),
        }
    }

    /// Whether `wanted` describes this process.
    pub(crate) fn matches(&self, wanted: &ProcessSpec, credentials: Option<Credentials>) -> bool {
        self.spec.describes(wanted) && self.credentials == credentials.map(Kept)
    }

    /// Bytes of the words it was started with, and of the note.
    pub(crate) fn words(&self) -> usize {
        let words = self.spec.argv.iter().map(|argument| argument.text().len());
        let env = self.spec.env.iter().map(|(name, value)| name.len() + value.len());
        words.chain(env).sum::<usize>() + self.spec.note.as_ref().map_or(0, Vec::len)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.exit.is_none()
    }

    /// Keeps a note in place of the last one, unless it is too long.
    pub(crate) fn keep_note(&mut self, note: Option<Vec<u8>>) -> Result<(), Refusal> {
        check_note(note.as_deref())?;
        self.spec.0.note = note.filter(|note| !note.is_empty());
        Ok(())
    }

    /// Where a client begins that follows from now on: bytes that came before, and the note.
    pub(crate) fn beginning(&self) -> (u64, &[u8]) {
        (self.ring.released_offset(), self.spec.note.as_deref().unwrap_or_default())
    }

    /// Lets `client` follow from the oldest unacknowledged record.
    pub(crate) fn follow(&mut self, client: ClientId) {
        let next = self.ring.first_seq();
        let offset = self.ring.released_offset();
        self.followers.push(Follower { client, next, acknowledged: next, offset });
    }

    /// What `client` has not been sent yet, in order, and the bytes missing before each record.
    /// `take` says for each whether it has been sent; it stops at the first that has not.
    /// Returns the number after the last record sent, if there was one.
    pub(crate) fn send_unread(
        &mut self,
        client: ClientId,
        mut take: impl FnMut(RecordView<'_>, u64) -> bool,
    ) -> Option<u64> {
        let follower = self.followers.iter_mut().find(|follower| follower.client == client)?;
        let first = follower.next;
        for record in self.ring.records_from(follower.next) {
            let missing = record.offset.saturating_sub(follower.offset);
            if !take(record, missing) {
                break;
            }
            follower.next = record.seq + 1;
            follower.offset = record.offset + (record.data.0.len() + record.data.1.len()) as u64;
        }
        self.ring.mark_shown(follower.next);
        (follower.next > first).then_some(follower.next)
    }

    /// Whether something waits for `client`.
    pub(crate) fn has_unread(&self, client: ClientId) -> bool {
        let end = self.ring.end_seq();
        self.followers.iter().any(|follower| follower.client == client && follower.next < end)
    }

    /// Whether `seq` is the end of everything this process will ever say.
    pub(super) fn is_end(&self, seq: u64) -> bool {
        self.exit.is_some() && seq >= self.ring.end_seq()
    }

    pub(super) fn release_read(&mut self) {
        let slowest = self.followers.iter().map(|follower| follower.acknowledged).min();
        self.ring.release(slowest.unwrap_or(self.acknowledged).min(self.acknowledged));
    }

    /// How much can be read without losing anything to a watcher that keeps up. `None`: there is
    /// none, so there is no reason to hold back.
    pub(super) fn room(&self) -> Option<usize> {
        let waits = !self.followers.is_empty() && !self.impatient.0 && self.is_running();
        let limit = Some(self.ring.limit()).filter(|limit| waits && *limit > 0)?;
        Some(limit.saturating_sub(self.ring.len()))
    }

    /// The process itself, to be asked how it ended.
    pub(super) fn process(&self) -> PidFd<BorrowedFd<'_>> {
        self.pidfd.as_fd().into()
    }

    /// Reports its output and its end, as far as they have not come.
    pub(super) fn register(&self, poller: &Poller) -> io::Result<()> {
        let id = self.id;
        if self.is_running() {
            poller.add(&self.pidfd, Source::Exit(id), EpollFlags::EPOLLIN)?;
        }
        [false, true].into_iter().try_for_each(|stderr| match self.pipe(stderr) {
            Some(pipe) => poller.add(pipe, Source::Output(PipeId(id, stderr)), EpollFlags::EPOLLIN),
            None => Ok(()),
        })
    }

    pub(super) fn pipe(&self, stderr: bool) -> Option<&Descriptor> {
        if stderr { self.stderr.as_ref() } else { self.stdout.as_ref() }
    }

    pub(super) fn pipe_mut(&mut self, stderr: bool) -> &mut Option<Descriptor> {
        if stderr { &mut self.stderr } else { &mut self.stdout }
    }

    pub(super) fn read_pipe(&mut self, stderr: bool, buffer: &mut [u8], now: f64) -> PipeRead {
        let Some(pipe) = self.pipe(stderr) else { return PipeRead::Nothing };
        match nix::unistd::read(pipe, buffer) {
            Ok(0) => *self.pipe_mut(stderr) = None,
            Ok(count) => {
                self.ring.push_output(stderr, now, buffer.get(..count).unwrap_or_default());
                return PipeRead::Data;
            }
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
            Err(errno) => {
                tracing::warn!(name = self.spec.name, %errno, "could not read a pipe");
                *self.pipe_mut(stderr) = None;
            }
        }
        PipeRead::Nothing
    }
}
