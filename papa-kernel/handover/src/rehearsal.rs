//! The rehearsal of an upgrade: another program shows on a copy that it can take over.
//!
//! It runs as a child with nothing open but the snapshot, while the kernel goes on serving. This
//! module starts it, listens to it and judges, and is the other side as well, in [`rehearse`]; what follows
//! from that is the kernel's business.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use papa_spawn::child::{self, ChildSpec, Exit, Output, Resource, SpawnError, Spawned};
use papa_spawn::errno::errno_text;
use papa_spawn::successor::Candidate;

use crate::carried::Carried;
use crate::message::{environment, read_snapshot, write_snapshot};
use crate::refusal::Refusal;
use crate::snapshot::FORMAT;
use crate::{fault, received};

/// The hidden argument that asks for a rehearsal; the number of the snapshot follows.
pub const REHEARSE: &str = "--check-snapshot";
/// How the answer of a program begins that can take over.
const ACCEPTS: &str = "ok papa-kernel ";
/// How long a rehearsal may take. Decoding the largest snapshot takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 30 });
/// What is kept of the program's words, in bytes.
const MOST_WORDS: usize = 4 << 10;

/// A rehearsal under way.
#[derive(Debug)]
pub struct Rehearsal {
    candidate: Candidate,
    child: Spawned,
    deadline: TimerFd,
    words: Vec<u8>,
    late: bool,
}

impl Rehearsal {
    /// Starts the program on a copy of everything.
    ///
    /// # Errors
    /// There is no memory for the copy, or the program cannot be run.
    pub fn begin(state: &mut impl Carried, candidate: Candidate) -> Result<Self, Refusal> {
        state.origin().appoint(&candidate.path);
        let copy = write_snapshot(state)?;
        let number = copy.as_raw_fd();
        let mut argv = vec![candidate.open_name()];
        argv.extend(state.origin().role().map(OsStringExt::into_vec));
        argv.extend([REHEARSE.into(), number.to_string().into_bytes()]);
        // As many descriptors as we have: it opens one for each of ours.
        let most =
            nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |both| both.0);
        let spec = ChildSpec {
            argv,
            env: environment(&[]),
            rlimits: vec![(Resource::RLIMIT_CORE, Some(0)), (Resource::RLIMIT_NOFILE, Some(most))],
            stdout: Output::Pipe,
            stderr: Output::Stdout,
            keep_fds: vec![number],
            ..ChildSpec::default()
        };
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = || -> io::Result<TimerFd> {
            let deadline = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
            deadline.set(Expiration::OneShot(PATIENCE.into()), TimerSetTimeFlags::empty())?;
            Ok(deadline)
        };
        let deadline = timer().map_err(Refusal::to("set a limit to the rehearsal"))?;
        let child = child::spawn(&spec).map_err(|error| {
            let reason = match &error {
                SpawnError::Exec { source, .. } => errno_text(source),
                other => other.to_string(),
            };
            Refusal::new(format!("Cannot run {} - {reason}", candidate.path.display()))
        })?;
        Ok(Self { candidate, child, deadline, words: Vec::new(), late: false })
    }

    /// What can be read when something has happened to it.
    pub fn events(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let pipe = self.child.stdout.as_ref().map(AsFd::as_fd);
        [self.deadline.as_fd(), self.child.pidfd.as_fd()].into_iter().chain(pipe)
    }

    /// Takes in what has happened.
    pub fn advance(&mut self) {
        self.listen();
        let expired = self.deadline.get().is_ok_and(|left| left.is_none());
        if expired && !self.late {
            self.late = true;
            let _ = self.deadline.unset();
            if let Err(error) = self.child.pidfd.send_signal(libc::SIGKILL) {
                tracing::error!(%error, "could not end a rehearsal");
            }
        }
    }

    /// Whether the program has ended, so that [`Rehearsal::judge`] can be asked.
    pub fn is_over(&self) -> bool {
        !matches!(self.child.pidfd.peek(), Ok(None))
    }

    /// The program, if it can take over.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn judge(mut self) -> Result<Candidate, Refusal> {
        self.listen();
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
    pub fn cancel(&self) {
        let _ = self.child.pidfd.send_signal(libc::SIGKILL);
    }

    fn listen(&mut self) {
        /// In one turn; a program that talks without end must not hold up the loop.
        const MOST_READS: usize = 4;
        let mut buffer = [0; MOST_WORDS];
        for _ in 0..MOST_READS {
            let Some(pipe) = &self.child.stdout else { return };
            match nix::unistd::read(pipe, &mut buffer) {
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

/// Shows on a copy that this program could take over: does all that [`crate::Guarded`] does, with empty
/// descriptors in the place of the real ones, and `resume`, which makes a kernel of it. Returns what to
/// print.
///
/// # Errors
/// Why this program could not.
pub fn rehearse<S: Carried>(
    snapshot: RawFd,
    resume: impl FnOnce(S) -> Result<(), Refusal>,
) -> Result<String, Refusal> {
    // One line is all that is listened to.
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string().replace('\n', " ");
        tracing::error!(text, "panicked");
        std::process::abort();
    }));
    fault::in_rehearsal();
    let state = read_snapshot(snapshot)?;
    received::stand_in(&state)?;
    resume(state)?;
    Ok(format!("{ACCEPTS}{}, snapshot format {FORMAT}", env!("CARGO_PKG_VERSION")))
}
