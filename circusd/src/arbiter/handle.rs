//! The handle on the arbiter: typed requests to its task.

use super::builder::{WatcherBuilder, WatcherError};
use super::gate::{Busy, OperationName, Permit};
use super::reload::{Begun, ReloadError};
use crate::config::diff::ReloadPlan;
use crate::config::model::{Config, WatcherConfig};
use crate::papa::client::KernelClient;
use crate::socket::Sockets;
use crate::watcher::handle::{Ended, Operation, Retirement, WatcherGone, WatcherHandle};
use protocol::circus::command::python_repr;
use protocol::circus::event::topic_name;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// Requests that may wait for the arbiter.
pub(super) const QUEUE: usize = 64;

/// Why the arbiter refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArbiterError {
    /// Another operation is in the way.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The daemon is ending.
    #[error(transparent)]
    Gone(#[from] WatcherGone),
}

/// What there is: an immutable picture that readers share.
pub struct Roster {
    /// The watchers in start order.
    pub watchers: Vec<WatcherHandle>,
    /// The managed sockets.
    pub sockets: Sockets,
    /// The configuration in force; of the watchers only those that run as the file says, neither those
    /// that were added by command nor those that were removed.
    pub config: Arc<Config>,
    /// The kernel, if anything uses one.
    pub kernel: Option<KernelClient>,
}

impl Roster {
    /// The watcher of this name, without regard to case.
    pub fn find(&self, name: &str) -> Option<&WatcherHandle> {
        let key = name.to_lowercase();
        self.watchers.iter().find(|watcher| watcher.identity().key == key)
    }

    /// The watcher that a client means: that of this name, or else the one whose events carry it, as clients
    /// that only see events have no other name.
    pub fn meant(&self, name: &str) -> Option<&WatcherHandle> {
        let carries = |watcher: &&WatcherHandle| topic_name(&watcher.identity().name) == name;
        self.find(name).or_else(|| self.watchers.iter().find(carries))
    }
}

/// What an operation on several watchers does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupOperation {
    /// Start those with autostart.
    Start,
    /// Stop.
    Stop,
    /// Stop, then start those with autostart.
    Restart,
    /// Reload each, one watcher after the other.
    Reload {
        /// New processes before the old ones go; otherwise a restart.
        graceful: bool,
        /// One process after the other.
        sequential: bool,
    },
}

/// A watcher cannot be added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// One of that name exists.
    #[error("{} already exist", python_repr(.0))]
    Exists(String),
    /// It cannot be made.
    #[error(transparent)]
    Watcher(#[from] WatcherError),
    /// Another operation is in the way.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The daemon is ending.
    #[error(transparent)]
    Gone(#[from] WatcherGone),
}

pub(super) enum Message {
    Roster(oneshot::Sender<Arc<Roster>>),
    One {
        watcher: WatcherHandle,
        operation: Operation,
        name: OperationName,
        reply: oneshot::Sender<Result<Ended, ArbiterError>>,
    },
    Permit {
        watcher: WatcherHandle,
        name: OperationName,
        reply: oneshot::Sender<Result<Permit, Busy>>,
    },
    Add {
        config: Box<WatcherConfig>,
        reply: oneshot::Sender<Result<WatcherHandle, AddError>>,
    },
    Remove {
        watcher: WatcherHandle,
        how: Retirement,
        reply: oneshot::Sender<Result<oneshot::Receiver<()>, ArbiterError>>,
    },
    Group {
        watchers: Vec<WatcherHandle>,
        operation: GroupOperation,
        name: OperationName,
        reply: oneshot::Sender<Result<oneshot::Receiver<()>, ArbiterError>>,
    },
    /// The right to everything.
    Everything {
        name: OperationName,
        reply: oneshot::Sender<Result<Permit, Busy>>,
    },
    PlanReload(oneshot::Sender<Result<ReloadPlan, ReloadError>>),
    Reload {
        restart: bool,
        reply: oneshot::Sender<Result<Begun, ReloadError>>,
    },
    /// From a reload that is under way: this is in force from now on.
    Replace {
        roster: Box<Roster>,
        builder: Box<WatcherBuilder>,
        reply: oneshot::Sender<()>,
    },
    /// SIGHUP: reload every watcher when nothing is in the way.
    HangUp {
        done: oneshot::Sender<()>,
    },
    /// Nothing is in the way of the reload that SIGHUP asked for.
    WayIsClear(Permit),
    ShutDown {
        done: Option<oneshot::Sender<()>>,
    },
    Hurry,
}

/// A handle on the arbiter; clones share it.
#[derive(Clone)]
pub struct ArbiterHandle {
    messages: mpsc::Sender<Message>,
    roster: watch::Receiver<Option<Arc<Roster>>>,
}

impl ArbiterHandle {
    pub(super) fn new(
        messages: mpsc::Sender<Message>,
        roster: watch::Receiver<Option<Arc<Roster>>>,
    ) -> Self {
        Self { messages, roster }
    }

    /// What there is now.
    ///
    /// # Errors
    /// [`WatcherGone`] when the daemon is ending.
    pub async fn roster(&self) -> Result<Arc<Roster>, WatcherGone> {
        // Who asks for a change and then for what there is sees the change, so this holds only when nobody waits.
        let nobody_waits = self.messages.capacity() == QUEUE;
        if nobody_waits && let Some(roster) = self.published() {
            return Ok(roster);
        }
        self.ask(Message::Roster).await
    }

    /// None before the arbiter has begun, and after its end.
    fn published(&self) -> Option<Arc<Roster>> {
        self.roster.has_changed().ok()?;
        self.roster.borrow().clone()
    }

    /// Begins an operation on one watcher; the receiver gets its outcome.
    ///
    /// # Errors
    /// [`ArbiterError`].
    pub async fn one(
        &self,
        watcher: WatcherHandle,
        operation: Operation,
        name: OperationName,
    ) -> Result<Ended, ArbiterError> {
        self.ask(|reply| Message::One { watcher, operation, name, reply }).await?
    }

    /// The right to change one watcher.
    ///
    /// # Errors
    /// [`ArbiterError`].
    pub async fn permit(
        &self,
        watcher: WatcherHandle,
        name: OperationName,
    ) -> Result<Permit, ArbiterError> {
        Ok(self.ask(|reply| Message::Permit { watcher, name, reply }).await??)
    }

    /// The right to change everything; nothing is under way then.
    ///
    /// # Errors
    /// [`ArbiterError`].
    pub async fn everything(&self, name: OperationName) -> Result<Permit, ArbiterError> {
        Ok(self.ask(|reply| Message::Everything { name, reply }).await??)
    }

    /// Adds a watcher, stopped.
    ///
    /// # Errors
    /// [`AddError`].
    pub async fn add(&self, config: WatcherConfig) -> Result<WatcherHandle, AddError> {
        self.ask(|reply| Message::Add { config: Box::new(config), reply }).await?
    }

    /// Takes a watcher out of the registry and ends it; the receiver is told when its processes have ended.
    ///
    /// # Errors
    /// [`ArbiterError`].
    pub async fn remove(
        &self,
        watcher: WatcherHandle,
        how: Retirement,
    ) -> Result<oneshot::Receiver<()>, ArbiterError> {
        self.ask(|reply| Message::Remove { watcher, how, reply }).await?
    }

    /// What a reload of the file would do.
    ///
    /// # Errors
    /// [`ReloadError`]: the file cannot be used.
    pub async fn reload_plan(&self) -> Result<ReloadPlan, ReloadError> {
        self.ask(Message::PlanReload).await?
    }

    /// Reads the file again and makes what has changed hold; with `restart` everything else starts anew, too.
    /// Everything was checked, and nothing stopped, when this returns.
    ///
    /// # Errors
    /// [`ReloadError`]: nothing was changed.
    pub async fn reload(&self, restart: bool) -> Result<Begun, ReloadError> {
        self.ask(|reply| Message::Reload { restart, reply }).await?
    }

    /// Begins an operation on several watchers; the receiver is told when it has ended.
    ///
    /// # Errors
    /// [`ArbiterError`].
    pub async fn group(
        &self,
        watchers: Vec<WatcherHandle>,
        operation: GroupOperation,
        name: OperationName,
    ) -> Result<oneshot::Receiver<()>, ArbiterError> {
        self.ask(|reply| Message::Group { watchers, operation, name, reply }).await?
    }

    /// Reloads every watcher, gracefully, when what is under way has ended. The receiver is told when that is
    /// done.
    pub async fn hang_up(&self) -> oneshot::Receiver<()> {
        let (done, ended) = oneshot::channel();
        // When the arbiter is gone the sender is dropped, and nothing will be done.
        let _ = self.messages.send(Message::HangUp { done }).await;
        ended
    }

    /// Ends the daemon: first an orderly shutdown, and again when it is under way. The receiver is told
    /// when all watchers have ended.
    pub async fn shut_down(&self) -> oneshot::Receiver<()> {
        let (done, ended) = oneshot::channel();
        // When the arbiter is gone the sender is dropped, which tells the same.
        let _ = self.messages.send(Message::ShutDown { done: Some(done) }).await;
        ended
    }

    /// Ends the daemon without waiting for graceful timeouts.
    pub async fn hurry(&self) {
        let _ = self.messages.send(Message::Hurry).await;
    }

    async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, WatcherGone> {
        let (reply, answer) = oneshot::channel();
        self.messages.send(message(reply)).await.map_err(|_| WatcherGone)?;
        answer.await.map_err(|_| WatcherGone)
    }
}
