//! Making one watcher from its configuration.

use crate::config::model::WatcherConfig;
use crate::event_bus::EventBus;
use crate::hook::runner::{HookRunner, Surroundings};
use crate::papa::client::KernelClient;
use crate::process::direct::Outputs;
use crate::process::hosted::Hosted;
use crate::socket::Sockets;
use crate::stream::sink::{self, StreamError};
use crate::stream::writer::Writer;
use crate::watcher::handle::WatcherHandle;
use crate::watcher::launch::{Launched, Launcher};
use crate::watcher::task::{self, Parts};
use crate::watcher::wid::Wid;
use indexmap::IndexMap;
use protocol::papa::ProcessRow;
use std::sync::Arc;
use std::time::Duration;

/// What all watchers share.
#[derive(Clone)]
pub struct WatcherBuilder {
    /// circusd's own environment.
    pub environment: Arc<Vec<(String, String)>>,
    /// The managed sockets.
    pub sockets: Sockets,
    /// The kernel, if anything uses one.
    pub kernel: Option<KernelClient>,
    /// Where events go.
    pub bus: EventBus,
    /// Ceiling of the respawn delay.
    pub check_delay: Duration,
    /// What hooks are told of the daemon.
    pub surroundings: Arc<Surroundings>,
}

/// A watcher cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum WatcherError {
    /// One of its streams.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// There is no kernel.
    #[error(
        "use_papa needs a watcher or socket with use_papa in the ini file, so that a kernel is there"
    )]
    NoKernel,
}

impl WatcherBuilder {
    /// Makes a watcher that is stopped, but for the processes it adopts.
    ///
    /// # Errors
    /// [`WatcherError`].
    pub fn build(
        &self,
        config: WatcherConfig,
        adopted: Vec<(Wid, ProcessRow)>,
    ) -> Result<WatcherHandle, WatcherError> {
        let hooks = HookRunner::new(Arc::clone(&self.surroundings), &config);
        let outputs = Outputs {
            stdout: writer(&config, &hooks, "stdout", &config.stdout_stream)?,
            stderr: writer(&config, &hooks, "stderr", &config.stderr_stream)?,
            recorder: None,
        };
        let kernel = match (&self.kernel, config.use_papa) {
            (Some(kernel), true) => Some(kernel.clone()),
            (None, true) => return Err(WatcherError::NoKernel),
            (_, false) => None,
        };
        let adopted = kernel.as_ref().map_or_else(Vec::new, |kernel| {
            let hosted =
                |(wid, row)| Launched::Hosted { wid, process: Hosted::from_row(kernel, row) };
            adopted.into_iter().map(hosted).collect()
        });
        let launcher = Launcher {
            environment: Arc::clone(&self.environment),
            sockets: self.sockets.clone(),
            kernel,
        };
        Ok(task::start(Parts {
            config: Arc::new(config),
            check_delay: self.check_delay,
            launcher,
            outputs,
            bus: self.bus.clone(),
            hooks,
            adopted,
        }))
    }
}

fn writer(
    watcher: &WatcherConfig,
    hooks: &HookRunner,
    name: &str,
    options: &IndexMap<String, String>,
) -> Result<Option<Writer>, StreamError> {
    if options.is_empty() {
        return Ok(None);
    }
    let label = format!("{} ({name})", watcher.name);
    if let Some(sink) = hooks.stream(watcher, name) {
        return Ok(Some(Writer::start(label, sink)));
    }
    let mut sink = sink::from_options(options)?;
    // What is wrong with it is said now. It opens again with the first output, so that a watcher that is made
    // while its predecessor still writes finds the file as that one has left it.
    sink.open()?;
    sink.close();
    Ok(Some(Writer::start(label, sink)))
}
