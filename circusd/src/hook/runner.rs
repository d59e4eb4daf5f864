//! Runs the hooks of one watcher, each with a limit on its time.
//!
//! Knows nothing of the machine: it is given a call and gives an answer. A hook that takes too long, or that
//! nobody wants an answer of any more, is killed.

use super::call::HookCall;
use super::command;
use super::outcome::Answer;
use crate::config::model::{HookConfig, WatcherConfig};
use crate::event_bus::epoch_seconds;
use std::sync::Arc;
use std::time::Duration;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// What hooks are told of the daemon they run in.
#[derive(Debug)]
pub struct Surroundings {
    /// circusd's own environment.
    pub environment: Arc<Vec<(String, String)>>,
    /// Where it takes commands.
    pub endpoint: String,
    /// Where it publishes events.
    pub pubsub_endpoint: String,
}

/// Runs hooks; clones share everything.
#[derive(Clone)]
pub struct HookRunner {
    surroundings: Arc<Surroundings>,
}

/// One run: what, of which watcher, and for how long.
pub struct Order {
    /// The hook.
    pub hook: HookConfig,
    /// What it is told.
    pub call: HookCall,
    /// The watcher as it is configured.
    pub config: Arc<WatcherConfig>,
    /// Cancelled when nobody waits for the answer any longer.
    pub given_up: CancellationToken,
}

impl HookRunner {
    /// A runner for hooks in these surroundings.
    pub fn new(surroundings: Arc<Surroundings>) -> Self {
        Self { surroundings }
    }

    /// Runs a hook. A failure is logged here and nowhere else.
    pub async fn run(&self, order: Order) -> Answer {
        let limit = limit(&order.config);
        let name = order.call.point().as_str();
        let watcher = order.config.name.clone();
        let given_up = order.given_up.clone();
        let too_late = async {
            match limit {
                Some(limit) => time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let answer = tokio::select! {
            answer = self.run_for_ever(&order) => answer,
            () = too_late => {
                let seconds = limit.unwrap_or_default().as_secs_f64();
                Answer::failed(format!("timed out after {seconds} s"))
            }
            () = given_up.cancelled() => {
                warn!("hook '{name}' of {watcher} is killed: nobody waits for it any longer");
                Answer::failed("given up because the watcher is to stop")
            }
        };
        if let super::outcome::Outcome::Failed { error } = &answer.outcome {
            error!("Hook '{name}' failed: watcher {watcher}: {error}");
        }
        answer
    }

    async fn run_for_ever(&self, order: &Order) -> Answer {
        let stats = match &order.call {
            HookCall::ExtendedStats { stats, .. } => Some(stats),
            _ => None,
        };
        let label = format!("{} of {}", order.call.point().as_str(), order.config.name);
        command::run(&order.hook.target, self.variables(order), stats, &label).await
    }

    /// circusd's environment, what `[env]` says for the watcher, and the call.
    fn variables(&self, order: &Order) -> Vec<(String, String)> {
        let surroundings = &self.surroundings;
        let mut variables: indexmap::IndexMap<String, String> =
            surroundings.environment.iter().cloned().collect();
        // A virtualenv that cannot be used is said at every start of a process.
        if let Ok(own) = crate::config::variables(&order.config, &surroundings.environment) {
            variables.extend(own);
        }
        variables.insert("CIRCUS_WATCHER".to_owned(), order.config.name.clone());
        variables.insert("CIRCUS_ENDPOINT".to_owned(), surroundings.endpoint.clone());
        let pubsub = surroundings.pubsub_endpoint.clone();
        variables.insert("CIRCUS_PUBSUB_ENDPOINT".to_owned(), pubsub);
        variables.extend(order.call.variables(epoch_seconds()));
        variables.into_iter().collect()
    }
}

/// `hooks.timeout`; 0 and infinity are no limit.
fn limit(config: &WatcherConfig) -> Option<Duration> {
    Duration::try_from_secs_f64(config.hook_timeout).ok().filter(|limit| !limit.is_zero())
}
