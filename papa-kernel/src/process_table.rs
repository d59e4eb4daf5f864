//! The hosted processes, and who has read how much of their output.
//!
//! ```text
//!            end seen                    end acknowledged, or removed
//! running ------------> ended (zombie) ------------------------------> gone
//!    | remove: output is forgotten, goes by itself at its end
//! ```
//!
//! The pid stays ours until the process leaves the list, because only then it is reaped. A
//! process that has left its name behind is kept as long as a client still reads its stream.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bincode::{Decode, Encode};
use nix::sys::epoll::EpollFlags;
use papa_spawn::child::{Credentials, Exit, Output, PidFd, Spawned};
use protocol::papa::{OutputMode, ProcessRow, ProcessSpec};

use crate::descriptor::Descriptor;
use crate::leftover::Leftovers;
use crate::output::{RecordView, Ring};
use crate::poller::{ClientId, Poller, ProcessId, Source};
use crate::snapshot::field::{Entry, Fresh, Request, Table};

/// Unread output kept for a process that asks for nothing else; what Circus documents.
const DEFAULT_BUFFER: u64 = 2 << 20;

/// How far one client has read one process.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
struct Follower {
    client: ClientId,
    /// The next record to send.
    next: u64,
    /// Everything below was acknowledged.
    acknowledged: u64,
    /// Bytes of the process that were sent or reported as dropped.
    offset: u64,
}

/// Whom a process runs as: user, group and supplementary groups.
#[derive(Debug, PartialEq, Encode, Decode)]
pub(crate) struct RunsAs(Option<u32>, u32, Option<Vec<u32>>);

impl From<Credentials> for RunsAs {
    fn from(Credentials { uid, gid, groups }: Credentials) -> Self {
        Self(uid, gid, groups)
    }
}

/// How a process ended.
#[derive(Debug, Encode, Decode)]
enum End {
    Code(i32),
    Signal(i32),
}

/// A process that the kernel started.
#[derive(Debug, Encode, Decode)]
pub(crate) struct Hosted {
    id: ProcessId,
    /// Its name is in the list; otherwise it is reaped, and only still read.
    listed: bool,
    pub(crate) spec: Request<ProcessSpec>,
    credentials: Option<RunsAs>,
    pid: i32,
    pub(crate) pidfd: Descriptor,
    /// Seconds since 1970.
    started: f64,
    exit: Option<End>,
    /// Forgotten by its owner; leaves the list at its end.
    removed: bool,
    pub(crate) stdout: Option<Descriptor>,
    pub(crate) stderr: Option<Descriptor>,
    ring: Ring,
    /// The highest record that anybody has acknowledged.
    acknowledged: u64,
    followers: Vec<Follower>,
    /// Nobody has answered for so long that output is no longer held back for it.
    impatient: Fresh<bool>,
}

impl Entry for Hosted {
    type Key = ProcessId;

    fn key(&self) -> ProcessId {
        self.id
    }
}

/// Hosted processes by name and by number.
#[derive(Debug, Default, Encode, Decode)]
pub(crate) struct ProcessTable {
    /// Those listed.
    names: Fresh<BTreeMap<String, ProcessId>>,
    pub(crate) hosted: Table<Hosted>,
    next_id: u64,
    pub(crate) leftovers: Leftovers,
}

/// One step of reading a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PipeRead {
    /// New output is in the ring.
    Data,
    /// Not read: a watcher must make room first.
    Full,
    /// Nothing there now.
    Empty,
    /// The pipe has ended and is closed.
    End,
}

impl Hosted {
    /// The row in `list`.
    pub(crate) fn row(&self) -> ProcessRow {
        ProcessRow {
            name: self.spec.name.clone(),
            pid: self.pid,
            running: self.exit.is_none(),
            started: self.started,
            uid: self.credentials.as_ref().and_then(|credentials| credentials.0),
            gid: self.credentials.as_ref().map(|credentials| credentials.1),
            shell: self.spec.shell,
            dropped: Some(self.ring.dropped()).filter(|dropped| *dropped > 0),
            note: self.spec.note.clone(),
            args: self.spec.argv.iter().map(|argument| argument.text().to_vec()).collect(),
        }
    }

    /// Whether `wanted` describes this process. The buffer size may be left out, and notes do not count.
    pub(crate) fn matches(&self, wanted: &ProcessSpec, credentials: Option<&RunsAs>) -> bool {
        let sorted = |spec: &ProcessSpec| {
            let (mut env, mut limits) = (spec.env.clone(), spec.rlimits.clone());
            env.sort();
            limits.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
            limits.sort();
            (env, limits)
        };
        let own = &self.spec.0;
        let size = |spec: &ProcessSpec| spec.bufsize.unwrap_or(DEFAULT_BUFFER);
        own.argv == wanted.argv
            && self.credentials.as_ref() == credentials
            && own.working_dir == wanted.working_dir
            && own.umask == wanted.umask
            && own.shell == wanted.shell
            && (own.stdout, own.stderr) == (wanted.stdout, wanted.stderr)
            && (wanted.bufsize.is_none() || size(own) == size(wanted))
            && sorted(own) == sorted(wanted)
    }

    /// Where the outputs of a process go that `spec` describes.
    pub(crate) fn outputs(spec: &ProcessSpec) -> (Output, Output) {
        let keeps_none = spec.bufsize == Some(0);
        let output = |mode| match mode {
            OutputMode::Stdout => Output::Stdout,
            OutputMode::Pipe if !keeps_none => Output::Pipe,
            _ => Output::Null,
        };
        (output(spec.stdout), output(spec.stderr))
    }

    pub(crate) fn is_running(&self) -> bool {
        self.exit.is_none()
    }

    /// The clients that follow it.
    pub(crate) fn followers(&self) -> impl Iterator<Item = ClientId> + '_ {
        self.followers.iter().map(|follower| follower.client)
    }

    /// Keeps a note in place of the last one.
    pub(crate) fn keep_note(&mut self, note: Option<Vec<u8>>) {
        self.spec.0.note = note.filter(|note| !note.is_empty());
    }

    /// Where a client begins that follows from now on: bytes that came before, and the note.
    pub(crate) fn beginning(&self) -> (u64, &[u8]) {
        (self.ring.released_offset(), self.spec.note.as_deref().unwrap_or_default())
    }

    /// The number after the last record that ends at or before `offset`, of those below `seq`.
    pub(crate) fn records_up_to(&self, offset: u64, seq: u64) -> u64 {
        self.ring.seq_at(offset).min(seq)
    }

    /// Lets `client` follow from the oldest unacknowledged record.
    pub(crate) fn follow(&mut self, client: ClientId) {
        let next = self.ring.first_seq();
        let offset = self.ring.released_offset();
        self.followers.push(Follower { client, next, acknowledged: next, offset });
    }

    /// What `client` has not been sent yet, in order, and the bytes missing before each record.
    /// `take` says for each whether it has been sent; it stops at the first that has not.
    /// Returns the number after the last record sent.
    pub(crate) fn send_unread(
        &mut self,
        client: ClientId,
        mut take: impl FnMut(RecordView<'_>, u64) -> bool,
    ) -> Option<u64> {
        let follower = self.followers.iter_mut().find(|follower| follower.client == client)?;
        for record in self.ring.records_from(follower.next) {
            let missing = record.offset.saturating_sub(follower.offset);
            if !take(record, missing) {
                break;
            }
            follower.next = record.seq + 1;
            follower.offset = record.offset + (record.data.0.len() + record.data.1.len()) as u64;
        }
        self.ring.mark_shown(follower.next);
        Some(follower.next)
    }

    /// Whether something waits for `client`.
    pub(crate) fn has_unread(&self, client: ClientId) -> bool {
        let end = self.ring.end_seq();
        self.followers.iter().any(|follower| follower.client == client && follower.next < end)
    }

    /// Whether `seq` is the end of everything this process will ever say.
    fn is_end(&self, seq: u64) -> bool {
        self.exit.is_some() && seq >= self.ring.end_seq()
    }

    fn release_read(&mut self) {
        let slowest = self.followers.iter().map(|follower| follower.acknowledged).min();
        self.ring.release(slowest.unwrap_or(self.acknowledged).min(self.acknowledged));
    }

    /// How much can be read without losing anything to a watcher that keeps up. `None`: there is
    /// none, so there is no reason to hold back.
    fn room(&self) -> Option<usize> {
        let waits = !self.followers.is_empty() && !self.impatient.0 && self.is_running();
        let limit = Some(self.ring.limit()).filter(|limit| waits && *limit > 0)?;
        Some(limit.saturating_sub(self.ring.len()))
    }

    /// The process itself, to be asked how it ended.
    fn process(&self) -> PidFd<BorrowedFd<'_>> {
        self.pidfd.as_fd().into()
    }

    /// Reports its output and its end, as far as they have not come.
    fn register(&self, poller: &Poller) -> io::Result<()> {
        let id = self.id;
        if self.is_running() {
            poller.add(&self.pidfd, Source::Exit(id), EpollFlags::EPOLLIN)?;
        }
        for (stderr, pipe) in [(false, &self.stdout), (true, &self.stderr)] {
            if let Some(pipe) = pipe {
                poller.add(pipe, Source::output(id, stderr), EpollFlags::EPOLLIN)?;
            }
        }
        Ok(())
    }

    fn read_pipe(&mut self, stderr: bool, buffer: &mut [u8], now: f64) -> PipeRead {
        let pipe = if stderr { &mut self.stderr } else { &mut self.stdout };
        let Some(fd) = pipe else { return PipeRead::End };
        match nix::unistd::read(fd, buffer) {
            Ok(0) => *pipe = None,
            Ok(count) => {
                self.ring.push_output(stderr, now, buffer.get(..count).unwrap_or_default());
                return PipeRead::Data;
            }
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return PipeRead::Empty,
            Err(errno) => {
                tracing::warn!(name = self.spec.name, %errno, "could not read a pipe");
                *pipe = None;
            }
        }
        PipeRead::End
    }
}

impl ProcessTable {
    /// Takes over a process that was just started.
    pub(crate) fn insert(
        &mut self,
        spec: ProcessSpec,
        credentials: Option<RunsAs>,
        spawned: Spawned,
        started: f64,
        poller: &Poller,
    ) -> io::Result<ProcessId> {
        let id = ProcessId(self.next_id);
        self.next_id += 1;
        let limit = usize::try_from(spec.bufsize.unwrap_or(DEFAULT_BUFFER)).unwrap_or(usize::MAX);
        let hosted = Hosted {
            id,
            listed: true,
            spec: Request(spec),
            credentials,
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
        };
        if let Err(error) = hosted.register(poller) {
            // Nobody would notice its end: better not to have started it.
            let _ = hosted.process().send_signal(libc::SIGKILL);
            self.leftovers.doomed.push(hosted.pidfd);
            return Err(error);
        }
        self.names.0.insert(hosted.spec.name.clone(), id);
        self.hosted.insert(id, hosted);
        Ok(id)
    }

    pub(crate) fn find(&self, name: &str) -> Option<(ProcessId, &Hosted)> {
        let id = *self.names.0.get(name)?;
        Some((id, self.hosted.get(&id)?))
    }

    pub(crate) fn get_mut(&mut self, id: ProcessId) -> Option<&mut Hosted> {
        self.hosted.get_mut(&id)
    }

    /// The listed processes, sorted by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, ProcessId, &Hosted)> {
        self.names
            .0
            .iter()
            .filter_map(|(name, id)| Some((name.as_str(), *id, self.hosted.get(id)?)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.0.is_empty()
    }

    /// Reads a pipe once, up to the size of `buffer`.
    pub(crate) fn read_output(
        &mut self,
        id: ProcessId,
        stderr: bool,
        buffer: &mut [u8],
        now: f64,
    ) -> PipeRead {
        match self.hosted.get_mut(&id).filter(|hosted| hosted.is_running()) {
            Some(hosted) => match hosted.room() {
                Some(0) => PipeRead::Full,
                room => {
                    let size = room.map_or(buffer.len(), |room| room.min(buffer.len()));
                    hosted.read_pipe(stderr, buffer.get_mut(..size).unwrap_or_default(), now)
                }
            },
            None => {
                self.leftovers.drain(id, stderr, buffer);
                PipeRead::End
            }
        }
    }

    /// Looks whether a process has ended. Its last output is taken; a pipe that a
    /// grandchild holds open is kept apart and cannot hide the end. True if it has ended now.
    pub(crate) fn note_exit(
        &mut self,
        id: ProcessId,
        buffer: &mut [u8],
        now: f64,
        poller: &Poller,
    ) -> bool {
        /// A pipe holds 1 MiB at most by default; a grandchild may go on writing for ever.
        const MOST_READS: usize = 32;
        let Some(hosted) = self.hosted.get_mut(&id) else { return false };
        if hosted.exit.is_some() {
            return false;
        }
        let exit = match hosted.process().peek() {
            Ok(Some(exit)) => exit,
            Ok(None) => return false,
            Err(error) => {
                tracing::error!(name = hosted.spec.name, %error, "could not read how a child ended");
                Exit::Code(255)
            }
        };
        if hosted.room().is_some() {
            // What is left in the pipes comes on top, rather than pushing out what a watcher is
            // about to read.
            hosted.ring.extend_limit(MOST_READS * buffer.len());
        }
        for stderr in [false, true] {
            let mut reads = 0..MOST_READS;
            while reads.next().is_some() && hosted.read_pipe(stderr, buffer, now) == PipeRead::Data
            {
            }
        }
        for (stderr, pipe) in [(false, hosted.stdout.take()), (true, hosted.stderr.take())] {
            if let Some(pipe) = pipe {
                self.leftovers.keep(id, stderr, pipe);
            }
        }
        // It stays readable until it is reaped, which may be much later.
        if let Err(error) = poller.remove(&hosted.pidfd) {
            tracing::error!(name = hosted.spec.name, %error, "could not stop watching a child");
        }
        hosted.exit = Some(match exit {
            Exit::Code(code) => End::Code(code),
            Exit::Signal(signal) => End::Signal(signal),
        });
        hosted.ring.push_closed(now, exit.papa_code());
        if hosted.removed {
            self.unlist(id);
        }
        true
    }

    /// Notes that `client` has acknowledged everything below `seq`. True when that was the end
    /// of the process, which then leaves the list.
    pub(crate) fn acknowledge(&mut self, id: ProcessId, client: ClientId, seq: u64) -> bool {
        let Some(hosted) = self.hosted.get_mut(&id) else { return true };
        let follower = hosted.followers.iter_mut().find(|follower| follower.client == client);
        if let Some(follower) = follower {
            follower.acknowledged = follower.acknowledged.max(seq);
        }
        hosted.impatient.0 = false;
        hosted.acknowledged = hosted.acknowledged.max(seq);
        let ended = hosted.is_end(seq);
        if ended {
            self.unlist(id);
            self.unfollow(id, client);
        } else {
            hosted.release_read();
        }
        ended
    }

    /// Forgets that `client` follows.
    pub(crate) fn unfollow(&mut self, id: ProcessId, client: ClientId) {
        if let Some(hosted) = self.hosted.get_mut(&id) {
            hosted.followers.retain(|follower| follower.client != client);
            hosted.release_read();
            self.drop_if_done(id);
        }
    }

    /// Forgets the output of a process; one that has ended leaves the list.
    pub(crate) fn remove(&mut self, id: ProcessId) {
        let Some(hosted) = self.hosted.get_mut(&id) else { return };
        hosted.removed = true;
        if hosted.is_running() {
            hosted.ring.discard();
            for follower in &mut hosted.followers {
                follower.offset = hosted.ring.released_offset();
            }
        } else {
            self.unlist(id);
        }
    }

    /// Takes the name and the pid away from a process that has ended.
    fn unlist(&mut self, id: ProcessId) {
        let Some(hosted) = self.hosted.get_mut(&id) else { return };
        if std::mem::take(&mut hosted.listed) {
            self.names.0.remove(&hosted.spec.name);
            match hosted.process().reap() {
                Ok(_) => tracing::debug!(name = hosted.spec.name, pid = hosted.pid, "reaped"),
                Err(error) => {
                    tracing::error!(name = hosted.spec.name, %error, "could not reap a child");
                }
            }
        }
        self.drop_if_done(id);
    }

    fn drop_if_done(&mut self, id: ProcessId) {
        let done = |hosted: &mut Hosted| hosted.followers.is_empty() && !hosted.listed;
        if self.hosted.get_mut(&id).is_some_and(done)
            && let Some(gone) = self.hosted.remove(&id)
        {
            self.leftovers.dropped += gone.ring.dropped();
        }
    }

    /// Reaps what was killed at its start, as soon as that has ended.
    pub(crate) fn reap_doomed(&mut self) {
        self.leftovers.doomed.retain(|fd| matches!(PidFd::from(fd.as_fd()).reap(), Ok(None)));
    }

    /// A pipe that is still read, of a process or left over from it.
    pub(crate) fn pipe(&self, id: ProcessId, stderr: bool) -> Option<BorrowedFd<'_>> {
        let own = self.hosted.get(&id).and_then(|hosted| {
            if stderr { hosted.stderr.as_ref() } else { hosted.stdout.as_ref() }
        });
        own.or_else(|| self.leftovers.pipes.get(&(id, stderr))).map(AsFd::as_fd)
    }

    /// Whether there is room for output, or no reason to wait for it.
    pub(crate) fn may_read(&self, id: ProcessId) -> bool {
        self.hosted.get(&id).is_none_or(|hosted| hosted.room() != Some(0))
    }

    /// Holds no output back for the watchers of a process until one of them answers.
    pub(crate) fn lose_patience(&mut self, id: ProcessId) {
        if let Some(hosted) = self.hosted.get_mut(&id) {
            hosted.impatient.0 = true;
        }
    }

    /// Bytes of output that wait for somebody.
    pub(crate) fn unread(&self) -> u64 {
        self.hosted.values().map(|hosted| hosted.ring.len() as u64).sum()
    }

    /// Bytes that were evicted since the kernel started.
    pub(crate) fn dropped(&self) -> u64 {
        self.leftovers.dropped
            + self.hosted.values().map(|hosted| hosted.ring.dropped()).sum::<u64>()
    }

    /// Makes the list of a table that has just been read from a snapshot.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn index(&mut self) -> Result<(), String> {
        for (id, hosted) in self.hosted.iter() {
            let name = hosted.spec.name.clone();
            if !hosted.ring.is_whole() {
                return Err(format!("the output of process {name} is not whole"));
            }
            let again = hosted.listed && self.names.0.insert(name.clone(), *id).is_some();
            if again || id.0 >= self.next_id {
                return Err(format!("two entries of the snapshot are called {name}"));
            }
        }
        Ok(())
    }

    /// Reports everything that happens to the processes, after all of them were taken in.
    pub(crate) fn register(&self, poller: &Poller) -> io::Result<()> {
        self.hosted.values().try_for_each(|hosted| hosted.register(poller))?;
        self.leftovers.pipes.iter().try_for_each(|(&(id, stderr), pipe)| {
            poller.add(pipe, Source::output(id, stderr), EpollFlags::EPOLLIN)
        })
    }
}
