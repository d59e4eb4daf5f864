//! From the configuration to sockets and watchers, before anything is started.
//!
//! A watcher that cannot be built is left out with a warning, so that one bad log directory does not keep
//! the rest of a stack down.

use super::builder::{Beginning, WatcherBuilder, WatcherError};
use super::builtin;
use super::handle::Roster;
use super::order;
use super::plugins::{self, Place};
use super::recovery::{self, Leftover, Plan, Planned};
use crate::config::model::Config;
use crate::event_bus::EventBus;
use crate::hook::runner::Surroundings;
use crate::papa::client::{KernelClient, PapaError};
use crate::papa::endpoint::{BadEndpoint, PapaEndpoint};
use crate::papa::journal::Journal;
use crate::papa::start::{StartError, reach};
use crate::process::settlement;
use crate::process::turnstile::Turnstile;
use crate::python::request::Requests;
use crate::socket::{SocketError, SocketTable, Sockets};
use crate::watcher::handle::WatcherHandle;
use crate::watcher::intent::Origin;
use protocol::papa::ProcessRow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{info, warn};

/// The stack cannot be built at all.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// `papa_endpoint`.
    #[error(transparent)]
    PapaEndpoint(#[from] BadEndpoint),
    /// No kernel, and none can be started.
    #[error(transparent)]
    Reach(#[from] StartError),
    /// A socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The kernel does not tell what it hosts.
    #[error("cannot ask the papa kernel what it hosts: {0}")]
    Kernel(#[source] PapaError),
}

/// Everything that was made from a configuration.
pub struct Stack {
    /// The watchers and sockets.
    pub roster: Roster,
    /// What makes further watchers.
    pub builder: WatcherBuilder,
    /// Puts other sockets in the place of those there are.
    pub sockets: watch::Sender<Arc<SocketTable>>,
    /// The watchers that could not be made, and why.
    pub left_out: Vec<(String, WatcherError)>,
    /// What has no place any more and is to be ended.
    pub leftovers: Vec<Leftover>,
}

/// Opens the sockets and makes the watchers, which take over what the kernel hosts.
///
/// # Errors
/// [`BuildError`].
pub async fn build(
    config: Config,
    environment: Arc<Vec<(String, String)>>,
    bus: EventBus,
    requests: Requests,
) -> Result<Stack, BuildError> {
    let mut config = config;
    let folder = folder(config.path.as_deref());
    let circus = config.circus.clone();
    let place = Place { circus: &circus, environment: &environment, folder: &folder };
    plugins::add_watchers(&mut config, &place).await;
    let kernel = kernel_for(&config).await?;
    let table = SocketTable::open(&config.sockets, kernel.as_ref()).await?;
    table.mark_outdated(&mut config.sockets);
    let journal = Journal::default();
    let plan = recover(&config, kernel.as_ref(), &journal).await;
    let plan = plan.inspect_err(|_| table.unlink())?;
    report(&plan);
    for key in &plan.obsolete {
        // Nobody waits for it; a note that stays means nothing.
        drop(journal.note(key, None));
    }
    let (sender, sockets) = Sockets::of(table);
    let check_delay = check_delay(&config);
    let circus = &config.circus;
    let surroundings = Arc::new(Surroundings {
        environment: Arc::clone(&environment),
        endpoint: circus.endpoint.clone(),
        pubsub_endpoint: circus.pubsub_endpoint.clone(),
        stats_endpoint: circus.stats_endpoint.clone(),
        check_delay: circus.check_delay,
        python: circus.python.clone(),
        python_path: circus.python_path.clone(),
        folder: folder.clone(),
        requests,
    });
    let owner = Arc::from(circus.endpoint.as_str());
    let builder = WatcherBuilder {
        environment,
        sockets: sockets.clone(),
        kernel,
        bus,
        check_delay,
        surroundings,
        journal,
        owner,
        turnstile: Turnstile::default(),
    };
    let mut watchers: Vec<WatcherHandle> = Vec::new();
    let mut made = Vec::new();
    let mut left_out = Vec::new();
    for planned in plan.watchers {
        let (name, file) = (planned.config.name.clone(), planned.file.clone());
        let Planned { config, file: base, origin, runs, rows, stale, .. } = planned;
        match builder.build(config, Beginning { origin, file: base, runs, rows, stale }) {
            Ok(watcher) => {
                watchers.push(watcher);
                made.extend((origin == Origin::File).then_some(file));
            }
            Err(error) => {
                warn!("Failed to create watcher {name}: {error}");
                left_out.push((name, error));
            }
        }
    }
    // What could not be made is tried again by the next reload, and what was removed is there again.
    config.watchers = made;
    for own in builtin::watchers(&config.circus) {
        if watchers.iter().any(|watcher| watcher.identity().key == own.name) {
            warn!("[watcher:{0}] takes the place of the built-in {0}", own.name);
            continue;
        }
        let beginning = Beginning::from_file(&own);
        match builder.without_notes().build(own, beginning) {
            Ok(watcher) => watchers.push(watcher),
            Err(error) => warn!("Failed to create the built-in watcher: {error}"),
        }
    }
    order::by_priority(&mut watchers, |watcher| watcher.identity().priority);
    let kernel = builder.kernel.clone();
    let roster = Roster { watchers, sockets, kernel, config: Arc::new(config) };
    Ok(Stack { roster, builder, sockets: sender, left_out, leftovers: plan.leftovers })
}

async fn recover(
    config: &Config,
    kernel: Option<&KernelClient>,
    journal: &Journal,
) -> Result<Plan, BuildError> {
    let hosted = settled(kernel).await?;
    let notes = match kernel {
        Some(kernel) => journal.attach(kernel.clone()).await.map_err(BuildError::Kernel)?,
        None => Vec::new(),
    };
    Ok(recovery::plan(&config.watchers, hosted, &notes, &config.circus.endpoint))
}

/// Tells the operator what was found.
fn report(plan: &Plan) {
    for remark in &plan.remarks {
        info!("{remark}");
    }
    for row in &plan.strangers {
        warn!(
            "process `{}` (pid {}) in papa belongs to no watcher and is left alone",
            row.name, row.pid
        );
    }
    for watcher in plan.watchers.iter().filter(|watcher| !watcher.stale.is_empty()) {
        let stale = watcher.rows.iter().filter(|(wid, _)| watcher.stale.contains(wid));
        let pids: Vec<String> = stale.map(|(_, row)| row.pid.to_string()).collect();
        let name = &watcher.config.name;
        warn!(
            "cmd, env or other settings of {name} have changed since these processes were started: {}; \
             `circusctl reload {name}` replaces them",
            pids.join(", ")
        );
    }
    for leftover in &plan.leftovers {
        let pids: Vec<String> = leftover.rows.iter().map(|(_, row)| row.pid.to_string()).collect();
        let name = &leftover.config.name;
        let pids = pids.join(", ");
        match (leftover.origin, leftover.moved) {
            (Origin::Removed { nostop: true, .. }, _) => {
                info!("watcher {name} was removed and its processes go on: {pids}");
            }
            (_, true) => info!("watcher {name} left papa; stopping its processes there: {pids}"),
            _ => info!("watcher {name} is gone; stopping its processes in papa: {pids}"),
        }
    }
}

/// The ceiling of the respawn delay.
pub fn check_delay(config: &Config) -> Duration {
    Duration::try_from_secs_f64(config.circus.check_delay.max(0.0)).unwrap_or(Duration::MAX)
}

/// The pause after each start of a watcher.
pub fn warmup_delay(config: &Config) -> Duration {
    Duration::from_secs(u64::try_from(config.circus.warmup_delay).unwrap_or(0))
}

/// Whether a watcher or socket is to live in a kernel.
pub fn needs_kernel(config: &Config) -> bool {
    config.watchers.iter().any(|watcher| watcher.use_papa)
        || config.sockets.iter().any(|socket| socket.use_papa)
}

/// The kernel, when a watcher or socket wants one; started if none answers.
///
/// # Errors
/// [`BuildError`].
pub async fn kernel_for(config: &Config) -> Result<Option<KernelClient>, BuildError> {
    if !needs_kernel(config) {
        return Ok(None);
    }
    let endpoint = PapaEndpoint::parse(config.circus.papa_endpoint.as_deref())?;
    Ok(Some(reach(&endpoint).await?))
}

/// The processes of this name that the kernel hosts.
///
/// # Errors
/// [`BuildError::Kernel`].
pub async fn hosted(
    kernel: Option<&KernelClient>,
    pattern: &str,
) -> Result<Vec<ProcessRow>, BuildError> {
    match kernel {
        Some(kernel) => kernel.list_processes(pattern).await.map_err(BuildError::Kernel),
        None => Ok(Vec::new()),
    }
}

/// All our processes in the kernel, with what is known about their last writes.
async fn settled(kernel: Option<&KernelClient>) -> Result<Vec<ProcessRow>, BuildError> {
    let mut rows = hosted(kernel, "circus.*").await?;
    if let Some(kernel) = kernel {
        settlement::settle(kernel, &mut rows).await.map_err(BuildError::Kernel)?;
    }
    Ok(rows)
}

/// The directory of the configuration, where modules of hooks may be; ours, if it is in no file.
fn folder(config: Option<&Path>) -> String {
    let folder = config.and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    // One that cannot be resolved any more is of no use either.
    std::path::absolute(folder).unwrap_or_default().display().to_string()
}
