//! The task that owns the registry of watchers.
//!
//! It maps names to handles, guards the gate and orders operations on several watchers. It never sees a
//! pid, a pipe or JSON.

use super::builder::WatcherBuilder;
use super::gate::Gate;
use super::group;
use super::handle::{
    AddError, ArbiterError, ArbiterHandle, GroupOperation, Message, QUEUE, Roster,
};
use crate::config::model::WatcherConfig;
use crate::watcher::handle::{Ended, Operation, WatcherGone, WatcherHandle};
use protocol::circus::event::EventKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task;
use tokio_util::sync::CancellationToken;
use tracing::info;

struct Task {
    roster: Arc<Roster>,
    builder: WatcherBuilder,
    gate: Gate,
    pause: Duration,
    /// Ends group operations when the daemon shuts down.
    cancelled: CancellationToken,
    waiting: Vec<oneshot::Sender<()>>,
}

/// Starts the arbiter, which starts the watchers. The receiver is told when a shutdown has ended.
pub fn start(roster: Roster, builder: WatcherBuilder) -> (ArbiterHandle, oneshot::Receiver<()>) {
    let (messages, inbox) = mpsc::channel(QUEUE);
    let (ended, end) = oneshot::channel();
    let warmup = u64::try_from(roster.config.circus.warmup_delay).unwrap_or(0);
    let task = Task {
        roster: Arc::new(roster),
        builder,
        gate: Gate::default(),
        pause: Duration::from_secs(warmup),
        cancelled: CancellationToken::new(),
        waiting: Vec::new(),
    };
    task::spawn(task.run(inbox, ended));
    (ArbiterHandle::new(messages), end)
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Message>, ended: oneshot::Sender<()>) {
        let all = self.roster.watchers.clone();
        // The gate is new, so nothing can be in the way.
        let _ = self.group(all, GroupOperation::Start, "arbiter_start_watchers");
        let mut ending: Option<task::JoinHandle<()>> = None;
        loop {
            let over = async {
                match &mut ending {
                    Some(ending) => ending.await,
                    None => std::future::pending().await,
                }
            };
            let message = tokio::select! {
                _ = over => break,
                message = inbox.recv() => message,
            };
            match message {
                Some(Message::ShutDown { done }) => {
                    self.waiting.extend(done);
                    if ending.is_none() {
                        ending = Some(self.shut_down());
                    }
                }
                Some(Message::Hurry) => {
                    if ending.is_none() {
                        ending = Some(self.shut_down());
                    }
                    self.hurry();
                }
                Some(message) => self.receive(message).await,
                // Every handle is gone; nobody can ask for anything any more.
                None => {
                    if ending.is_none() {
                        ending = Some(self.shut_down());
                    }
                    if let Some(ending) = ending.take() {
                        let _ = ending.await;
                    }
                    break;
                }
            }
        }
        info!("all watchers have ended");
        for done in self.waiting {
            let _ = done.send(());
        }
        let _ = ended.send(());
    }

    async fn receive(&mut self, message: Message) {
        match message {
            Message::Roster(reply) => {
                let _ = reply.send(Arc::clone(&self.roster));
            }
            Message::One { watcher, operation, name, reply } => {
                let _ = reply.send(self.one(&watcher, operation, name).await);
            }
            Message::Permit { watcher, name, reply } => {
                let _ = reply.send(self.gate.enter(vec![watcher.identity().key.clone()], name));
            }
            Message::Add { config, reply } => {
                let _ = reply.send(self.add(*config));
            }
            Message::Remove { watcher, nostop, reply } => {
                let _ = reply.send(self.remove(watcher, nostop).await);
            }
            Message::Group { watchers, operation, name, reply } => {
                let _ = reply.send(self.group(watchers, operation, name));
            }
            Message::ShutDown { .. } | Message::Hurry => {}
        }
    }

    async fn one(
        &self,
        watcher: &WatcherHandle,
        operation: Operation,
        name: &'static str,
    ) -> Result<Ended, ArbiterError> {
        let permit = self.gate.enter(vec![watcher.identity().key.clone()], name)?;
        Ok(watcher.begin(operation, Some(permit)).await?)
    }

    fn add(&mut self, config: WatcherConfig) -> Result<WatcherHandle, AddError> {
        if self.roster.find(&config.name).is_some() {
            return Err(AddError::Exists(config.name));
        }
        let _permit = self.gate.enter(vec![config.name.to_lowercase()], "arbiter_add_watcher")?;
        let watcher = self.builder.build(config, Vec::new())?;
        self.builder.bus.publish(&watcher.identity().name, EventKind::Add);
        let mut watchers = self.roster.watchers.clone();
        watchers.push(watcher.clone());
        super::order::by_priority(&mut watchers, |watcher| watcher.identity().priority);
        self.use_roster(watchers);
        Ok(watcher)
    }

    async fn remove(
        &mut self,
        watcher: WatcherHandle,
        nostop: bool,
    ) -> Result<oneshot::Receiver<()>, ArbiterError> {
        let key = watcher.identity().key.clone();
        let permit = self.gate.enter(vec![key.clone()], "arbiter_rm_watcher")?;
        let mut watchers = self.roster.watchers.clone();
        watchers.retain(|other| other.identity().key != key);
        self.use_roster(watchers);
        Ok(watcher.retire(nostop, permit).await?)
    }

    fn use_roster(&mut self, watchers: Vec<WatcherHandle>) {
        let sockets = Arc::clone(&self.roster.sockets);
        let config = Arc::clone(&self.roster.config);
        self.roster = Arc::new(Roster { watchers, sockets, config });
    }

    fn group(
        &self,
        mut watchers: Vec<WatcherHandle>,
        operation: GroupOperation,
        name: &'static str,
    ) -> Result<oneshot::Receiver<()>, ArbiterError> {
        let keys = watchers.iter().map(|watcher| watcher.identity().key.clone()).collect();
        let permit = self.gate.enter(keys, name)?;
        super::order::by_priority(&mut watchers, |watcher| watcher.identity().priority);
        let (done, ended) = oneshot::channel();
        let (pause, cancelled) = (self.pause, self.cancelled.clone());
        task::spawn(async move {
            let to_start: Vec<WatcherHandle> =
                watchers.iter().filter(|watcher| watcher.identity().autostart).cloned().collect();
            match operation {
                GroupOperation::Start => group::start(to_start, pause, cancelled, permit).await,
                GroupOperation::Stop => group::stop(watchers, Some(permit)).await,
                GroupOperation::Reload { graceful, sequential } => {
                    let operation = Operation::Reload { graceful, sequential };
                    group::one_by_one(watchers, operation, cancelled, permit).await;
                }
                GroupOperation::Restart => {
                    group::stop(watchers, None).await;
                    group::start(to_start, pause, cancelled, permit).await;
                }
            }
            let _ = done.send(());
        });
        Ok(ended)
    }

    fn shut_down(&self) -> task::JoinHandle<()> {
        self.gate.close("arbiter_stop");
        self.cancelled.cancel();
        info!("Arbiter exiting");
        task::spawn(group::shut_down(self.roster.watchers.clone()))
    }

    fn hurry(&self) {
        for watcher in &self.roster.watchers {
            let watcher = watcher.clone();
            task::spawn(async move {
                // A watcher that is gone has nothing left to kill.
                let _: Result<(), WatcherGone> = watcher.hurry().await;
            });
        }
    }
}
