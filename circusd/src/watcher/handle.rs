//! The handle on a watcher: typed requests to its task.

use super::history::History;
use super::setting::SettingError;
use super::state::outlook::Outlook;
use super::tally::Counted;
use super::vocabulary::{Changes, Status};
use super::wid::Wid;
use crate::arbiter::gate::Permit;
use crate::config::model::WatcherConfig;
use crate::papa::journal::Noted;
use crate::stream::recent::RecentOutput;
use protocol::signal::Signal;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait for a watcher.
pub(super) const QUEUE: usize = 32;

/// The watcher's task has ended; happens only while circusd shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the watcher is gone, circusd is shutting down")]
pub struct WatcherGone;

/// Options could not be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// A value.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The task has ended.
    #[error(transparent)]
    Gone(#[from] WatcherGone),
}

/// A signal could not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// The pid is not one of this watcher's.
    #[error("process {0} not found")]
    NoProcess(i32),
    /// The system refused.
    #[error("{0}")]
    Os(String),
    /// The task has ended.
    #[error(transparent)]
    Gone(#[from] WatcherGone),
}

/// Which processes a signal goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalScope {
    /// Only this process of the watcher.
    pub pid: Option<i32>,
    /// Only this child of `pid`.
    pub child: Option<i32>,
    /// The children of the process instead of the process.
    pub children: bool,
    /// The process and all its descendants.
    pub recursive: bool,
}

/// A process in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessView {
    /// Its slot.
    pub wid: Wid,
    /// Its pid.
    pub pid: i32,
    /// When it was spawned, in seconds since the epoch.
    pub started: f64,
}

/// What a watcher looks like at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Its state.
    pub status: Status,
    /// How many processes it wants.
    pub desired: u32,
    /// Its live processes in spawn order.
    pub processes: Vec<ProcessView>,
    /// It is stopped and starts with the first connection.
    pub waits_for_demand: bool,
    /// What was counted since circusd has it.
    pub counted: Counted,
    /// Processes that end are replaced.
    pub respawn: bool,
}

/// How a watcher ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retirement {
    /// Its processes are stopped, and its end is announced.
    Removed,
    /// Its processes go on running by themselves, and its end is announced.
    Forgotten,
    /// Its processes are stopped. Nobody is told, as with the original's `reloadconfig`.
    Replaced,
}

/// Why a watcher is as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Its state.
    pub status: Status,
    /// How many processes it wants when it runs.
    pub desired: u32,
    /// It starts with the next connection.
    pub armed: bool,
    /// What it is in the middle of.
    pub outlook: Outlook,
    /// What happened to its processes.
    pub history: History,
}

/// An operation that takes its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Start, or spawn what is missing.
    Start,
    /// Go on with processes from before. What is missing is spawned if the watcher respawns.
    Resume,
    /// Stop every process.
    Stop,
    /// Stop every process for the time being: what the operator wants stays as it is.
    Pause,
    /// Start, if a pause has stopped it and nobody has had another wish since.
    Unpause,
    /// Stop, then start.
    Restart,
    /// Change the number of processes by this much.
    Resize(i64),
    /// Replace every process.
    Reload {
        /// New ones before the old ones go; otherwise a restart.
        graceful: bool,
        /// One after the other.
        sequential: bool,
    },
}

/// How `kill` asks processes to end. What is not given is the watcher's own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KillOrder {
    /// Only this process.
    pub pid: Option<i32>,
    /// The signal that asks.
    pub signal: Option<Signal>,
    /// Time until SIGKILL.
    pub grace: Option<Duration>,
}

/// An operation that has begun: told when it has ended, with the changes and the number of processes wanted.
pub type Ended = oneshot::Receiver<(Changes, u32)>;

pub(super) enum Message {
    Set {
        // Apart, since each watcher's queue has room for dozens of whatever is the largest.
        options: Box<Map<String, Value>>,
        permit: Permit,
        begun: oneshot::Sender<Result<Ended, SettingError>>,
    },
    Kill {
        order: KillOrder,
        reply: oneshot::Sender<()>,
    },
    Retire {
        how: Retirement,
        permit: Option<Permit>,
        begun: oneshot::Sender<oneshot::Receiver<()>>,
    },
    Operate {
        operation: Operation,
        permit: Option<Permit>,
        begun: oneshot::Sender<Ended>,
    },
    Signal {
        signal: Signal,
        scope: SignalScope,
        reply: oneshot::Sender<Result<(), SignalError>>,
    },
    Extend {
        infos: BTreeMap<i32, Map<String, Value>>,
        reply: oneshot::Sender<BTreeMap<i32, Map<String, Value>>>,
    },
    LoadHooks(oneshot::Sender<Result<(), String>>),
    Picture(oneshot::Sender<Value>),
    Intend {
        runs: bool,
        noted: oneshot::Sender<Noted>,
    },
    Inspect(oneshot::Sender<Snapshot>),
    Explain(oneshot::Sender<Explanation>),
    Output(oneshot::Sender<(RecentOutput, Vec<&'static str>)>),
    Options(oneshot::Sender<Map<String, Value>>),
    CheckDelay(Duration),
    File(Box<WatcherConfig>),
    Detach(oneshot::Sender<()>),
    Hurry,
}

impl Message {
    /// It asks or notes something, and touches no process.
    pub(super) fn is_quick(&self) -> bool {
        matches!(
            self,
            Self::Extend { .. }
                | Self::Picture(_)
                | Self::Intend { .. }
                | Self::Inspect(_)
                | Self::Explain(_)
                | Self::Output(_)
                | Self::Options(_)
                | Self::CheckDelay(_)
                | Self::File(_)
        )
    }
}

/// What never changes about a watcher.
#[derive(Debug)]
pub struct Identity {
    /// The name as the user wrote it.
    pub name: String,
    /// The name in lower case, by which it is found.
    pub key: String,
    /// Bigger ones start first.
    pub priority: i64,
    /// Start with circusd.
    pub autostart: bool,
    /// It was to run when this circusd began: because of `autostart`, or as operators left it.
    pub runs: bool,
    /// It had processes from before.
    pub taken_over: bool,
    /// At most one process.
    pub singleton: bool,
    /// Its processes live in the kernel.
    pub use_papa: bool,
}

/// A handle on a watcher; clones share it.
#[derive(Clone)]
pub struct WatcherHandle {
    identity: Arc<Identity>,
    messages: mpsc::Sender<Message>,
}

impl WatcherHandle {
    pub(super) fn new(identity: Arc<Identity>, messages: mpsc::Sender<Message>) -> Self {
        Self { identity, messages }
    }

    /// What never changes about it.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Begins an operation. Returns when it is noted for the circusd after this one. The receiver gets the
    /// changes and the number of processes wanted when it has ended; the permit is given back then.
    ///
    /// # Errors
    /// [`WatcherGone`].
    pub async fn begin(
        &self,
        operation: Operation,
        permit: Option<Permit>,
    ) -> Result<Ended, WatcherGone> {
        let (begun, ended) = oneshot::channel();
        self.send(Message::Operate { operation, permit, begun }).await?;
        ended.await.map_err(|_| WatcherGone)
    }

    /// Notes that the watcher is to run or not, which an operation on several brings about later. Returns
    /// when it is noted.
    ///
    /// # Errors
    /// [`WatcherGone`].
    pub async fn intend(&self, runs: bool) -> Result<(), WatcherGone> {
        let (noted, written) = oneshot::channel();
        self.send(Message::Intend { runs, noted }).await?;
        written.await.map_err(|_| WatcherGone)?.wait().await;
        Ok(())
    }

    /// Carries out an operation and waits for its end.
    ///
    /// # Errors
    /// [`WatcherGone`].
    pub async fn operate(
        &self,
        operation: Operation,
        permit: Option<Permit>,
    ) -> Result<(Changes, u32), WatcherGone> {
        self.begin(operation, permit).await?.await.map_err(|_| WatcherGone)
    }

    /// Changes options. All of them hold when this returns; the receiver is told when the processes have
    /// them, too.
    ///
    /// # Errors
    /// [`SetError`]: an option cannot be used and none was changed, or the watcher is gone.
    pub async fn set(
        &self,
        options: Map<String, Value>,
        permit: Permit,
    ) -> Result<Ended, SetError> {
        let (begun, answer) = oneshot::channel();
        self.send(Message::Set { options: Box::new(options), permit, begun }).await?;
        Ok(answer.await.map_err(|_| WatcherGone)??)
    }

    /// Asks processes to end and insists after a while; they are replaced. The receiver is told when they
    /// have ended.
    ///
    /// # Errors
    /// [`WatcherGone`].
    pub async fn kill(&self, order: KillOrder) -> Result<oneshot::Receiver<()>, WatcherGone> {
        let (reply, done) = oneshot::channel();
        self.send(Message::Kill { order, reply }).await?;
        Ok(done)
    }

    /// Ends the watcher after it was taken out of the registry. Returns when that is noted; the receiver is
    /// told when its processes have ended, or at once when they are to go on.
    ///
    /// # Errors
    /// [`WatcherGone`].
    pub async fn retire(
        &self,
        how: Retirement,
        permit: Option<Permit>,
    ) -> Result<oneshot::Receiver<()>, WatcherGone> {
        let (begun, ended) = oneshot::channel();
        self.send(Message::Retire { how, permit, begun }).await?;
        ended.await.map_err(|_| WatcherGone)
    }

    /// The file says this about it now; what differs from it was changed by an operator.
    ///
    /// # Errors
    /// [`WatcherGone`].
    pub async fn use_file(&self, file: WatcherConfig) -> Result<(), WatcherGone> {
        self.send(Message::File(Box::new(file))).await
    }

    /// Changes the ceiling of the respawn delay.
    ///
    /// # Errors
    /// [`WatcherGone`].
    pub async fn set_check_delay(&self, delay: Duration) -> Result<(), WatcherGone> {
        self.send(Message::CheckDelay(delay)).await
    }

    /// Sends a signal to processes.
    ///
    /// # Errors
    /// [`SignalError`] says which process was not found, or what the system said.
    pub async fn signal(&self, signal: Signal, scope: SignalScope) -> Result<(), SignalError> {
        let (reply, done) = oneshot::channel();
        self.send(Message::Signal { signal, scope, reply }).await?;
        done.await.map_err(|_| WatcherGone)?
    }

    /// Lets the `extended_stats` hook work on the figures of processes, given and returned by pid.
    ///
    /// # Errors
    /// [`WatcherGone`].
    pub async fn extend_stats(
        &self,
        infos: BTreeMap<i32, Map<String, Value>>,
    ) -> Result<BTreeMap<i32, Map<String, Value>>, WatcherGone> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Extend { infos, reply }).await?;
        answer.await.map_err(|_| WatcherGone)
    }

    /// Imports its hooks that are in Python, which its start does, too.
    ///
    /// # Errors
    /// What cannot be imported, and why.
    pub async fn load_hooks(&self) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::LoadHooks(reply)).await.map_err(|error| error.to_string())?;
        answer.await.map_err(|_| WatcherGone.to_string())?
    }

    /// What it looks like to Python hooks.
    ///
    /// # Errors
    /// [`WatcherGone`].
    pub async fn picture(&self) -> Result<Value, WatcherGone> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Picture(reply)).await?;
        answer.await.map_err(|_| WatcherGone)
    }

    /// What it looks like now.
    ///
    /// # Errors
    /// [`WatcherGone`].
    pub async fn inspect(&self) -> Result<Snapshot, WatcherGone> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Inspect(reply)).await?;
        answer.await.map_err(|_| WatcherGone)
    }

    /// Why it is as it is.
    ///
    /// # Errors
    /// [`WatcherGone`].
    pub async fn explain(&self) -> Result<Explanation, WatcherGone> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Explain(reply)).await?;
        answer.await.map_err(|_| WatcherGone)
    }

    /// What its processes have printed lately, and which streams are not seen because they go where
    /// circusd's own output goes.
    ///
    /// # Errors
    /// [`WatcherGone`].
    pub async fn output(&self) -> Result<(RecentOutput, Vec<&'static str>), WatcherGone> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Output(reply)).await?;
        answer.await.map_err(|_| WatcherGone)
    }

    /// Its options, as the `options` command shows them.
    ///
    /// # Errors
    /// [`WatcherGone`].
    pub async fn options(&self) -> Result<Map<String, Value>, WatcherGone> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Options(reply)).await?;
        answer.await.map_err(|_| WatcherGone)
    }

    /// Lets go of hosted processes: they go on running in the kernel and keep their output.
    ///
    /// # Errors
    /// [`WatcherGone`].
    pub async fn detach(&self) -> Result<(), WatcherGone> {
        let (reply, done) = oneshot::channel();
        self.send(Message::Detach(reply)).await?;
        done.await.map_err(|_| WatcherGone)
    }

    /// Kills what is being stopped instead of waiting for it.
    ///
    /// # Errors
    /// [`WatcherGone`].
    pub async fn hurry(&self) -> Result<(), WatcherGone> {
        self.send(Message::Hurry).await
    }

    async fn send(&self, message: Message) -> Result<(), WatcherGone> {
        self.messages.send(message).await.map_err(|_| WatcherGone)
    }
}
