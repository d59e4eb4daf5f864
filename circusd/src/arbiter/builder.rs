//! Making one watcher from its configuration.

use crate::config::model::WatcherConfig;
use crate::event_bus::EventBus;
use crate::hook::runner::{HookRunner, Surroundings};
use crate::papa::client::KernelClient;
use crate::papa::journal::Journal;
use crate::process::direct::Outputs;
use crate::process::hosted::Hosted;
use crate::process::turnstile::Turnstile;
use crate::socket::Sockets;
use crate::stream::sink::{self, StreamError};
use crate::stream::writer::Writer;
use crate::watcher::handle::WatcherHandle;
use crate::watcher::intent::{Note, Origin, Runs};
use crate::watcher::keeping::Keeping;
use crate::watcher::launch::{Launched, Launcher};
use crate::watcher::task::{self, Parts};
use crate::watcher::wid::Wid;
use indexmap::IndexMap;
use protocol::papa::ProcessRow;
use std::collections::BTreeSet;
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
    /// What outlives circusd.
    pub journal: Journal,
    /// Our endpoint, which tells our notes in the kernel from those of others.
    pub owner: Arc<str>,
    /// How many start at a time.
    pub turnstile: Turnstile,
}

/// How a watcher begins.
pub struct Beginning {
    /// Where it comes from.
    pub origin: Origin,
    /// What the file says, or what `add` begins with.
    pub file: WatcherConfig,
    /// It is to run.
    pub runs: Runs,
    /// Processes that the kernel hosts from before.
    pub rows: Vec<(Wid, ProcessRow)>,
    /// Slots whose process was started with other settings.
    pub stale: BTreeSet<Wid>,
}

impl Beginning {
    /// A watcher as the file has it, with nothing from before.
    pub fn from_file(config: &WatcherConfig) -> Self {
        Self {
            origin: Origin::File,
            file: config.clone(),
            runs: config.autostart.into(),
            rows: Vec::new(),
            stale: BTreeSet::new(),
        }
    }
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
    /// How a watcher begins that is added while circusd runs.
    pub fn added(&self, config: &WatcherConfig) -> Beginning {
        let key = config.name.to_lowercase();
        let note = self.journal.note_of(&key).and_then(|note| Note::decode(&note).ok());
        // The file may have a section of its name, which was removed before.
        let section = note.and_then(|note| match note.origin {
            Origin::Removed { section, .. } | Origin::Added(section) => section,
            Origin::File => None,
        });
        Beginning {
            origin: Origin::Added(section),
            file: WatcherConfig::new(config.name.clone(), ""),
            runs: Runs::No,
            rows: Vec::new(),
            stale: BTreeSet::new(),
        }
    }

    /// The same for a watcher that is not to be remembered.
    pub fn without_notes(&self) -> Self {
        Self { journal: Journal::default(), ..self.clone() }
    }

    /// Makes a watcher that is stopped, but for the processes it takes over.
    ///
    /// # Errors
    /// [`WatcherError`].
    pub fn build(
        &self,
        config: WatcherConfig,
        beginning: Beginning,
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
            let hosted = |(wid, row)| Launched::Hosted {
                wid,
                process: Box::new(Hosted::from_row(kernel, row)),
            };
            beginning.rows.into_iter().map(hosted).collect()
        });
        let launcher = Launcher {
            environment: Arc::clone(&self.environment),
            sockets: self.sockets.clone(),
            kernel,
            turnstile: self.turnstile.clone(),
        };
        Ok(task::start(Parts {
            config: Arc::new(config),
            check_delay: self.check_delay,
            launcher,
            outputs,
            bus: self.bus.clone(),
            hooks,
            adopted,
            keeping: Keeping {
                journal: self.journal.clone(),
                owner: Arc::clone(&self.owner),
                origin: beginning.origin,
                file: Arc::new(beginning.file),
                runs: beginning.runs,
                stale: beginning.stale,
            },
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
