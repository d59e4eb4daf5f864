//! From the configuration to sockets and watchers, before anything is started.
//!
//! A watcher that cannot be built is left out with a warning, so that one bad log directory does not keep
//! the rest of a stack down.

use super::handle::Roster;
use super::order;
use super::recovery::{self, Plan};
use crate::config::model::{Config, WatcherConfig};
use crate::event_bus::EventBus;
use crate::papa::client::{KernelClient, PapaError};
use crate::process::direct::Outputs;
use crate::process::hosted::Hosted;
use crate::socket::{SocketError, SocketTable};
use crate::stream::sink::{self, StreamError};
use crate::stream::writer::Writer;
use crate::watcher::handle::WatcherHandle;
use crate::watcher::launch::{Launched, Launcher};
use crate::watcher::task::{self, Parts};
use indexmap::IndexMap;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// The stack cannot be built at all.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The kernel does not tell what it hosts.
    #[error("cannot ask the papa kernel what it hosts: {0}")]
    Kernel(#[source] PapaError),
}

/// Opens the sockets and makes the watchers, adopting what the kernel hosts.
///
/// # Errors
/// [`BuildError`].
pub async fn build(
    config: Arc<Config>,
    environment: Arc<Vec<(String, String)>>,
    kernel: Option<KernelClient>,
    bus: EventBus,
) -> Result<Roster, BuildError> {
    let sockets = Arc::new(SocketTable::open(&config.sockets, kernel.as_ref()).await?);
    let mut adopted = adoption(&config, kernel.as_ref()).await?;
    for row in &adopted.strangers {
        warn!(
            "process `{}` (pid {}) in papa belongs to no watcher and is left alone",
            row.name, row.pid
        );
    }
    let check_delay =
        Duration::try_from_secs_f64(config.circus.check_delay.max(0.0)).unwrap_or(Duration::MAX);
    let mut watchers: Vec<WatcherHandle> = Vec::new();
    for (index, watcher) in config.watchers.iter().enumerate() {
        let outputs = match outputs(watcher) {
            Ok(outputs) => outputs,
            Err(error) => {
                warn!("Failed to create watcher {}: {error}", watcher.name);
                continue;
            }
        };
        let kernel = kernel.clone().filter(|_| watcher.use_papa);
        let rows = adopted.adopted.remove(&index).unwrap_or_default();
        let adopted = kernel.as_ref().map_or_else(Vec::new, |kernel| {
            let hosted =
                |(wid, row)| Launched::Hosted { wid, process: Hosted::from_row(kernel, row) };
            rows.into_iter().map(hosted).collect()
        });
        let section = Arc::new(watcher.clone());
        let launcher = Launcher {
            config: Arc::clone(&section),
            environment: Arc::clone(&environment),
            sockets: Arc::clone(&sockets),
            kernel,
        };
        watchers.push(task::start(Parts {
            config: section,
            check_delay,
            launcher,
            outputs,
            bus: bus.clone(),
            adopted,
        }));
    }
    order::by_priority(&mut watchers, |watcher| watcher.identity().priority);
    Ok(Roster { watchers, sockets, config })
}

async fn adoption(config: &Config, kernel: Option<&KernelClient>) -> Result<Plan, BuildError> {
    let hosted = match kernel {
        Some(kernel) => kernel.list_processes("circus.*").await.map_err(BuildError::Kernel)?,
        None => Vec::new(),
    };
    let watchers: Vec<(usize, &str)> = config
        .watchers
        .iter()
        .enumerate()
        .filter(|(_, watcher)| watcher.use_papa)
        .map(|(index, watcher)| (index, watcher.name.as_str()))
        .collect();
    Ok(recovery::plan(&watchers, hosted))
}

fn outputs(watcher: &WatcherConfig) -> Result<Outputs, StreamError> {
    Ok(Outputs {
        stdout: writer(watcher, "stdout", &watcher.stdout_stream)?,
        stderr: writer(watcher, "stderr", &watcher.stderr_stream)?,
    })
}

fn writer(
    watcher: &WatcherConfig,
    name: &str,
    options: &IndexMap<String, String>,
) -> Result<Option<Writer>, StreamError> {
    if options.is_empty() {
        return Ok(None);
    }
    let sink = sink::from_options(options)?;
    Ok(Some(Writer::start(format!("{} ({name})", watcher.name), sink)))
}
