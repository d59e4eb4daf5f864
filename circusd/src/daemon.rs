//! The life of the daemon from an accepted configuration to its end: what is started in which order, and
//! taken down in which.

use crate::arbiter;
use crate::arbiter::build::{self, BuildError};
use crate::config::model::Config;
use crate::controller::discovery;
use crate::controller::dispatch::Dispatcher;
use crate::controller::hook_requests;
use crate::controller::outbox::{Outbox, ToWire};
use crate::controller::task::serve;
use crate::controller::wire::{Wire, WireError};
use crate::event_bus::EventBus;
use crate::metrics;
use crate::metrics::gather::Gatherer;
use crate::papa::client::{KernelClient, PapaError};
use crate::process::sampler::Sampler;
use crate::signals;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Requests that may wait between the wire and the controller. Beyond that clients queue in ZeroMQ.
const REQUESTS: usize = 64;

/// How long writes that are under way may take after everything else has ended.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// The daemon could not be started.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The system has no room for us.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// An endpoint.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Kernel, sockets or watchers.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// Runs the daemon until it has been told to end and has ended.
///
/// # Errors
/// [`DaemonError`], when it could not be started.
pub fn run(config: Config, environment: Vec<(String, String)>) -> Result<(), DaemonError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(live(config, environment));
    // A write that does not come back, as to a stdout that nobody reads, must not keep us.
    runtime.shutdown_timeout(LAST_WRITES);
    ended
}

async fn live(config: Config, environment: Vec<(String, String)>) -> Result<(), DaemonError> {
    info!("Starting master on pid {}", std::process::id());
    signals::outlive_file_size_limit()?;
    let circus = &config.circus;
    let (multicast, endpoint) = (circus.multicast_endpoint.clone(), circus.endpoint.clone());
    let metrics = circus.metrics_endpoint.clone();
    let owner = circus.endpoint_owner.as_deref();
    let wire = Wire::bind(&circus.endpoint, &circus.pubsub_endpoint, owner)?;
    let outbox = Outbox::new()?;
    let bus = EventBus::new(outbox.clone());
    let (to_us, from_hooks) = mpsc::channel(crate::python::request::QUEUE);
    let stack = build::build(config, Arc::new(environment), bus.clone(), to_us).await?;
    let sockets = stack.roster.sockets.clone();
    info!("sockets started");

    let (arbiter, ended) = arbiter::task::start(stack);
    let (requests, inbox) = mpsc::channel(REQUESTS);
    let thread = wire.serve(outbox.clone(), requests)?;
    let sampler = Sampler::start();
    if let Some(place) = metrics {
        let gatherer = Gatherer::new(arbiter.clone(), sampler.clone());
        if let Err(error) = metrics::server::start(&place, gatherer).await {
            error!("{error}; going on without metrics");
        }
    }
    let dispatcher = Dispatcher::new(arbiter.clone(), sampler, bus.clone());
    let stop = CancellationToken::new();
    tokio::spawn(hook_requests::serve(dispatcher.clone(), bus, from_hooks, stop.clone()));
    let controller = tokio::spawn(serve(dispatcher, outbox.clone(), inbox, stop.clone()));
    if let Err(error) = discovery::start(&multicast, &endpoint) {
        warn!("{error}; going on without discovery");
    }
    signals::listen(arbiter)?;
    info!("Arbiter now waiting for commands");

    // A dropped sender means that the arbiter is gone, which is an end as well.
    let kernel = ended.await.ok().flatten();
    sockets.now().unlink();
    if let Some(kernel) = kernel {
        release(&kernel).await;
    }
    // First the replies, then the wire, which sends what is queued.
    stop.cancel();
    let _ = controller.await;
    outbox.send(ToWire::Close);
    let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    Ok(())
}

/// When none of our processes is left in the kernel, its sockets go and it may end.
async fn release(kernel: &KernelClient) {
    if let Err(error) = try_release(kernel).await {
        warn!("papa was not asked to end: {error}");
    }
}

async fn try_release(kernel: &KernelClient) -> Result<(), PapaError> {
    if !kernel.list_processes("circus.*").await?.is_empty() {
        return Ok(());
    }
    info!("removing all papa sockets");
    kernel.remove_sockets("circus.*").await?;
    info!("closing papa");
    kernel.exit_if_idle().await
}
