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

mod hosted;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use bincode::{Decode, Encode};
use nix::sys::epoll::EpollFlags;
use papa_handover::Descriptor;
use papa_handover::field::{Fresh, Kept, Table};
use papa_spawn::child::{Credentials, Exit, PidFd, Spawned};
use protocol::papa::ProcessSpec;

pub(crate) use hosted::{Hosted, PipeRead, check_note};

use crate::leftover::Leftovers;
use crate::poller::{ClientId, PipeId, Poller, ProcessId, Source};

/// Hosted processes by name and by number.
#[derive(Debug, Default, Encode, Decode)]
pub(crate) struct ProcessTable {
    /// Those listed.
    names: Fresh<BTreeMap<String, ProcessId>>,
    pub(crate) hosted: Table<Hosted>,
    next_id: u64,
    pub(crate) leftovers: Leftovers,
}

impl ProcessTable {
    /// Takes over a process that was just started.
    pub(crate) fn insert(
        &mut self,
        spec: ProcessSpec,
        credentials: Option<Credentials>,
        spawned: Spawned,
        started: f64,
        poller: &Poller,
    ) -> io::Result<()> {
        let id = ProcessId(self.next_id);
        self.next_id += 1;
        let hosted = Hosted::new(id, spec, credentials, spawned, started);
        if let Err(error) = hosted.register(poller) {
            // Nobody would notice its end: better not to have started it.
            let _ = hosted.process().send_signal(libc::SIGKILL);
            self.leftovers.doomed.push(hosted.pidfd);
            return Err(error);
        }
        self.names.0.insert(hosted.spec.name.clone(), id);
        self.hosted.insert(id, hosted);
        Ok(())
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
    pub(crate) fn read_output(&mut self, id: PipeId, buffer: &mut [u8], now: f64) -> PipeRead {
        let Some(hosted) = self.hosted.get_mut(&id.0).filter(|hosted| hosted.is_running()) else {
            self.leftovers.drain(id, buffer);
            return PipeRead::Nothing;
        };
        let size = match hosted.room() {
            Some(0) => return PipeRead::Full,
            room => room.map_or(buffer.len(), |room| room.min(buffer.len())),
        };
        hosted.read_pipe(id.1, buffer.get_mut(..size).unwrap_or_default(), now)
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
            if let Some(pipe) = hosted.pipe_mut(stderr).take() {
                self.leftovers.keep(PipeId(id, stderr), pipe);
            }
        }
        // It stays readable until it is reaped, which may be much later.
        if let Err(error) = poller.remove(&hosted.pidfd) {
            tracing::error!(name = hosted.spec.name, %error, "could not stop watching a child");
        }
        hosted.exit = Some(Kept(exit));
        hosted.ring.push_closed(now, exit.papa_code());
        if hosted.removed {
            self.unlist(id);
        }
        true
    }

    /// Notes that `client` has acknowledged everything below `seq` or, with an offset, what of that ends
    /// at or before it. True when that was the end of the process, which then leaves the list.
    pub(crate) fn acknowledge(
        &mut self,
        id: ProcessId,
        client: ClientId,
        seq: u64,
        up_to: Option<u64>,
    ) -> bool {
        let Some(hosted) = self.hosted.get_mut(&id) else { return true };
        let seq = up_to.map_or(seq, |offset| hosted.ring.seq_at(offset).min(seq));
        let is_only_one = hosted.followers.len() == 1;
        let follower = hosted.followers.iter_mut().find(|follower| follower.client == client);
        if let Some(follower) = follower {
            follower.acknowledged = follower.acknowledged.max(seq);
            if is_only_one {
                hosted.ring.mark_read(up_to.unwrap_or(u64::MAX).min(follower.offset));
            }
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
    pub(crate) fn pipe(&self, id: PipeId) -> Option<&Descriptor> {
        let own = self.hosted.get(&id.0).and_then(|hosted| hosted.pipe(id.1));
        own.or_else(|| self.leftovers.pipes.get(&id))
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

    /// Bytes of the words of all processes.
    pub(crate) fn words(&self) -> usize {
        self.hosted.values().map(Hosted::words).sum()
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
        self.leftovers
            .pipes
            .iter()
            .try_for_each(|(id, pipe)| poller.add(pipe, Source::Output(*id), EpollFlags::EPOLLIN))
    }
}
