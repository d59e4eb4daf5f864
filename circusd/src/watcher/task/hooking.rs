//! Running the hooks of a watcher: the one that the machine waits for, and those beside it.

use super::super::vocabulary::Input;
use super::{Task, sleep_until};
use crate::config::model::WatcherConfig;
use crate::event_bus::EventBus;
use crate::hook::call::HookCall;
use crate::hook::outcome::{Answer, Outcome};
use crate::hook::point::HookPoint;
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
}

impl Hooking {
    pub(super) fn new(runner: HookRunner) -> Self {
        Self {
            runner,
            asked: JoinSet::new(),
            given_up: CancellationToken::new(),
            patience: None,
            beside: JoinSet::new(),
        }
    }

    /// The answer to what the machine has asked. Never comes when nothing was asked. May be given up and
    /// called again.
    pub(super) async fn ended(&mut self) -> Option<Answer> {
        loop {
            tokio::select! {
                Some(ended) = self.asked.join_next() => {
                    self.patience = None;
                    return Some(ended.unwrap_or_else(|error| {
                        warn!("a hook was lost: {error}");
                        Answer::failed("it was lost inside circusd")
                    }));
                }
                Some(_) = self.beside.join_next() => {}
                () = sleep_until(self.patience), if self.patience.is_some() => self.give_up(),
                else => return None,
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
    bus: EventBus,
}

impl Asker {
    /// Runs a hook and publishes what became of it; yes without one.
    pub(super) async fn ask(&self, call: HookCall) -> Answer {
        let point = call.point();
        let Some(hook) = self.config.hooks.get(point.as_str()).cloned() else {
            return Answer::returned(true);
        };
        let given_up = CancellationToken::new();
        let config = Arc::clone(&self.config);
        let answer = self.runner.run(Order { hook, call, config, given_up }).await;
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
            bus: self.bus.clone(),
        }
    }

    /// Runs the hook that the machine waits for.
    pub(super) fn run_hook(&mut self, call: HookCall) {
        let Some(hook) = self.config.hooks.get(call.point().as_str()).cloned() else {
            // The machine asks only where there is a hook, and none is ever taken away.
            self.hooking.asked.spawn(async { Answer::returned(true) });
            return;
        };
        let (runner, config) = (self.hooking.runner.clone(), Arc::clone(&self.config));
        let order = Order { hook, call, config, given_up: self.hooking.given_up.clone() };
        self.hooking.asked.spawn(async move { runner.run(order).await });
    }

    /// What the answer means is up to the machine.
    pub(super) fn answered(&mut self, answer: Answer) -> Option<Input> {
        Some(Input::HookDone(answer.outcome))
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
