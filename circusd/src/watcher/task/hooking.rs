//! Running the hooks of a watcher: the one that the machine waits for, and those beside it.

use super::super::handle::Ended;
use super::super::setting::{self, SettingError};
use super::super::vocabulary::Input;
use super::{Task, rules, sleep_until};
use crate::arbiter::gate::Permit;
use crate::config::model::WatcherConfig;
use crate::event_bus::EventBus;
use crate::hook::call::HookCall;
use crate::hook::outcome::{Answer, Edits, Outcome};
use crate::hook::point::{HookPoint, in_python, streams_in_python};
use crate::hook::runner::{HookRunner, Order};
use protocol::circus::event::EventKind;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// The hooks that run.
pub(super) struct Hooking {
    runner: HookRunner,
    /// The one that the machine waits for.
    asked: JoinSet<Answer>,
    given_up: CancellationToken,
    /// When it is given up although its own time is not over.
    patience: Option<Instant>,
    /// Those of the commands `signal` and `stats`, which wait for themselves.
    beside: JoinSet<()>,
    /// Changes of hooks, while the new ones are imported.
    changes: JoinSet<Changed>,
}

/// Something that happened to hooks.
pub(super) enum Event {
    /// The answer to what the machine has asked.
    Answered(Box<Answer>),
    /// New hooks have been imported, or could not be.
    Changed(Box<Changed>),
}

/// A change and what its hooks are run by, or why not.
pub(super) type Changed = (Change, Result<HookRunner, String>);

/// A `set` that waits for its hooks.
pub(super) struct Change {
    pub(super) options: Map<String, Value>,
    pub(super) permit: Permit,
    pub(super) reply: oneshot::Sender<Result<Ended, SettingError>>,
}

impl Hooking {
    pub(super) fn new(runner: HookRunner) -> Self {
        Self {
            runner,
            asked: JoinSet::new(),
            given_up: CancellationToken::new(),
            patience: None,
            beside: JoinSet::new(),
            changes: JoinSet::new(),
        }
    }

    /// What hooks have to tell. May be given up and called again.
    pub(super) async fn event(&mut self) -> Event {
        loop {
            tokio::select! {
                Some(ended) = self.asked.join_next() => {
                    self.patience = None;
                    return Event::Answered(Box::new(ended.unwrap_or_else(|error| {
                        warn!("a hook was lost: {error}");
                        Answer::failed("it was lost inside circusd")
                    })));
                }
                Some(changed) = self.changes.join_next() => match changed {
                    Ok(changed) => return Event::Changed(Box::new(changed)),
                    Err(error) => warn!("a change of hooks was lost: {error}"),
                },
                Some(_) = self.beside.join_next() => {}
                () = sleep_until(self.patience), if self.patience.is_some() => self.give_up(),
                else => return std::future::pending().await,
            }
        }
    }

    /// Waits for the hook under way no longer.
    pub(super) fn give_up(&mut self) {
        self.patience = None;
        self.given_up.cancel();
        self.given_up = CancellationToken::new();
    }

    /// Waits for the hook under way no longer than this.
    pub(super) fn hurry(&mut self, limit: Duration) {
        if !self.asked.is_empty() {
            let until = Instant::now() + limit;
            self.patience = Some(self.patience.map_or(until, |earlier| earlier.min(until)));
        }
    }

    /// Lets another runner run hooks from now on and returns the old one.
    pub(super) fn use_runner(&mut self, runner: HookRunner) -> HookRunner {
        std::mem::replace(&mut self.runner, runner)
    }

    /// Does something with hooks that the machine does not wait for.
    pub(super) fn beside(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.beside.spawn(work);
    }
}

/// Asks hooks beside the machine, as its owner was at one moment.
#[derive(Clone)]
pub(super) struct Asker {
    runner: HookRunner,
    config: Arc<WatcherConfig>,
    picture: Value,
    bus: EventBus,
}

impl Asker {
    /// Runs a hook and publishes what became of it; yes without one.
    pub(super) async fn ask(&self, call: HookCall) -> Answer {
        let point = call.point();
        if !self.config.hooks.contains_key(point.as_str()) {
            return Answer::returned(true);
        }
        let (config, picture) = (Arc::clone(&self.config), self.picture.clone());
        let given_up = CancellationToken::new();
        let answer = self.runner.run(Order { call, config, picture, given_up }).await;
        let name = point.as_str().to_owned();
        match &answer.outcome {
            // This one is asked by clients all the time, and the original says nothing of it either.
            _ if point == HookPoint::ExtendedStats => {}
            Outcome::Returned(_) => {
                self.bus.publish(&self.config.name, EventKind::HookSuccess { name });
            }
            Outcome::Failed { error } => {
                let error = error.clone();
                self.bus.publish(&self.config.name, EventKind::HookFailure { name, error });
            }
        }
        answer
    }
}

impl Task {
    pub(super) fn asker(&self) -> Asker {
        Asker {
            runner: self.hooking.runner.clone(),
            config: Arc::clone(&self.config),
            picture: self.picture(),
            bus: self.bus.clone(),
        }
    }

    /// Runs the hook that the machine waits for.
    pub(super) fn run_hook(&mut self, call: HookCall) {
        let order = Order {
            call,
            config: Arc::clone(&self.config),
            picture: self.picture(),
            given_up: self.hooking.given_up.clone(),
        };
        let runner = self.hooking.runner.clone();
        self.hooking.asked.spawn(async move { runner.run(order).await });
    }

    /// Takes over what the hook has changed. What its answer means is up to the machine.
    pub(super) fn answered(&mut self, answer: Answer) -> Option<Input> {
        self.take_over(answer.edits);
        if let Some(reason) = self.state.objection(&answer.outcome) {
            self.remember_failure(reason);
        }
        Some(Input::HookDone(answer.outcome))
    }

    fn take_over(&mut self, edits: Edits) {
        if edits == Edits::default() {
            return;
        }
        let mut config = (*self.config).clone();
        config.hook_env = edits.env.or(config.hook_env);
        // Text such as `cmd` holds for the next process; nothing is restarted for it.
        if let Err(error) = setting::apply(&mut config, &edits.attributes) {
            warn!("what a hook of {} has assigned is ignored: {error}", self.identity.name);
        }
        let desired = u32::try_from(config.numprocesses).unwrap_or(u32::MAX);
        self.config = Arc::new(config);
        self.feed(Input::Rules(rules(&self.config, self.check_delay)));
        if edits.attributes.contains_key("numprocesses") {
            self.feed(Input::Want(desired));
        }
    }

    /// Imports what is in Python before anybody asks for it, so that what is wrong is seen at once.
    pub(super) fn load_hooks_early(&mut self) {
        let order = self.load_order();
        let (runner, name) = (self.hooking.runner.clone(), self.identity.name.clone());
        self.hooking.beside(async move {
            if let Err(error) = loaded(&runner, order).await {
                warn!("{name} cannot be started, its Python cannot be loaded: {error}");
            }
        });
    }

    fn load_order(&self) -> Order {
        Order {
            call: HookCall::Plain(HookPoint::Load),
            config: Arc::clone(&self.config),
            picture: Value::Null,
            given_up: CancellationToken::new(),
        }
    }

    /// Imports what is in Python, for a caller who wants to know.
    pub(super) fn load_hooks(&mut self, reply: oneshot::Sender<Result<(), String>>) {
        let (runner, order) = (self.hooking.runner.clone(), self.load_order());
        self.hooking.beside(async move {
            // The asker may have gone.
            let _ = reply.send(loaded(&runner, order).await);
        });
    }

    /// Changes options. New Python hooks are imported first, and if they cannot be nothing changes.
    pub(super) fn change(&mut self, change: Change) {
        let mut config = (*self.config).clone();
        let applied = setting::apply(&mut config, &change.options);
        let same = in_python(&config) == in_python(&self.config)
            && streams_in_python(&config) == streams_in_python(&self.config);
        if applied.is_err() || same {
            let answer = self.set(&change.options, change.permit);
            // The asker may have gone.
            self.answer_when_noted(change.reply, answer);
            return;
        }
        let runner = self.hooking.runner.with_hooks_of(&config);
        let order = Order { config: Arc::new(config), ..self.load_order() };
        self.hooking.changes.spawn(async move {
            let outcome = loaded(&runner, order).await;
            (change, outcome.map(|()| runner))
        });
    }

    /// Goes on with a change when its hooks have been imported.
    pub(super) fn go_on_with(&mut self, (change, runner): Changed) {
        let answer = match runner {
            Ok(runner) => self.set_with(&change.options, change.permit, Some(runner)),
            Err(error) => Err(SettingError::Hook(error)),
        };
        // The asker may have gone.
        self.answer_when_noted(change.reply, answer);
    }

    /// Lets the `extended_stats` hook work on the figures of each process.
    pub(super) fn extend_stats(
        &mut self,
        mut infos: BTreeMap<i32, Map<String, Value>>,
        reply: oneshot::Sender<BTreeMap<i32, Map<String, Value>>>,
    ) {
        if !self.state.rules().hooks.contains(HookPoint::ExtendedStats) {
            let _ = reply.send(infos);
            return;
        }
        let asker = self.asker();
        self.hooking.beside(async move {
            for (pid, info) in &mut infos {
                let stats = Value::Object(info.clone());
                let answer = asker.ask(HookCall::ExtendedStats { pid: *pid, stats }).await;
                if let Some(Value::Object(stats)) = answer.stats {
                    *info = stats;
                }
            }
            // The asker may have gone.
            let _ = reply.send(infos);
        });
    }
}

/// Imports hooks within their time. Not logged here: a caller is told.
async fn loaded(runner: &HookRunner, order: Order) -> Result<(), String> {
    match runner.run_quietly(order).await.outcome {
        Outcome::Returned(_) => Ok(()),
        Outcome::Failed { error } => Err(error),
    }
}
