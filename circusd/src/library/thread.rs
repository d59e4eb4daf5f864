//! The thread on which an arbiter lives, with an event loop of its own: what the program does cannot delay it, and
//! it needs none of the program's.

use super::arbiter::Arbiter;
use super::builder::Base;
use super::error::ArbiterError;
use crate::config::model::Config;
use crate::serving::{self, Serving};
use crate::upgrade::progress::Upgrades;
use std::thread;
use std::time::Duration;
use tokio::runtime;
use tokio::sync::{oneshot, watch};
use tracing::info;

/// How long writes that are under way may take after everything else has ended.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// Tells when and how the arbiter has ended; clones share it.
#[derive(Clone)]
pub(super) struct Ended(watch::Receiver<Option<bool>>);

impl Ended {
    /// It has ended.
    pub(super) fn is_known(&self) -> bool {
        self.0.borrow().is_some() || self.0.has_changed().is_err()
    }

    /// Waits until it has ended, and says whether it was told to.
    pub(super) async fn wait(&mut self) -> bool {
        // A sender that is gone without a word died in a panic.
        self.0.wait_for(Option::is_some).await.is_ok_and(|ended| *ended == Some(true))
    }
}

/// What the thread hands out.
pub(super) struct Running {
    pub(super) serving: Handles,
    pub(super) runtime: runtime::Handle,
    pub(super) ended: Ended,
    pub(super) base: Base,
    pub(super) endpoint: String,
    pub(super) pubsub_endpoint: String,
}

/// The ways into what is served.
pub(super) struct Handles {
    pub(super) arbiter: crate::arbiter::handle::ArbiterHandle,
    pub(super) dispatcher: crate::controller::dispatch::Dispatcher,
    pub(super) bus: crate::event_bus::EventBus,
}

/// Starts the arbiter on a thread of its own; returns when it runs.
pub(super) async fn start(config: Config, base: Base) -> Result<Arbiter, ArbiterError> {
    let (started, running) = oneshot::channel();
    let (tell, ended) = watch::channel(None);
    let ended = Ended(ended);
    let thread = thread::Builder::new().name("circus-arbiter".into());
    let life = move || {
        let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(ArbiterError::Start(Box::new(error))))),
        };
        let was_told = runtime.block_on(live(config, base, ended, started));
        runtime.shutdown_timeout(LAST_WRITES);
        // Nobody may want to know.
        let _ = tell.send(Some(was_told));
    };
    thread.spawn(life).map_err(|error| ArbiterError::Start(Box::new(error)))?;
    Ok(Arbiter::new(running.await.map_err(|_| ArbiterError::lost())??))
}

/// The life of the arbiter; says whether it ended because it was told to.
async fn live(
    config: Config,
    base: Base,
    ended: Ended,
    mut started: oneshot::Sender<Result<Running, ArbiterError>>,
) -> bool {
    let (endpoint, pubsub_endpoint) =
        (config.circus.endpoint.clone(), config.circus.pubsub_endpoint.clone());
    let serving = match serve(config, base.environment.clone()).await {
        Ok(serving) => serving,
        Err(error) => {
            // Whoever started it may not wait any more.
            let _ = started.send(Err(error));
            return true;
        }
    };
    let Serving { arbiter, dispatcher, bus, started: watchers, end, .. } = serving;
    info!("Arbiter now waiting for commands");
    // Until then commands would find the start in their way. It may be given up meanwhile.
    tokio::select! {
        _ = watchers => {}
        () = started.closed() => {}
    }
    let serving = Handles { arbiter: arbiter.clone(), dispatcher, bus };
    let runtime = runtime::Handle::current();
    let running = Running { serving, runtime, ended, base, endpoint, pubsub_endpoint };
    if started.send(Ok(running)).is_err() {
        // Nobody has it. Its end is waited for below.
        drop(arbiter.shut_down().await);
    }
    drop(arbiter);
    end.reached().await.is_ok()
}

async fn serve(
    config: Config,
    environment: Vec<(String, String)>,
) -> Result<Serving, ArbiterError> {
    let prepared = serving::prepare(config, environment).await;
    let mut prepared = prepared.map_err(|error| ArbiterError::Start(Box::new(error)))?;
    if let Some((name, source)) = prepared.take_left_out() {
        prepared.abandon().await;
        return Err(ArbiterError::Watcher { name, source: Box::new(source) });
    }
    let serving = prepared.serve(None, Upgrades::default()).await;
    serving.map_err(|error| ArbiterError::Start(Box::new(error)))
}
