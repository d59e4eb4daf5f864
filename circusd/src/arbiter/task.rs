//! The task that owns the registry of watchers.
//!
//! It maps names to handles, guards the gate and orders operations on several watchers. It never sees a
//! pid, a pipe or JSON.

use super::build::{Stack, warmup_delay};
use super::builder::WatcherBuilder;
use super::gate::{Gate, Permit};
use super::group;
use super::handle::{
    AddError, ArbiterError, ArbiterHandle, GroupOperation, Message, QUEUE, Roster,
};
use super::inherit;
use super::kernel_loss::Guard;
use super::recovery::Leftover;
use super::reload::{self, Begun, Reload, ReloadError};
use crate::config::model::{Config, WatcherConfig};
use crate::logging::DaemonLog;
use crate::papa::client::KernelClient;
use crate::socket::SocketTable;
use crate::watcher::handle::{WatcherGone, WatcherHandle};
use protocol::circus::event::EventKind;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task;
use tokio_util::sync::CancellationToken;
use tracing::info;

struct Task {
    roster: Arc<Roster>,
    /// The same, for who only wants to know; none while processes are taken over.
    published: watch::Sender<Option<Arc<Roster>>>,
    builder: WatcherBuilder,
    sockets: Arc<watch::Sender<Arc<SocketTable>>>,
    /// Our own, for the tasks that we start.
    messages: mpsc::WeakSender<Message>,
    /// What a reload may change; an arbiter in another program has none.
    log: Option<DaemonLog>,
    gate: Gate,
    /// Ends group operations when the daemon shuts down.
    cancelled: CancellationToken,
    waiting: Vec<oneshot::Sender<()>>,
    /// Waits until nothing is in the way of a reload.
    hang_up: Option<task::JoinHandle<()>>,
    /// Who is told when that reload has ended.
    hung_up: Vec<oneshot::Sender<()>>,
}

/// An arbiter that runs.
pub struct Started {
    /// The way to it.
    pub handle: ArbiterHandle,
    /// Told when the watchers that start with it have been started.
    pub started: oneshot::Receiver<()>,
    /// Cancelled when a shutdown begins.
    pub ending: CancellationToken,
    /// Told when a shutdown has ended; gets the connection to the kernel.
    pub ended: oneshot::Receiver<Option<KernelClient>>,
}

/// Starts the arbiter, which starts the watchers.
pub fn start(stack: Stack, log: Option<DaemonLog>) -> Started {
    let leftovers = stack.leftovers;
    let (messages, inbox) = mpsc::channel(QUEUE);
    let (ended, end) = oneshot::channel();
    let (tell, started) = oneshot::channel();
    let (published, roster) = watch::channel(None);
    let task = Task {
        roster: Arc::new(stack.roster),
        published,
        builder: stack.builder,
        sockets: Arc::new(stack.sockets),
        messages: messages.downgrade(),
        log,
        gate: Gate::default(),
        cancelled: CancellationToken::new(),
        waiting: Vec::new(),
        hang_up: None,
        hung_up: Vec::new(),
    };
    let ending = task.cancelled.clone();
    task::spawn(task.run(leftovers, tell, inbox, ended));
    Started { handle: ArbiterHandle::new(messages, roster), started, ending, ended: end }
}

impl Task {
    async fn run(
        mut self,
        leftovers: Vec<Leftover>,
        started: oneshot::Sender<()>,
        mut inbox: mpsc::Receiver<Message>,
        ended: oneshot::Sender<Option<KernelClient>>,
    ) {
        self.begin(leftovers, started).await;
        self.publish();
        self.guard_kernel();
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
        let _ = ended.send(self.builder.kernel);
    }

    /// Watches over the kernel, if there is one.
    fn guard_kernel(&self) {
        let Some(kernel) = self.builder.kernel.clone() else { return };
        let guard = Guard {
            kernel,
            builder: self.builder.clone(),
            sockets: Arc::clone(&self.sockets),
            messages: self.messages.clone(),
            gate: self.gate.clone(),
            cancelled: self.cancelled.clone(),
        };
        guard.start();
    }

    /// Takes over what is there and starts the rest.
    async fn begin(&self, leftovers: Vec<Leftover>, started: oneshot::Sender<()>) {
        let watchers = &self.roster.watchers;
        inherit::take_over(watchers).await;
        let waiting = inherit::end(&self.builder, leftovers, watchers);
        let fresh = watchers.iter().filter(|watcher| {
            let identity = watcher.identity();
            identity.runs && !identity.taken_over && !waiting.contains(&identity.key)
        });
        let pause = warmup_delay(&self.roster.config);
        let fresh: Vec<WatcherHandle> = fresh.cloned().collect();
        let keys = fresh.iter().map(|watcher| watcher.identity().key.clone()).collect();
        let Ok(permit) = self.gate.enter(keys, "arbiter_start_watchers") else {
            // The gate is new, so nothing can be in the way.
            return;
        };
        let starting = group::start(fresh, pause, self.cancelled.clone(), permit);
        task::spawn(async move {
            starting.await;
            // circusd answers commands before.
            let _ = started.send(());
        });
    }

    async fn receive(&mut self, message: Message) {
        match message {
            Message::Roster(reply) => {
                let _ = reply.send(Arc::clone(&self.roster));
            }
            Message::One { watcher, operation, name, reply } => {
                match self.gate.enter(vec![watcher.identity().key.clone()], name) {
                    Err(busy) => drop(reply.send(Err(busy.into()))),
                    // It is noted in the kernel first, which nobody else waits for.
                    Ok(permit) => drop(task::spawn(async move {
                        let begun = watcher.begin(operation, Some(permit)).await;
                        let _ = reply.send(begun.map_err(ArbiterError::from));
                    })),
                }
            }
            Message::Permit { watcher, name, reply } => {
                let _ = reply.send(self.gate.enter(vec![watcher.identity().key.clone()], name));
            }
            Message::Add { config, reply } => {
                let (added, journal) = (self.add(*config), self.builder.journal.clone());
                task::spawn(async move {
                    journal.settled().await;
                    let _ = reply.send(added);
                });
            }
            Message::Remove { watcher, how, reply } => match self.remove(&watcher) {
                Err(error) => drop(reply.send(Err(error))),
                Ok(permit) => drop(task::spawn(async move {
                    let ended = watcher.retire(how, Some(permit)).await;
                    let _ = reply.send(ended.map_err(ArbiterError::from));
                })),
            },
            Message::Everything { name, reply } => {
                let _ = reply.send(self.gate.enter_all(name));
            }
            Message::PlanReload(reply) => {
                let reload = self.reload(false);
                task::spawn(async move {
                    // The asker may have gone.
                    let _ = reply.send(reload.plan().await.map(|(plan, _)| plan));
                });
            }
            Message::Reload { restart, reply } => self.begin_reload(restart, reply),
            Message::Replace { roster, builder, reply } => {
                self.roster = Arc::from(roster);
                self.publish();
                let first_kernel = self.builder.kernel.is_none();
                self.builder = *builder;
                if first_kernel {
                    self.guard_kernel();
                }
                let _ = reply.send(());
            }
            Message::Group { watchers, operation, name, reply } => {
                self.group(watchers, operation, name, reply);
            }
            Message::HangUp { done } => self.hang_up(done),
            Message::WayIsClear(permit) => self.reload_all(permit),
            Message::ShutDown { .. } | Message::Hurry => {}
        }
    }

    fn add(&mut self, config: WatcherConfig) -> Result<WatcherHandle, AddError> {
        if self.roster.find(&config.name).is_some() {
            return Err(AddError::Exists(config.name));
        }
        let _permit = self.gate.enter(vec![config.name.to_lowercase()], "arbiter_add_watcher")?;
        let beginning = self.builder.added(&config);
        let watcher = self.builder.build(config, beginning)?;
        self.builder.bus.publish(&watcher.identity().name, EventKind::Add);
        let mut watchers = self.roster.watchers.clone();
        watchers.push(watcher.clone());
        super::order::by_priority(&mut watchers, |watcher| watcher.identity().priority);
        self.use_roster(watchers, Arc::clone(&self.roster.config));
        Ok(watcher)
    }

    fn remove(&mut self, watcher: &WatcherHandle) -> Result<Permit, ArbiterError> {
        let key = watcher.identity().key.clone();
        let permit = self.gate.enter(vec![key.clone()], "arbiter_rm_watcher")?;
        let mut watchers = self.roster.watchers.clone();
        watchers.retain(|other| other.identity().key != key);
        let mut config = Config::clone(&self.roster.config);
        config.watchers.retain(|other| other.name.to_lowercase() != key);
        self.use_roster(watchers, Arc::new(config));
        Ok(permit)
    }

    fn use_roster(&mut self, watchers: Vec<WatcherHandle>, config: Arc<Config>) {
        let sockets = self.roster.sockets.clone();
        let kernel = self.roster.kernel.clone();
        self.roster = Arc::new(Roster { watchers, sockets, kernel, config });
        self.publish();
    }

    fn publish(&self) {
        self.published.send_replace(Some(Arc::clone(&self.roster)));
    }

    fn reload(&self, restart: bool) -> Reload {
        Reload {
            roster: Arc::clone(&self.roster),
            builder: self.builder.clone(),
            sockets: Arc::clone(&self.sockets),
            log: self.log.clone(),
            messages: self.messages.clone(),
            cancelled: self.cancelled.clone(),
            restart,
        }
    }

    fn begin_reload(&self, restart: bool, reply: oneshot::Sender<Result<Begun, ReloadError>>) {
        let name = if restart { "arbiter_restart" } else { reload::NAME };
        match self.gate.enter_all(name) {
            Ok(permit) => {
                task::spawn(self.reload(restart).run(permit, reply));
            }
            Err(busy) => {
                let _ = reply.send(Err(busy.into()));
            }
        }
    }

    /// Begins an operation on several watchers and answers when what it intends is noted.
    fn group(
        &self,
        mut watchers: Vec<WatcherHandle>,
        operation: GroupOperation,
        name: &'static str,
        reply: oneshot::Sender<Result<oneshot::Receiver<()>, ArbiterError>>,
    ) {
        let keys = watchers.iter().map(|watcher| watcher.identity().key.clone()).collect();
        let permit = match self.gate.enter(keys, name) {
            Ok(permit) => permit,
            Err(busy) => return drop(reply.send(Err(busy.into()))),
        };
        super::order::by_priority(&mut watchers, |watcher| watcher.identity().priority);
        let (done, ended) = oneshot::channel();
        let (pause, cancelled) = (warmup_delay(&self.roster.config), self.cancelled.clone());
        task::spawn(async move {
            group::intend(&watchers, operation).await;
            // The asker may have gone.
            let _ = reply.send(Ok(ended));
            group::carry_out(watchers, operation, pause, cancelled, permit).await;
            let _ = done.send(());
        });
    }

    /// Reloads every watcher as soon as nothing is in the way. A SIGHUP that waits already does for the next.
    fn hang_up(&mut self, done: oneshot::Sender<()>) {
        self.hung_up.push(done);
        if self.hang_up.as_ref().is_none_or(task::JoinHandle::is_finished) {
            let (gate, messages) = (self.gate.clone(), self.messages.clone());
            self.hang_up = Some(task::spawn(async move {
                let Some(permit) = gate.wait_for_all("arbiter_reload").await else { return };
                if let Some(messages) = messages.upgrade() {
                    // Nobody is left to reload when the arbiter is gone.
                    let _ = messages.send(Message::WayIsClear(permit)).await;
                }
            }));
        }
    }

    fn reload_all(&mut self, permit: Permit) {
        let (watchers, pause) = (self.roster.watchers.clone(), warmup_delay(&self.roster.config));
        let operation = GroupOperation::Reload { graceful: true, sequential: false };
        let (cancelled, waiting) = (self.cancelled.clone(), std::mem::take(&mut self.hung_up));
        task::spawn(async move {
            group::carry_out(watchers, operation, pause, cancelled, permit).await;
            for done in waiting {
                let _ = done.send(());
            }
        });
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
