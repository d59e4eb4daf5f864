//! A child of circusd: its pipes and its end.
//!
//! The end of a process is reported only after its last output has reached the stream. A grandchild that
//! keeps a pipe open does not delay it: after the end the pipes are read until they are empty.

use super::end::End;
use super::turnstile::Turnstile;
use crate::stream::batch::Chunk;
use crate::stream::recent::Recorder;
use crate::stream::writer::Writer;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use papa_spawn::child::{Exit, PidFd, Spawned};
use protocol::signal::Signal;
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::{self, JoinHandle};
use tokio::time;
use tracing::warn;

/// Bytes per read.
const READ: usize = 64 * 1024;

thread_local! {
    /// Where a piece lies until it has a size. One for all pipes, since it never is in use across a wait.
    static PIECE: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// Reads after the end of a process at most: the largest pipe, full. What comes beyond is from somebody else.
const LAST_READS: usize = 16;

/// How long the last output of a dead process may take to reach its stream before its end is reported all
/// the same. The output is not dropped then, it only comes late.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Where the two outputs of a process go.
#[derive(Clone, Default)]
pub struct Outputs {
    /// The stdout stream.
    pub stdout: Option<Writer>,
    /// The stderr stream.
    pub stderr: Option<Writer>,
    /// Notes what was printed lately.
    pub recorder: Option<Recorder>,
}

/// A child of circusd.
pub struct Child {
    /// Its pid.
    pub pid: i32,
    /// For signals and for its end.
    pub pidfd: Arc<PidFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Child {
    /// A child that was just spawned.
    pub fn new(spawned: Spawned) -> Self {
        let Spawned { pid, pidfd, stdout, stderr } = spawned;
        Self { pid, pidfd: Arc::new(pidfd), stdout, stderr }
    }
}

/// A pidfd in the form that the event loop takes.
pub(super) struct Watched(pub(super) Arc<PidFd>);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

fn watch_end(pidfd: &Arc<PidFd>) -> io::Result<AsyncFd<Watched>> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe and asks for what `PidFd` guarantees: it owns its fd"
    )]
    AsyncFd::new(Watched(Arc::clone(pidfd)))
}

/// Waits for the end of a process, which may be anybody's child. Its status is left to the parent.
///
/// # Errors
/// The system has no room for one more watched fd.
pub async fn ended(pidfd: &Arc<PidFd>) -> io::Result<()> {
    watch_end(pidfd)?.readable().await.map(drop)
}

/// Follows a child until it has ended and its output is dealt with.
///
/// There is one of these for each child, so it holds no more than it needs until then.
pub fn supervise(
    child: Child,
    outputs: Outputs,
    turnstile: Turnstile,
) -> impl Future<Output = End> + Send + use<> {
    let Child { pid, pidfd, stdout, stderr } = child;
    let drains = Drains::start(pid, [stdout, stderr], outputs);
    let watched = watch_end(&pidfd).map_err(|error| {
        warn!("process {pid} is killed because it cannot be watched: {error}");
        pidfd
    });
    async move {
        let watched = match watched {
            Ok(watched) => watched,
            Err(pidfd) => return End::Exited(put_down(pidfd).await.map(Exit::papa_code)),
        };
        // The pidfd becomes readable when the process ends; the zombie keeps the pid ours until it is reaped.
        if let Err(error) = watched.readable().await {
            warn!("cannot watch process {pid}: {error}");
        }
        if let Some(drains) = drains {
            Box::pin(drains.end(pid)).await;
        }
        let turn = turnstile.turn().await;
        let exit = reap(&watched.get_ref().0, pid);
        turn.end().await;
        End::Exited(exit.map(Exit::papa_code))
    }
}

/// The tasks that read the outputs of a child, and the word to them that it has ended.
struct Drains {
    ended: watch::Sender<bool>,
    pumps: Vec<JoinHandle<()>>,
}

impl Drains {
    fn start(pid: i32, pipes: [Option<OwnedFd>; 2], outputs: Outputs) -> Option<Self> {
        let Outputs { stdout, stderr, recorder } = outputs;
        let writers = [(stdout, "stdout"), (stderr, "stderr")];
        let mut read = pipes
            .into_iter()
            .zip(writers)
            .filter_map(|(pipe, (writer, name))| Some((pipe?, writer?, name)))
            .peekable();
        read.peek()?;
        let (ended, seen) = watch::channel(false);
        let pumps = read.map(|(pipe, writer, name)| {
            let drain = Drain { pid, name, writer, recorder: recorder.clone() };
            tokio::spawn(pump(drain, pipe, seen.clone()))
        });
        Some(Self { pumps: pumps.collect(), ended })
    }

    /// Tells them that the child has ended, and waits until its last output has reached its streams.
    async fn end(self, pid: i32) {
        // Fails only when they have seen the end of their pipes.
        let _ = self.ended.send(true);
        let drained = async {
            for pump in self.pumps {
                let _ = pump.await;
            }
        };
        if time::timeout(DRAIN_LIMIT, drained).await.is_err() {
            warn!("the last output of process {pid} is still being written");
        }
    }
}

/// Ends a process that nobody would see the end of.
async fn put_down(pidfd: Arc<PidFd>) -> Option<Exit> {
    let work = task::spawn_blocking(move || {
        pidfd.send_signal(Signal::KILL.number()).ok()?;
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE).ok()?;
        pidfd.reap().ok().flatten()
    });
    work.await.ok().flatten()
}

fn reap(pidfd: &PidFd, pid: i32) -> Option<Exit> {
    match pidfd.reap() {
        Ok(exit) => exit,
        Err(error) => {
            warn!("the exit status of process {pid} is unknown: {error}");
            None
        }
    }
}

/// Where the bytes of one pipe go.
struct Drain {
    pid: i32,
    name: &'static str,
    writer: Writer,
    recorder: Option<Recorder>,
}

async fn pump(drain: Drain, pipe: OwnedFd, mut ended: watch::Receiver<bool>) {
    let Drain { pid, name, ref writer, .. } = drain;
    let mut pipe = match pipe::Receiver::from_owned_fd(pipe) {
        Ok(pipe) => pipe,
        Err(error) => {
            warn!("cannot read the {name} of process {pid}: {error}");
            return;
        }
    };
    let mut over = *ended.borrow_and_update();
    while !over {
        tokio::select! {
            ready = pipe.readable() => {
                if let Err(error) = ready {
                    warn!("cannot read the {name} of process {pid}: {error}");
                    break;
                }
            }
            // The sender lives until the process has ended, so an error means the same.
            _ = ended.changed() => over = true,
        }
        // Readiness may be a false alarm, so an empty pipe is no end.
        if forward(&drain, &mut pipe).await == Piece::End {
            over = true;
        }
    }
    // What the process left in the pipe, and no more: somebody else may go on writing to it.
    for _ in 0..LAST_READS {
        if forward(&drain, &mut pipe).await != Piece::Moved {
            break;
        }
    }
    // A stream that cannot be written says so itself, and keeps what it can.
    let _ = writer.write_through(vec![Chunk::end(pid, 0)]).await;
}

/// What became of one read.
#[derive(PartialEq)]
enum Piece {
    Moved,
    Empty,
    /// Every writer has closed the pipe, or it is broken.
    End,
}

/// Moves one piece from the pipe to the stream.
async fn forward(drain: &Drain, pipe: &mut pipe::Receiver) -> Piece {
    let Drain { pid, name, ref writer, ref recorder } = *drain;
    let read = PIECE.with_borrow_mut(|piece| {
        let count = pipe.try_read(piece)?;
        Ok::<_, io::Error>(piece.get(..count).unwrap_or_default().to_vec())
    });
    match read {
        Ok(data) if data.is_empty() => Piece::End,
        Ok(data) => {
            let time = crate::event_bus::epoch_seconds();
            if let Some(recorder) = recorder {
                recorder.note(name == "stderr", time, &data);
            }
            writer.write(vec![Chunk { pid, time, data, ..Chunk::default() }]).await;
            Piece::Moved
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Piece::Empty,
        Err(error) => {
            warn!("cannot read the {name} of process {pid}: {error}");
            Piece::End
        }
    }
}
