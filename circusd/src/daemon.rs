//! The life of the daemon from an accepted configuration to its end: what is started in which order, and
//! taken down in which.

use crate::arbiter;
use crate::arbiter::build::{self, BuildError, Stack};
use crate::arbiter::handle::ArbiterHandle;
use crate::arbiter::recovery::dispensable;
use crate::arbiter::task::Started;
use crate::config::model::Config;
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
use crate::notify::Notifier;
use crate::papa::client::{KernelClient, PapaError};
use crate::papa::journal::Journal;
use crate::pidfile::{Pidfile, PidfileError};
use crate::process::sampler::Sampler;
use crate::signals::{self, Signals};
use crate::upgrade::handover::{Order, Received};
use crate::upgrade::progress::Upgrades;
use papa_kernel::background::Launcher;
use std::future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Requests that may wait between the wire and the controller. Beyond that clients queue in ZeroMQ.
const REQUESTS: usize = 64;

/// How long writes that are under way may take after everything else has ended.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// How long the start may go on after it was told to end, to come to a point where nothing is left behind.
const LAST_STEPS: Duration = Duration::from_secs(2);

/// The daemon could not be started.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The system has no room for us.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// An endpoint.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The pidfile.
    #[error(transparent)]
    Pidfile(#[from] PidfileError),
    /// A task that everything depends on is gone.
    #[error("the arbiter is gone; this is a fault of circusd, please report it")]
    Lost,
    /// Kernel, sockets or watchers.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// What the daemon lives in.
pub struct Surroundings {
    /// Its log.
    pub log: DaemonLog,
    /// The service manager.
    pub notifier: Notifier,
    /// Where to write the pid.
    pub pidfile: Option<PathBuf>,
    /// Who waits until it is ready; stays if it never is.
    pub launcher: Option<Launcher>,
    /// What the program before has left; stays if it is never taken over.
    pub received: Option<Received>,
}

/// How the daemon has ended.
pub enum Ended {
    /// As it was told to.
    Asked,
    /// Another program is to go on.
    Replaced(Order),
}

/// Runs the daemon until it has been told to end and has ended.
///
/// # Errors
/// [`DaemonError`], when it could not be started, or has lost what holds it together.
pub fn run(
    config: Config,
    environment: Vec<(String, String)>,
    surroundings: &mut Surroundings,
) -> Result<Ended, DaemonError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(live(config, environment, surroundings));
    // A write that does not come back, as to a stdout that nobody reads, must not keep us.
    runtime.shutdown_timeout(LAST_WRITES);
    ended
}

async fn live(
    config: Config,
    environment: Vec<(String, String)>,
    surroundings: &mut Surroundings,
) -> Result<Ended, DaemonError> {
    // From here on nobody ends us but ourselves, so that nothing is left behind.
    let mut signals = Signals::take_over()?;
    let pidfile = surroundings.pidfile.as_deref().map(Pidfile::create).transpose()?;
    info!("Starting master on pid {}", std::process::id());
    signals::outlive_file_size_limit()?;
    let circus = &config.circus;
    let (multicast, endpoint) = (circus.multicast_endpoint.clone(), circus.endpoint.clone());
    let metrics = circus.metrics_endpoint.clone();
    let outbox = Outbox::new()?;
    let bus = EventBus::new(outbox.clone());
    let (to_us, from_hooks) = mpsc::channel(crate::python::request::QUEUE);
    let starting = start(config, environment, bus.clone(), to_us);
    let Some((wire, stack)) = unless_told_to_end(&mut signals, starting).await? else {
        return Ok(Ended::Asked);
    };
    let sockets = stack.roster.sockets.clone();
    let journal = stack.builder.journal.clone();
    info!("sockets started");

    let Started { handle: arbiter, ending, ended } =
        arbiter::task::start(stack, surroundings.log.clone());
    let (requests, inbox) = mpsc::channel(REQUESTS);
    let thread = wire.serve(outbox.clone(), requests)?;
    let sampler = Sampler::start();
    if let Some(place) = metrics {
        let gatherer = Gatherer::new(arbiter.clone(), sampler.clone());
        if let Err(error) = metrics::server::start(&place, gatherer).await {
            error!("{error}; going on without metrics");
        }
    }
    let upgrades =
        Upgrades::taking_over(surroundings.received.as_ref().map(|received| &received.message));
    let dispatcher = Dispatcher::new(arbiter.clone(), sampler, bus.clone(), upgrades.clone());
    let stop = CancellationToken::new();
    tokio::spawn(hook_requests::serve(dispatcher.clone(), bus, from_hooks, stop.clone()));
    let controller = tokio::spawn(serve(dispatcher, outbox.clone(), inbox, stop.clone()));
    if let Err(error) = discovery::start(&multicast, &endpoint) {
        warn!("{error}; going on without discovery");
    }
    if signals.asked_to_end() {
        // Its end is waited for below.
        drop(arbiter.shut_down().await);
    }
    let notifier = &surroundings.notifier;
    signals.serve(arbiter.clone(), surroundings.log.clone(), notifier.clone());
    // It answers only after it has taken over what was there.
    let _ = arbiter.roster().await;
    if let Some(received) = surroundings.received.take() {
        finish(received, &upgrades);
    }
    tokio::spawn(attend(notifier.clone(), arbiter, ending, upgrades.clone()));
    info!("Arbiter now waiting for commands");
    notifier.ready();
    if let Some(launcher) = surroundings.launcher.take() {
        launcher.ready();
    }

    let kernel = ended.await;
    let lost = kernel.is_err();
    let order = upgrades.decided();
    sockets.now().unlink();
    journal.settled().await;
    if let Ok(Some(kernel)) = kernel
        && order.is_none()
    {
        release(&kernel, &journal, &endpoint).await;
    }
    // First the replies, then the wire, which sends what is queued.
    stop.cancel();
    let _ = controller.await;
    outbox.send(ToWire::Close);
    let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    match (lost, order) {
        (true, _) => Err(DaemonError::Lost),
        (false, None) => Ok(Ended::Asked),
        (false, Some(order)) => {
            // The pid stays the same, and so does the file that names it.
            std::mem::forget(pidfile);
            Ok(Ended::Replaced(order))
        }
    }
}

/// Everything was taken over from the program before, or from the one that was to take over.
fn finish(received: Received, upgrades: &Upgrades) {
    let message = received.finish();
    match &message.failure {
        None => info!("circusd {} has taken over from {}", message.to, message.from),
        Some(failure) => error!(
            "circusd {} (`{}`) could not take over, going on with {}: {failure}",
            message.to,
            message.program.display(),
            message.from
        ),
    }
    upgrades.ended(message);
}

async fn start(
    config: Config,
    environment: Vec<(String, String)>,
    bus: EventBus,
    hooks: crate::python::request::Requests,
) -> Result<(Wire, Stack), DaemonError> {
    let circus = &config.circus;
    let owner = circus.endpoint_owner.as_deref();
    let wire = Wire::bind(&circus.endpoint, &circus.pubsub_endpoint, owner)?;
    let stack = build::build(config, Arc::new(environment), bus, hooks).await?;
    Ok((wire, stack))
}

/// What the start gives; none when it was to end and did not come to an end soon.
async fn unless_told_to_end<T>(
    signals: &mut Signals,
    starting: impl Future<Output = Result<T, DaemonError>>,
) -> Result<Option<T>, DaemonError> {
    tokio::pin!(starting);
    tokio::select! {
        started = &mut starting => return started.map(Some),
        () = signals.end_of_start() => {}
    }
    // Given up in the middle it would leave files behind.
    match time::timeout(LAST_STEPS, starting).await {
        Ok(started) => started.map(Some),
        Err(_) => {
            warn!("the start was given up");
            Ok(None)
        }
    }
}

/// Tells the service manager that we are alive, as often as it wants to know, and that we end.
async fn attend(
    notifier: Notifier,
    arbiter: ArbiterHandle,
    ending: CancellationToken,
    upgrades: Upgrades,
) {
    let watchdog = async {
        let Some(interval) = notifier.watchdog_interval() else { return future::pending().await };
        let mut interval = time::interval(interval);
        loop {
            interval.tick().await;
            // A daemon whose arbiter does not answer is not alive.
            if arbiter.roster().await.is_err() {
                return;
            }
            notifier.alive();
        }
    };
    let end = async {
        ending.cancelled().await;
        // Another program that goes on in this process is no end.
        match upgrades.decided() {
            Some(_) => notifier.reloading(),
            None => notifier.stopping(),
        }
        future::pending::<()>().await;
    };
    tokio::select! {
        () = watchdog => {}
        () = end => {}
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
