//! From the configuration to sockets and watchers, before anything is started.
//!
//! A watcher that cannot be built is left out with a warning, so that one bad log directory does not keep
//! the rest of a stack down.

use super::builder::WatcherBuilder;
use super::handle::Roster;
use super::order;
use super::recovery::{self, Plan};
use crate::config::model::Config;
use crate::event_bus::EventBus;
use crate::papa::client::{KernelClient, PapaError};
use crate::socket::{SocketError, SocketTable};
use crate::watcher::handle::WatcherHandle;
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
) -> Result<(Roster, WatcherBuilder), BuildError> {
    let sockets = Arc::new(SocketTable::open(&config.sockets, kernel.as_ref()).await?);
    let mut adopted = adoption(&config, kernel.as_ref()).await.inspect_err(|_| sockets.unlink())?;
    for row in &adopted.strangers {
        warn!(
            "process `{}` (pid {}) in papa belongs to no watcher and is left alone",
            row.name, row.pid
        );
    }
    let check_delay =
        Duration::try_from_secs_f64(config.circus.check_delay.max(0.0)).unwrap_or(Duration::MAX);
    let builder = WatcherBuilder { environment, sockets, kernel, bus, check_delay };
    let mut watchers: Vec<WatcherHandle> = Vec::new();
    for (index, watcher) in config.watchers.iter().enumerate() {
        let rows = adopted.adopted.remove(&index).unwrap_or_default();
        match builder.build(watcher.clone(), rows) {
            Ok(watcher) => watchers.push(watcher),
            Err(error) => warn!("Failed to create watcher {}: {error}", watcher.name),
        }
    }
    order::by_priority(&mut watchers, |watcher| watcher.identity().priority);
    let sockets = Arc::clone(&builder.sockets);
    Ok((Roster { watchers, sockets, config }, builder))
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
