//! The task of one watcher: feeds the machine in `state` and carries out what it decides.
//!
//! Owns the watcher's processes and streams. It never waits for a process, a file or another watcher: what
//! takes time runs beside it and comes back as an input.

use super::demand::Demand;
use super::handle::{Identity, Message, ProcessView, QUEUE, Retirement, Snapshot, WatcherHandle};
use super::history::History;
use super::intent::{Origin, Runs};
use super::keeping::Keeping;
use super::launch::{LaunchError, Launched, Launcher};
use super::options;
use super::state::State;
use super::tally::Tally;
use super::vocabulary::{Action, Changes, Input, Rules, Status, Token};
use super::wid::Wid;
use crate::arbiter::gate::Permit;
use crate::config::model::WatcherConfig;
use crate::event_bus::EventBus;
use crate::hook::point::{HookPoint, HookPoints};
use crate::hook::runner::HookRunner;
use crate::process::direct::Outputs;
use crate::process::end::End;
use crate::stream::recent::RecentOutput;
use papa_spawn::child::PidFd;
use protocol::circus::event::EventKind;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{self, JoinError, JoinSet};
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

mod change;
mod deliver;
mod explain;
mod following;
mod hooking;
mod leaving;
mod noting;
mod operation;
mod picture;

use hooking::{Change, Hooking};

/// Longer than any daemon runs: ten years.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What a watcher is made of.
pub struct Parts {
    /// Its section of the configuration.
    pub config: Arc<WatcherConfig>,
    /// Ceiling of the respawn delay.
    pub check_delay: Duration,
    /// How its processes are started.
    pub launcher: Launcher,
    /// Its streams.
    pub outputs: Outputs,
    /// Where its events go.
    pub bus: EventBus,
    /// What runs its hooks.
    pub hooks: HookRunner,
    /// Processes that the kernel hosts from before.
    pub adopted: Vec<Launched>,
    /// What it notes in the kernel.
    pub keeping: Keeping,
}

struct Worker {
    pid: i32,
    started: f64,
    pidfd: Option<Arc<PidFd>>,
    /// It had ended before this circusd began.
    ended_before: bool,
}

/// Somebody who waits until these slots are empty.
struct Dying {
    wids: BTreeSet<Wid>,
    reply: oneshot::Sender<()>,
}

struct Pending {
    reply: oneshot::Sender<(Changes, u32)>,
    /// Dropped with the reply, which lets the next operation in.
    permit: Option<Permit>,
}

struct Task {
    identity: Arc<Identity>,
    config: Arc<WatcherConfig>,
    check_delay: Duration,
    state: State,
    launcher: Arc<Launcher>,
    outputs: Outputs,
    recent: RecentOutput,
    history: History,
    tally: Tally,
    bus: EventBus,
    workers: BTreeMap<Wid, Worker>,
    launches: JoinSet<(Wid, Result<Launched, LaunchError>)>,
    ends: JoinSet<(Wid, End)>,
    pending: BTreeMap<Token, Pending>,
    next_token: u64,
    detach: CancellationToken,
    dying: Vec<Dying>,
    demand: Demand,
    hooking: Hooking,
    /// An on-demand watcher reacts to connections. It does not after `stop`, until it is started again.
    armed: bool,
    /// It was stopped for the time being, and no operator has had another wish since.
    paused: bool,
    keeping: Keeping,
}

/// Starts the task of a watcher that is stopped, except for adopted processes.
pub fn start(parts: Parts) -> WatcherHandle {
    let config = parts.config;
    let identity = Arc::new(Identity {
        name: config.name.clone(),
        key: config.name.to_lowercase(),
        priority: config.priority,
        autostart: config.autostart,
        runs: match parts.keeping.runs {
            Runs::No => false,
            Runs::Yes => true,
            Runs::Begun => !parts.adopted.is_empty(),
        },
        taken_over: !parts.adopted.is_empty(),
        singleton: config.singleton,
        use_papa: config.use_papa,
    });
    let desired = u32::try_from(config.numprocesses.max(0)).unwrap_or(u32::MAX);
    let state = State::new(rules(&config, parts.check_delay), desired)
        .failing_late(config.name.starts_with("plugin:"));
    let (messages, mut inbox) = mpsc::channel(QUEUE);
    let handle = WatcherHandle::new(Arc::clone(&identity), messages);
    let mut task = Task {
        identity,
        config,
        check_delay: parts.check_delay,
        state,
        launcher: Arc::new(parts.launcher),
        outputs: parts.outputs,
        recent: RecentOutput::default(),
        history: History::default(),
        tally: Tally::default(),
        bus: parts.bus,
        workers: BTreeMap::new(),
        launches: JoinSet::new(),
        ends: JoinSet::new(),
        pending: BTreeMap::new(),
        next_token: 0,
        detach: CancellationToken::new(),
        dying: Vec::new(),
        demand: Demand::default(),
        hooking: Hooking::new(parts.hooks),
        armed: false,
        paused: false,
        keeping: parts.keeping,
    };
    for process in parts.adopted {
        task.adopt(process);
    }
    if !task.identity.autostart && task.state.rules().hooks.contains(HookPoint::Load) {
        task.load_hooks_early();
    }
    // One that has nothing yet is noted when it is started, so that a note about its predecessor holds until
    // then.
    if task.identity.taken_over || task.keeping.origin != Origin::File {
        drop(task.note());
    }
    task::spawn(async move {
        // What comes last is long and happens once, so it takes its room when it comes.
        match task.run(&mut inbox).await {
            Leave::Detach(reply) => Box::pin(task.detach(reply)).await,
            Leave::Retire { how, permit, begun } => {
                Box::pin(task.retire(how, permit, begun)).await;
            }
            Leave::Alone => {}
        }
    });
    handle
}

fn rules(config: &WatcherConfig, check_delay: Duration) -> Rules {
    // `inf` is a legal number in the file; a deadline needs an end.
    let seconds =
        |value: f64| Duration::try_from_secs_f64(value.max(0.0)).unwrap_or(FOREVER).min(FOREVER);
    Rules {
        singleton: config.singleton,
        // Without the periodic check of the original nothing was ever replaced.
        respawn: config.respawn && !check_delay.is_zero(),
        on_demand: config.on_demand,
        warmup_delay: seconds(config.warmup_delay),
        graceful_timeout: seconds(config.graceful_timeout),
        stop_signal: config.stop_signal,
        max_retry: u32::try_from(config.max_retry).ok(),
        check_delay,
        hooks: HookPoints::of(config),
    }
}

/// Why the task of a watcher leaves.
enum Leave {
    /// Hosted processes are left to the kernel.
    Detach(oneshot::Sender<()>),
    /// The watcher is removed.
    Retire {
        how: Retirement,
        permit: Option<Permit>,
        begun: oneshot::Sender<oneshot::Receiver<()>>,
    },
    /// Every handle is gone: circusd is ending.
    Alone,
}

/// What the task of a watcher has waited for.
enum Happened {
    Message(Message),
    Launched(Result<(Wid, Result<Launched, LaunchError>), JoinError>),
    Ended(Result<(Wid, End), JoinError>),
    Hook(hooking::Event),
    /// The deadline of the machine has come.
    Tick,
    /// Somebody connects.
    Demand,
    /// Every handle is gone.
    Alone,
}

impl Task {
    async fn run(&mut self, inbox: &mut mpsc::Receiver<Message>) -> Leave {
        loop {
            let happened = self.next(inbox).await;
            // Only one of the watchers that have much to do is at it at a time; see `turnstile`.
            let turn = match &happened {
                Happened::Message(message) if message.is_quick() => None,
                _ => Some(self.launcher.turnstile.clone().turn().await),
            };
            let input = match happened {
                Happened::Message(Message::Detach(reply)) => return Leave::Detach(reply),
                Happened::Message(Message::Retire { how, permit, begun }) => {
                    return Leave::Retire { how, permit, begun };
                }
                Happened::Message(message) => self.receive(message),
                Happened::Launched(Ok((wid, result))) => Some(self.launched(wid, result)),
                Happened::Launched(Err(error)) => {
                    warn!(watcher = self.identity.name, "a spawn was lost: {error}");
                    self.state.spawning().map(|wid| Input::SpawnFailed { wid, transient: true })
                }
                Happened::Ended(Ok((wid, end))) => self.ended(wid, end),
                Happened::Ended(Err(error)) => {
                    warn!(watcher = self.identity.name, "a process was lost: {error}");
                    None
                }
                Happened::Hook(hooking::Event::Answered(answer)) => self.answered(*answer),
                Happened::Hook(hooking::Event::Changed(change)) => {
                    self.go_on_with(*change);
                    None
                }
                Happened::Tick => Some(Input::Tick),
                Happened::Demand => Some(Input::Demand),
                Happened::Alone => return Leave::Alone,
            };
            if let Some(input) = input {
                self.feed(input);
            }
            if let Some(turn) = turn {
                turn.end().await;
            }
        }
    }

    async fn next(&mut self, inbox: &mut mpsc::Receiver<Message>) -> Happened {
        let deadline = self.state.deadline();
        tokio::select! {
            message = inbox.recv() => message.map_or(Happened::Alone, Happened::Message),
            Some(launched) = self.launches.join_next() => Happened::Launched(launched),
            Some(end) = self.ends.join_next() => Happened::Ended(end),
            event = self.hooking.event() => Happened::Hook(event),
            () = sleep_until(deadline), if deadline.is_some() => Happened::Tick,
            () = self.demand.wait(), if self.waits_for_demand() => Happened::Demand,
        }
    }

    fn receive(&mut self, message: Message) -> Option<Input> {
        match message {
            Message::Operate { operation, permit, begun } => {
                self.operate(operation, permit, begun);
                None
            }
            Message::Signal { signal, scope, reply } => {
                self.signal(signal, scope, reply);
                None
            }
            Message::Extend { infos, reply } => {
                self.extend_stats(infos, reply);
                None
            }
            Message::Inspect(reply) => {
                let _ = reply.send(self.snapshot());
                None
            }
            Message::Explain(reply) => {
                let _ = reply.send(self.explanation());
                None
            }
            Message::Output(reply) => {
                let _ = reply.send((self.recent.clone(), self.unseen()));
                None
            }
            Message::Options(reply) => {
                let _ = reply.send(options::of(
                    &self.config,
                    self.state.desired(),
                    &self.launcher.environment,
                ));
                None
            }
            Message::Set { options, permit, begun } => {
                self.change(Change { options: *options, permit, reply: begun });
                None
            }
            Message::LoadHooks(reply) => {
                self.load_hooks(reply);
                None
            }
            Message::Picture(reply) => {
                let _ = reply.send(self.picture());
                None
            }
            Message::Kill { order, reply } => {
                self.kill(order, reply);
                None
            }
            Message::CheckDelay(delay) => {
                self.check_delay = delay;
                Some(Input::Rules(rules(&self.config, delay)))
            }
            Message::File(file) => {
                self.keeping.file = Arc::from(file);
                None
            }
            Message::Intend { runs, noted } => {
                self.keeping.runs = runs.into();
                // The asker may have gone.
                let _ = noted.send(self.note());
                None
            }
            Message::Hurry => {
                self.hooking.give_up();
                Some(Input::Hurry)
            }
            Message::Detach(_) | Message::Retire { .. } => None,
        }
    }

    /// Notes who waits for an operation.
    fn expect(&mut self, permit: Option<Permit>, reply: oneshot::Sender<(Changes, u32)>) -> Token {
        self.next_token += 1;
        let token = Token(self.next_token);
        self.pending.insert(token, Pending { reply, permit });
        token
    }

    fn answer(&mut self, token: Token, changes: Changes) {
        let Some(pending) = self.pending.remove(&token) else { return };
        drop(pending.permit);
        // Nobody waits when the command was not a waiting one.
        let _ = pending.reply.send((changes, self.state.desired()));
    }

    fn arm(&mut self) {
        if self.config.on_demand && !self.armed {
            self.demand = Demand::on(self.launcher.demand_sockets(&self.config));
            self.armed = true;
        }
    }

    /// Lets go of the sockets as well, so that they can be closed.
    fn disarm(&mut self) {
        self.demand = Demand::default();
        self.armed = false;
    }

    fn waits_for_demand(&self) -> bool {
        self.armed && self.state.is_open_to_demand(Instant::now())
    }

    fn snapshot(&self) -> Snapshot {
        let view = |(wid, pid)| {
            let started = self.workers.get(&wid).map_or(0.0, |worker| worker.started);
            ProcessView { wid, pid, started }
        };
        Snapshot {
            status: self.state.status(),
            desired: self.state.desired(),
            processes: self.state.processes().into_iter().map(view).collect(),
            waits_for_demand: self.armed && self.state.status() == Status::Stopped,
            counted: self.counted(),
            respawn: self.config.respawn,
        }
    }

    fn feed(&mut self, input: Input) {
        for action in self.state.step(Instant::now(), input) {
            match action {
                Action::Spawn(wid) => {
                    let (launcher, config) = (Arc::clone(&self.launcher), Arc::clone(&self.config));
                    self.launches.spawn(async move { (wid, launcher.launch(config, wid).await) });
                }
                Action::Signal(wid, signal) => self.ask_to_end(wid, signal),
                Action::Escalate(wid) => self.kill_tree(wid),
                Action::RunHook(call) => self.run_hook(call),
                Action::Forget(wid) => {
                    self.workers.remove(&wid);
                }
                Action::Publish(kind) => self.tell(kind),
                Action::Done(token, changes) => self.answer(token, changes),
                Action::CloseStreams => self.close_streams(),
            }
        }
    }

    fn publish(&self, kind: EventKind) {
        match kind {
            EventKind::Start => info!("{} started", self.identity.name),
            EventKind::Stop => info!("{} stopped", self.identity.name),
            EventKind::Reload => info!("{} reloaded", self.identity.name),
            _ => {}
        }
        let started = match kind {
            EventKind::Spawn { pid } => {
                self.workers.values().find(|worker| worker.pid == pid).map(|worker| worker.started)
            }
            _ => None,
        };
        match started {
            Some(time) => self.bus.publish_at(&self.identity.name, kind, time),
            None => self.bus.publish(&self.identity.name, kind),
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
