//! Runs the hooks of one watcher, each with a limit on its time.
//!
//! Knows nothing of the machine: it is given a call and gives an answer. A hook that takes too long, or that
//! nobody wants an answer of any more, is killed.

use super::call::HookCall;
use super::command;
use super::outcome::{Answer, Outcome};
use super::point::{HookPoint, in_python, streams_in_python};
use crate::config::model::WatcherConfig;
use crate::config::variables;
use crate::event_bus::epoch_seconds;
use crate::python::host::{Definition, Host};
use crate::python::interpreter;
use crate::python::request::Requests;
use crate::python::stream::PythonStream;
use crate::stream::sink::Sink;
use indexmap::IndexMap;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// How long stream classes may take to close.
const CLOSING: Duration = Duration::from_secs(2);

/// What all hooks are told of the daemon they run in, and may ask of it.
#[derive(Clone)]
pub struct Surroundings {
    /// circusd's own environment.
    pub environment: Arc<Vec<(String, String)>>,
    /// Where it takes commands.
    pub endpoint: String,
    /// Where it publishes events.
    pub pubsub_endpoint: String,
    /// Where statistics are published.
    pub stats_endpoint: Option<String>,
    /// Seconds between checks.
    pub check_delay: f64,
    /// The Python that `[circus]` names.
    pub python: Option<String>,
    /// Where it looks for modules after everything else.
    pub python_path: Option<String>,
    /// The directory of the configuration, where modules may be.
    pub folder: String,
    /// Who carries out what Python hooks ask for.
    pub requests: Requests,
}

/// Runs the hooks of a watcher; clones share everything.
#[derive(Clone)]
pub struct HookRunner {
    surroundings: Arc<Surroundings>,
    /// Runs those in Python, if there are some.
    host: Option<Host>,
}

/// One run: what, of which watcher, and for how long.
pub struct Order {
    /// The hook and what it is told.
    pub call: HookCall,
    /// The watcher as it is configured.
    pub config: Arc<WatcherConfig>,
    /// The watcher as Python hooks see it.
    pub picture: Value,
    /// Cancelled when nobody waits for the answer any longer.
    pub given_up: CancellationToken,
}

impl HookRunner {
    /// A runner for the hooks of this watcher.
    pub fn new(surroundings: Arc<Surroundings>, config: &WatcherConfig) -> Self {
        let (hooks, streams) = (in_python(config), streams_in_python(config));
        let host = (!hooks.is_empty() || !streams.is_empty()).then(|| {
            let python = surroundings.python.as_deref();
            let cwd = std::env::current_dir().map(|folder| folder.display().to_string());
            let definition = Definition {
                watcher: config.name.clone(),
                interpreter: interpreter::choose(config, python, &surroundings.environment),
                environment: Arc::clone(&surroundings.environment),
                last_paths: [surroundings.folder.clone()]
                    .into_iter()
                    .chain(cwd.ok())
                    .chain(surroundings.python_path.iter().flat_map(|path| {
                        path.split(':').filter(|folder| !folder.is_empty()).map(str::to_owned)
                    }))
                    .collect(),
                hooks,
                streams,
                arbiter: json!({
                    "endpoint": surroundings.endpoint,
                    "pubsub_endpoint": surroundings.pubsub_endpoint,
                    "stats_endpoint": surroundings.stats_endpoint,
                    "check_delay": surroundings.check_delay,
                    "pid": std::process::id(),
                }),
            };
            Host::new(definition, surroundings.requests.clone())
        });
        Self { surroundings, host }
    }

    /// A runner for the same watcher after its hooks have changed.
    pub fn with_hooks_of(&self, config: &WatcherConfig) -> Self {
        Self::new(Arc::clone(&self.surroundings), config)
    }

    /// The stream `stdout` or `stderr` of this watcher, if it is a Python class.
    pub fn stream(&self, config: &WatcherConfig, name: &str) -> Option<Box<dyn Sink>> {
        let host = self.host.clone()?;
        let (name, _, _) = streams_in_python(config).into_iter().find(|(own, ..)| *own == name)?;
        Some(Box::new(PythonStream::new(host, name, config.use_papa)))
    }

    /// Lets Python stream classes know that output comes.
    pub async fn open_streams(&self) {
        if let Some(host) = &self.host {
            host.open_streams().await;
        }
    }

    /// Lets Python stream classes know that nothing more comes, and waits a moment until they do.
    pub async fn close_streams(&self) {
        if let Some(host) = &self.host {
            // One that takes longer is not waited for.
            let _ = time::timeout(CLOSING, host.close_streams()).await;
        }
    }

    /// Imports the hooks and stream classes that are in Python.
    ///
    /// # Errors
    /// What could not be imported, and why.
    pub async fn load(&self) -> Result<(), String> {
        match &self.host {
            Some(host) => host.load().await,
            None => Ok(()),
        }
    }

    /// Runs a hook. A failure is logged here and nowhere else.
    pub async fn run(&self, order: Order) -> Answer {
        let point = order.call.point();
        let watcher = order.config.name.clone();
        let answer = self.run_quietly(order).await;
        match (&answer.outcome, point) {
            (Outcome::Returned(_), _) => {}
            (Outcome::Failed { error }, HookPoint::Load) => {
                error!("{watcher} is not started, its Python cannot be loaded: {error}");
            }
            (Outcome::Failed { error }, HookPoint::Open | HookPoint::Close) => {
                error!("the streams of {watcher} do not answer: {error}");
            }
            (Outcome::Failed { error }, _) => {
                error!("Hook '{}' failed: watcher {watcher}: {error}", point.as_str());
            }
        }
        answer
    }

    /// Runs a hook and leaves it to the caller to tell of a failure.
    pub async fn run_quietly(&self, order: Order) -> Answer {
        let limit = match order.call.point() {
            HookPoint::Close => Some(CLOSING),
            _ => limit(&order.config),
        };
        let name = order.call.point().as_str();
        let watcher = order.config.name.clone();
        let given_up = order.given_up.clone();
        let too_late = async {
            match limit {
                Some(limit) => time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            answer = self.run_for_ever(order) => answer,
            () = too_late => {
                let seconds = limit.unwrap_or_default().as_secs_f64();
                Answer::failed(format!("timed out after {seconds} s"))
            }
            () = given_up.cancelled() => {
                warn!("hook '{name}' of {watcher} is killed: nobody waits for it any longer");
                Answer::failed("given up because the watcher is to stop")
            }
        }
    }

    async fn run_for_ever(&self, order: Order) -> Answer {
        let point = order.call.point();
        if point == HookPoint::Load {
            return match self.load().await {
                Ok(()) => Answer::returned(true),
                Err(error) => Answer::failed(error),
            };
        }
        match (&self.host, point) {
            (Some(host), HookPoint::Open) => return host.open_streams().await,
            (Some(host), HookPoint::Close) => return host.close_streams().await,
            _ => {}
        }
        let Some(hook) = order.config.hooks.get(point.as_str()) else {
            return Answer::returned(true);
        };
        match &self.host {
            Some(host) if hook.is_python() => {
                let keywords = order.call.keywords(epoch_seconds());
                host.call(point.as_str(), order.picture, keywords).await
            }
            _ => {
                let stats = match &order.call {
                    HookCall::ExtendedStats { stats, .. } => Some(stats),
                    _ => None,
                };
                let label = format!("{} of {}", point.as_str(), order.config.name);
                command::run(&hook.target, self.variables(&order), stats, &label).await
            }
        }
    }

    /// circusd's environment, what `[env]` says for the watcher, and the call.
    fn variables(&self, order: &Order) -> Vec<(String, String)> {
        let surroundings = &self.surroundings;
        let mut all: IndexMap<String, String> = surroundings.environment.iter().cloned().collect();
        // A virtualenv that cannot be used is said at every start of a process.
        all.extend(variables(&order.config, &surroundings.environment).unwrap_or_default());
        all.insert("CIRCUS_WATCHER".to_owned(), order.config.name.clone());
        all.insert("CIRCUS_ENDPOINT".to_owned(), surroundings.endpoint.clone());
        let pubsub = surroundings.pubsub_endpoint.clone();
        all.insert("CIRCUS_PUBSUB_ENDPOINT".to_owned(), pubsub);
        all.extend(order.call.variables(epoch_seconds()));
        all.into_iter().collect()
    }
}

/// `hooks.timeout`; 0 and infinity are no limit.
fn limit(config: &WatcherConfig) -> Option<Duration> {
    Duration::try_from_secs_f64(config.hook_timeout).ok().filter(|limit| !limit.is_zero())
}
