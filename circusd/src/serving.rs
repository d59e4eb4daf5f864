//! An arbiter and everything that makes it reachable, from an accepted configuration to its end: endpoints,
//! commands, events, hooks, metrics and discovery.
//!
//! `daemon` puts a process around it, with signals and a pidfile; `library` puts it into somebody else's. It
//! therefore touches nothing that belongs to the whole process.

use crate::arbiter;
use crate::arbiter::build::{self, BuildError, Stack};
use crate::arbiter::builder::WatcherError;
use crate::arbiter::handle::ArbiterHandle;
use crate::arbiter::plugin_failure;
use crate::arbiter::recovery::dispensable;
use crate::arbiter::task::Started;
use crate::config::model::{CircusConfig, Config};
use crate::controller::discovery;
use crate::controller::dispatch::Dispatcher;
use crate::controller::hook_requests;
use crate::controller::outbox::{Outbox, ToWire};
use crate::controller::task::serve;
use crate::controller::wire::{Wire, WireError};
use crate::event_bus::EventBus;
use crate::logging::DaemonLog;
use crate::metrics;
use crate::metrics::gather::Gatherer;
use crate::papa::client::{KernelClient, PapaError};
use crate::papa::journal::Journal;
use crate::process::sampler::Sampler;
use crate::python::request::{self, Request};
use crate::socket::Sockets;
use crate::upgrade::progress::Upgrades;
use std::io;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Requests that may wait between the wire and the controller. Beyond that clients queue in their sockets.
const REQUESTS: usize = 64;

/// The arbiter cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
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

/// A task that everything depends on is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the arbiter is gone; this is a fault of circusd, please report it")]
pub struct Lost;

/// Everything is bound and built, and nothing runs yet.
pub struct Prepared {
    circus: CircusConfig,
    wire: Wire,
    stack: Stack,
    outbox: Outbox,
    bus: EventBus,
    from_hooks: mpsc::Receiver<Request>,
    environment: Arc<Vec<(String, String)>>,
}

/// Binds the endpoints, opens the sockets and makes the watchers, which take over what the kernel hosts.
/// `environment` is what processes get with `copy_env`.
///
/// # Errors
/// [`ServeError`].
pub async fn prepare(
    config: Config,
    environment: Vec<(String, String)>,
) -> Result<Prepared, ServeError> {
    let circus = config.circus.clone();
    let outbox = Outbox::default();
    let bus = EventBus::new(outbox.clone());
    let (to_us, from_hooks) = mpsc::channel(request::QUEUE);
    let owner = circus.endpoint_owner.as_deref();
    let wire = Wire::bind(&circus.endpoint, &circus.pubsub_endpoint, owner)?;
    let environment = Arc::new(environment);
    let stack = build::build(config, Arc::clone(&environment), bus.clone(), to_us).await?;
    Ok(Prepared { circus, wire, stack, outbox, bus, from_hooks, environment })
}

impl Prepared {
    /// A watcher that could not be made, and why; the others can be served.
    pub fn take_left_out(&mut self) -> Option<(String, WatcherError)> {
        self.stack.left_out.pop()
    }

    /// Takes down what was opened, when it is not to be served.
    pub async fn abandon(self) {
        let Stack { roster, builder, .. } = self.stack;
        roster.sockets.now().unlink();
        if let Some(kernel) = &builder.kernel {
            release(kernel, &builder.journal, &builder.owner).await;
        }
    }

    /// Starts the watchers and answers from now on. A `log` is what a reload of the configuration may change.
    ///
    /// # Errors
    /// The event loop cannot watch the endpoints.
    pub async fn serve(self, log: Option<DaemonLog>, upgrades: Upgrades) -> io::Result<Serving> {
        let Self { circus, wire, stack, outbox, bus, from_hooks, environment } = self;
        let sockets = stack.roster.sockets.clone();
        let journal = stack.builder.journal.clone();
        info!("sockets started");
        let Started { handle: arbiter, started, ending, ended } = arbiter::task::start(stack, log);
        let (requests, inbox) = mpsc::channel(REQUESTS);
        let wire = wire.serve(outbox.clone(), requests)?;
        let sampler = Sampler::start();
        if let Some(place) = &circus.metrics_endpoint {
            let gatherer = Gatherer::new(arbiter.clone(), sampler.clone());
            if let Err(error) = metrics::server::start(place, gatherer).await {
                error!("{error}; going on without metrics");
            }
        }
        let dispatcher = Dispatcher::new(arbiter.clone(), sampler, bus.clone(), upgrades.clone());
        let stop = CancellationToken::new();
        tokio::spawn(plugin_failure::attend(arbiter.clone(), bus.clone(), environment));
        let hooks = hook_requests::serve(dispatcher.clone(), bus.clone(), from_hooks, stop.clone());
        tokio::spawn(hooks);
        let controller = tokio::spawn(serve(dispatcher.clone(), inbox, stop.clone()));
        if let Err(error) = discovery::start(&circus.multicast_endpoint, &circus.endpoint) {
            warn!("{error}; going on without discovery");
        }
        let end = End {
            ended,
            upgrades,
            sockets,
            journal,
            owner: circus.endpoint,
            stop,
            controller,
            outbox,
            wire,
        };
        Ok(Serving { arbiter, dispatcher, bus, started, ending, end })
    }
}

/// An arbiter that runs and is reachable.
pub struct Serving {
    /// The way to it.
    pub arbiter: ArbiterHandle,
    /// Carries out commands as for clients.
    pub dispatcher: Dispatcher,
    /// What happens.
    pub bus: EventBus,
    /// Told when the watchers that start with it have been started.
    pub started: oneshot::Receiver<()>,
    /// Cancelled when a shutdown begins.
    pub ending: CancellationToken,
    /// The way to its end.
    pub end: End,
}

/// What is left to do when the arbiter has ended.
pub struct End {
    ended: oneshot::Receiver<Option<KernelClient>>,
    upgrades: Upgrades,
    sockets: Sockets,
    journal: Journal,
    owner: String,
    stop: CancellationToken,
    controller: JoinHandle<()>,
    outbox: Outbox,
    wire: JoinHandle<()>,
}

impl End {
    /// Waits until the arbiter was told to end and has ended, and takes everything down. What has to stay for
    /// an upgrade that was decided on stays.
    ///
    /// # Errors
    /// [`Lost`], when it ended without being told to.
    pub async fn reached(self) -> Result<(), Lost> {
        let kernel = self.ended.await;
        self.sockets.now().unlink();
        self.journal.settled().await;
        if let Ok(Some(kernel)) = &kernel
            && self.upgrades.decided().is_none()
        {
            release(kernel, &self.journal, &self.owner).await;
        }
        // First the replies, then the wire, which sends what is queued.
        self.stop.cancel();
        let _ = self.controller.await;
        self.outbox.send(ToWire::Close);
        let _ = self.wire.await;
        kernel.map(drop).map_err(|_| Lost)
    }
}

/// When none of our processes is left in the kernel, its sockets go and it may end, unless it keeps what
/// operators changed.
async fn release(kernel: &KernelClient, journal: &Journal, owner: &str) {
    if let Err(error) = try_release(kernel, journal, owner).await {
        warn!("papa was not asked to end: {error}");
    }
}

async fn try_release(
    kernel: &KernelClient,
    journal: &Journal,
    owner: &str,
) -> Result<(), PapaError> {
    if !kernel.list_processes("circus.*").await?.is_empty() {
        return Ok(());
    }
    info!("removing all papa sockets");
    kernel.remove_sockets("circus.*").await?;
    let Some(dispensable) = dispensable(&journal.notes(), owner) else {
        info!("papa goes on: it keeps what was changed with circusctl");
        return Ok(());
    };
    for key in dispensable {
        drop(journal.note(&key, None));
    }
    journal.settled().await;
    info!("closing papa");
    kernel.exit_if_idle().await
}
