//! A child of circusd that is no worker: the command of a hook, or the helper that runs users' Python.
//!
//! It gets nothing of ours but what it is given, has a session of its own and cannot outlive circusd. When
//! its owner drops it before its end, it is killed with everything in its process group.

use super::direct::Watched;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use papa_spawn::child::{ChildSpec, Exit, PidFd, SpawnError, Spawned, spawn};
use papa_spawn::sys::set_time_slice;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task;
use tracing::{debug, warn};

/// Starts that may wait for the thread; more wait for room.
const QUEUE: usize = 16;

/// It could not be started.
#[derive(Debug, thiserror::Error)]
pub enum CompanionError {
    /// The system refused.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// There is no thread to start it.
    #[error("no thread can be had to start it")]
    NoThread,
}

struct Job {
    spec: ChildSpec,
    /// What the specification names by number; open until the process has its copies.
    held: Vec<OwnedFd>,
    reply: oneshot::Sender<Result<Spawned, SpawnError>>,
}

/// A child that is followed to its end.
pub struct Companion {
    pid: i32,
    pidfd: Arc<PidFd>,
    /// As long as it is not reaped its number, and that of its group, belong to nobody else.
    reaped: Arc<Mutex<bool>>,
    ended: watch::Receiver<Option<Option<Exit>>>,
    /// Our end of its output, if it is a pipe.
    pub stdout: Option<OwnedFd>,
    /// Our end of its error output, if it is a pipe.
    pub stderr: Option<OwnedFd>,
}

impl Companion {
    /// Starts it. `held` are the descriptors that `spec` names by number.
    ///
    /// # Errors
    /// [`CompanionError`].
    pub async fn start(mut spec: ChildSpec, held: Vec<OwnedFd>) -> Result<Self, CompanionError> {
        spec.die_with_parent = true;
        let (reply, answer) = oneshot::channel();
        let job = Job { spec, held, reply };
        starter().send(job).await.map_err(|_| CompanionError::NoThread)?;
        let spawned = answer.await.map_err(|_| CompanionError::NoThread)??;
        let Spawned { pid, pidfd, stdout, stderr } = spawned;
        let (pidfd, reaped) = (Arc::new(pidfd), Arc::new(Mutex::new(false)));
        let (tell, ended) = watch::channel(None);
        task::spawn(follow(Arc::clone(&pidfd), Arc::clone(&reaped), tell));
        Ok(Self { pid, pidfd, reaped, ended, stdout, stderr })
    }

    /// Waits for its end; none when nobody knows how it ended. May be given up and called again.
    pub async fn ended(&mut self) -> Option<Exit> {
        // The sender is dropped without a word only when circusd ends.
        self.ended.wait_for(Option::is_some).await.ok().and_then(|exit| *exit).flatten()
    }

    /// Kills it and its process group.
    pub fn kill(&self) {
        let reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reaped {
            // Both fail only when there is nobody left to kill.
            let _ = killpg(Pid::from_raw(self.pid), Signal::SIGKILL);
            let _ = self.pidfd.send_signal(Signal::SIGKILL as i32);
        }
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How it ended, in words.
pub fn describe(exit: Option<Exit>) -> String {
    match exit {
        Some(Exit::Code(code)) => format!("it ended with status {code}"),
        Some(Exit::Signal(number)) => match protocol::signal::Signal::from_number(number.into()) {
            Some(signal) => format!("it was killed by {signal}"),
            None => format!("it was killed by signal {number}"),
        },
        None => "it ended".to_owned(),
    }
}

/// Children that die with their parent die with the thread that started them, so they get one that stays.
fn starter() -> mpsc::Sender<Job> {
    static STARTER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    STARTER
        .get_or_init(|| {
            let (jobs, inbox) = mpsc::channel(QUEUE);
            let thread = thread::Builder::new().name("starter".to_owned());
            if let Err(error) = thread.spawn(move || start_all(inbox)) {
                warn!("no hook can be run: cannot make a thread: {error}");
            }
            jobs
        })
        .clone()
}

fn start_all(mut inbox: mpsc::Receiver<Job>) {
    // Children get the turns of this thread, which has them from the event loop; see `daemon`.
    if let Err(error) = set_time_slice(None) {
        debug!("the commands of hooks run with a short time slice: {error}");
    }
    while let Some(Job { spec, held, reply }) = inbox.blocking_recv() {
        let spawned = spawn(&spec);
        drop(held);
        if let Err(Ok(spawned)) = reply.send(spawned) {
            put_down(&spawned.pidfd);
        }
    }
}

/// Ends a process that nobody waits for any more.
fn put_down(pidfd: &PidFd) {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    let killed = pidfd.send_signal(Signal::SIGKILL as i32);
    if killed.is_ok() && poll(&mut fds, PollTimeout::NONE).is_ok() {
        let _ = pidfd.reap();
    }
}

async fn follow(
    pidfd: Arc<PidFd>,
    reaped: Arc<Mutex<bool>>,
    tell: watch::Sender<Option<Option<Exit>>>,
) {
    #[expect(
        deprecated,
        reason = "its successor is unsafe and asks for what `PidFd` guarantees: it owns its fd"
    )]
    let watched = AsyncFd::new(Watched(Arc::clone(&pidfd)));
    let seen = match &watched {
        Ok(watched) => watched.readable().await.map(drop).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = seen {
        warn!("a helper process is killed because it cannot be watched: {error}");
        let pidfd = Arc::clone(&pidfd);
        let _ = task::spawn_blocking(move || put_down(&pidfd)).await;
        let _ = tell.send(Some(None));
        return;
    }
    let exit = {
        let mut reaped = reaped.lock().unwrap_or_else(PoisonError::into_inner);
        *reaped = true;
        pidfd.reap().ok().flatten()
    };
    // Nobody listens when its owner has dropped it.
    let _ = tell.send(Some(exit));
}
