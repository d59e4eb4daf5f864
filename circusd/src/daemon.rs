//! The life of the daemon: a process around an arbiter that is served, with its signals, pidfile, service
//! manager and way to another program.

use crate::arbiter::handle::ArbiterHandle;
use crate::config::model::Config;
use crate::logging::DaemonLog;
use crate::notify::Notifier;
use crate::pidfile::{Pidfile, PidfileError};
use crate::serving::{self, Lost, ServeError, Serving};
use crate::signals::{self, Signals};
use crate::upgrade::handover::{Order, Received};
use crate::upgrade::progress::Upgrades;
use nix::sys::resource::{Resource, getrlimit};
use papa_spawn::background::Launcher;
use papa_spawn::sys::set_time_slice;
use std::fs::File;
use std::future;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

/// How long writes that are under way may take after everything else has ended.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// How long the start may go on after it was told to end, to come to a point where nothing is left behind.
const LAST_STEPS: Duration = Duration::from_secs(2);

/// How long the thread of the event loop, which serves the endpoints, too, runs at a time. It has little to do each time
/// and should do it at once.
const TIME_SLICE: Duration = Duration::from_micros(200);

/// Descriptors that must be free at the start: those of the event loop, of the signals, of the endpoints and of the
/// first process. With fewer, tokio panics where it cannot say why, and no process could be started.
const DESCRIPTORS: usize = 16;

/// The daemon could not be started.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The limit of open files is a slip; nothing would run with it.
    #[error(
        "cannot start: {source}; with at most {limit} open files (ulimit -n, LimitNOFILE=) no process could be \
         started"
    )]
    Descriptors {
        /// The soft limit.
        limit: u64,
        /// What the system says.
        source: io::Error,
    },
    /// The system has no room for us.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// The pidfile.
    #[error(transparent)]
    Pidfile(#[from] PidfileError),
    /// Endpoints, kernel, sockets or watchers.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A task that everything depends on is gone.
    #[error(transparent)]
    Lost(#[from] Lost),
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
    descriptors_are_free()?;
    let mut runtime = runtime::Builder::new_current_thread();
    // Processes are started by the threads for what may block, and must not inherit ours.
    let runtime = runtime.enable_all().on_thread_start(as_others).build()?;
    // Else, on a busy machine, it would wait with each message until somebody else's turn has ended.
    if let Err(error) = set_time_slice(Some(TIME_SLICE)) {
        debug!("commands wait for a turn as long as others do: {error}");
    }
    let ended = runtime.block_on(live(config, environment, surroundings));
    // A write that does not come back, as to a stdout that nobody reads, must not keep us.
    runtime.shutdown_timeout(LAST_WRITES);
    ended
}

/// Takes [`DESCRIPTORS`] and gives them back.
fn descriptors_are_free() -> Result<(), DaemonError> {
    let taken: io::Result<Vec<File>> = (0..DESCRIPTORS).map(|_| File::open("/dev/null")).collect();
    let Err(source) = taken else { return Ok(()) };
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    Err(DaemonError::Descriptors { limit, source })
}

/// Gives a thread the time slice that the system thinks right; see [`TIME_SLICE`].
pub fn as_others() {
    if let Err(error) = set_time_slice(None) {
        debug!("a thread keeps the time slice of the one that started it: {error}");
    }
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
    let preparing = serving::prepare(config, environment);
    let Some(prepared) = unless_told_to_end(&mut signals, preparing).await? else {
        return Ok(Ended::Asked);
    };
    let received = surroundings.received.as_ref();
    let upgrades = Upgrades::taking_over(received.map(|received| &received.message));
    let serving = prepared.serve(Some(surroundings.log.clone()), upgrades.clone()).await?;
    let Serving { arbiter, ending, end, .. } = serving;
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

    end.reached().await?;
    let Some(order) = upgrades.decided() else { return Ok(Ended::Asked) };
    // The pid stays the same, and so does the file that names it.
    std::mem::forget(pidfile);
    Ok(Ended::Replaced(order))
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

/// What the start gives; none when it was to end and did not come to an end soon.
async fn unless_told_to_end<T>(
    signals: &mut Signals,
    starting: impl Future<Output = Result<T, ServeError>>,
) -> Result<Option<T>, ServeError> {
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
