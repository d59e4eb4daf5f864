//! The rehearsal of an upgrade: another program shows on a copy that it can take over.
//!
//! It runs as a child with nothing open but the snapshot, while the kernel goes on serving. This
//! module starts it, listens to it and judges; what follows from that is `kernel`'s business.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::sys::epoll::EpollFlags;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use papa_spawn::child::{self, ChildSpec, Exit, Output, Resource, SpawnError, Spawned};
use papa_spawn::errno::errno_text;
use papa_spawn::successor::Candidate;

use crate::origin::environment;
use crate::poller::{ClientId, Poller, Source};
use crate::refusal::Refusal;

/// The hidden argument that asks for a rehearsal; the number of the snapshot follows.
pub(crate) const REHEARSE: &str = "--check-snapshot";
/// How the answer of a program begins that can take over.
pub(crate) const ACCEPTS: &str = "ok papa-kernel ";
/// How long a rehearsal may take. Decoding the largest snapshot takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 30 });
/// What is kept of the program's words, in bytes.
const MOST_WORDS: usize = 4 << 10;

/// A rehearsal under way.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    pub(crate) requester: ClientId,
    candidate: Candidate,
    child: Spawned,
    deadline: TimerFd,
    words: Vec<u8>,
    late: bool,
}

impl Rehearsal {
    /// Starts the program on a copy of everything.
    pub(crate) fn begin(
        requester: ClientId,
        candidate: Candidate,
        snapshot: &OwnedFd,
        role: &[OsString],
        poller: &Poller,
    ) -> Result<Self, Refusal> {
        let number = snapshot.as_raw_fd();
        let mut argv = vec![candidate.open_name()];
        argv.extend(role.iter().map(|word: &OsString| word.as_bytes().to_vec()));
        argv.extend([REHEARSE.into(), number.to_string().into_bytes()]);
        // As many descriptors as we have: it opens one for each of ours.
        let most =
            nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |both| both.0);
        let spec = ChildSpec {
            argv,
            env: environment(),
            rlimits: vec![(Resource::RLIMIT_CORE, Some(0)), (Resource::RLIMIT_NOFILE, Some(most))],
            stdout: Output::Pipe,
            stderr: Output::Stdout,
            keep_fds: vec![number],
            ..ChildSpec::default()
        };
        let child = child::spawn(&spec).map_err(|error| {
            let reason = match &error {
                SpawnError::Exec { source, .. } => errno_text(source),
                other => other.to_string(),
            };
            Refusal::new(format!("Cannot run {} - {reason}", candidate.path.display()))
        })?;
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let watched = || -> io::Result<TimerFd> {
            let deadline = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
            deadline.set(Expiration::OneShot(PATIENCE.into()), TimerSetTimeFlags::empty())?;
            poller.add(&deadline, Source::Rehearsal, EpollFlags::EPOLLIN)?;
            poller.add(&child.pidfd, Source::Rehearsal, EpollFlags::EPOLLIN)?;
            if let Some(pipe) = &child.stdout {
                poller.add(pipe, Source::Rehearsal, EpollFlags::EPOLLIN)?;
            }
            Ok(deadline)
        };
        match watched() {
            Ok(deadline) => {
                Ok(Self { requester, candidate, child, deadline, words: Vec::new(), late: false })
            }
            Err(source) => {
                // Unwatched it could run for ever; unreaped it is a zombie of ours until we end.
                let _ = child.pidfd.send_signal(libc::SIGKILL);
                Err(Refusal::to("watch the rehearsal")(source))
            }
        }
    }

    /// Listens to what has happened. True when it is over and [`Rehearsal::judge`] can be asked.
    pub(crate) fn advance(&mut self, buffer: &mut [u8]) -> bool {
        self.listen(buffer);
        let expired = self.deadline.get().is_ok_and(|left| left.is_none());
        if expired && !self.late {
            self.late = true;
            let _ = self.deadline.unset();
            if let Err(error) = self.child.pidfd.send_signal(libc::SIGKILL) {
                tracing::error!(%error, "could not end a rehearsal");
            }
        }
        !matches!(self.child.pidfd.peek(), Ok(None))
    }

    /// Whether the program can take over.
    pub(crate) fn judge(mut self, buffer: &mut [u8]) -> Result<Candidate, Refusal> {
        self.listen(buffer);
        let exit = self.child.pidfd.reap();
        let path = self.candidate.path.display();
        let words = String::from_utf8_lossy(&self.words);
        let words = words.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        let words = words.strip_prefix("error: ").unwrap_or(words).to_owned();
        Err(Refusal::new(match exit {
            _ if self.late => {
                format!("{path} did not finish the rehearsal within {} s", PATIENCE.as_secs())
            }
            Ok(Some(Exit::Code(0))) if words.starts_with(ACCEPTS) => return Ok(self.candidate),
            Ok(Some(Exit::Signal(signal))) => {
                format!("{path} crashed in the rehearsal - signal {signal}")
            }
            Ok(Some(Exit::Code(status))) if words.is_empty() || status == 0 => format!(
                "{path} is not a kernel: it left the rehearsal with status {status} and no answer"
            ),
            Ok(Some(Exit::Code(_))) => format!("{path} cannot take over - {words}"),
            Ok(None) => format!("{path} is still in the rehearsal"),
            Err(source) => return Err(Refusal::to("read how the rehearsal ended")(source)),
        }))
    }

    /// Ends the program before its time.
    pub(crate) fn cancel(&self) {
        let _ = self.child.pidfd.send_signal(libc::SIGKILL);
    }

    fn listen(&mut self, buffer: &mut [u8]) {
        /// In one turn; a program that talks without end must not hold up the loop.
        const MOST_READS: usize = 4;
        for _ in 0..MOST_READS {
            let Some(pipe) = &self.child.stdout else { return };
            match nix::unistd::read(pipe, buffer) {
                Ok(0) => self.child.stdout = None,
                Ok(count) => {
                    let room = MOST_WORDS.saturating_sub(self.words.len()).min(count);
                    self.words.extend_from_slice(buffer.get(..room).unwrap_or_default());
                }
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return,
                Err(_) => self.child.stdout = None,
            }
        }
    }
}
