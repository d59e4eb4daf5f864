//! Starting a process of a watcher, as a child of circusd or in the kernel, and following it.
//!
//! The difference between the two ends here: the watcher's task sees one kind of process.

use super::wid::Wid;
use crate::cause::chain;
use crate::config::model::WatcherConfig;
use crate::config::{SpawnContext, SpawnPlan, SpawnPlanError, plan};
use crate::event_bus::epoch_seconds;
use crate::papa::client::{KernelClient, PapaError};
use crate::process::direct::{self, Child, Outputs};
use crate::process::end::End;
use crate::process::hosted::{self, Hosted};
use crate::process::turnstile::Turnstile;
use crate::socket::{SocketTable, Sockets};
use nix::errno::Errno;
use papa_spawn::child::{
    ChildSpec, Credentials, Input, Output, PidFd, SpawnError, resource_by_name, spawn,
};
use papa_spawn::socket::BindError;
use protocol::papa::{Argument, OutputMode, ProcessSpec};
use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The configuration cannot be turned into a command line.
    #[error("{}", chain(.0))]
    Plan(#[from] SpawnPlanError),
    /// The system refused.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The kernel refused or does not answer.
    #[error(transparent)]
    Papa(#[from] PapaError),
    /// A socket of its own.
    #[error(transparent)]
    Socket(#[from] BindError),
    /// An option has no meaning here.
    #[error("{0}")]
    Option(String),
    /// The spawn was interrupted by the end of the daemon.
    #[error("circusd is shutting down")]
    ShuttingDown,
}

impl LaunchError {
    /// The cause may pass, so it pays to wait before the next try.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Spawn(error) => is_shortage(error),
            Self::Papa(error) => error.is_transient(),
            Self::Plan(_) | Self::Socket(_) | Self::Option(_) | Self::ShuttingDown => false,
        }
    }
}

/// Starts the processes of one watcher.
pub struct Launcher {
    /// circusd's own environment.
    pub environment: Arc<Vec<(String, String)>>,
    /// The managed sockets.
    pub sockets: Sockets,
    /// The kernel, for a watcher with `use_papa`.
    pub kernel: Option<KernelClient>,
    /// Shared by all watchers.
    pub turnstile: Turnstile,
}

/// A process of a watcher.
pub enum Launched {
    /// A child of circusd.
    Direct {
        /// Its slot.
        wid: Wid,
        /// The child.
        child: Child,
        /// When it was spawned, in seconds since the epoch.
        started: f64,
    },
    /// A child of the kernel.
    Hosted {
        /// Its slot.
        wid: Wid,
        /// The process.
        process: Box<Hosted>,
    },
}

impl Launched {
    /// Its slot.
    pub fn wid(&self) -> Wid {
        match self {
            Self::Direct { wid, .. } | Self::Hosted { wid, .. } => *wid,
        }
    }

    /// Its pid.
    pub fn pid(&self) -> i32 {
        match self {
            Self::Direct { child, .. } => child.pid,
            Self::Hosted { process, .. } => process.pid,
        }
    }

    /// It has not ended, as far as is known.
    pub fn running(&self) -> bool {
        match self {
            Self::Direct { .. } => true,
            Self::Hosted { process, .. } => process.running,
        }
    }

    /// When it was spawned, in seconds since the epoch.
    pub fn started(&self) -> f64 {
        match self {
            Self::Direct { started, .. } => *started,
            Self::Hosted { process, .. } => process.started,
        }
    }

    /// For signals; none when it has ended already.
    pub fn pidfd(&self) -> Option<Arc<PidFd>> {
        match self {
            Self::Direct { child, .. } => Some(Arc::clone(&child.pidfd)),
            Self::Hosted { process, .. } => process.pidfd.clone(),
        }
    }

    /// Follows it to its end, or until a hosted one is to be left alone.
    pub fn supervise(
        self,
        outputs: Outputs,
        detach: CancellationToken,
        turnstile: Turnstile,
    ) -> impl Future<Output = End> + Send {
        match self {
            Self::Direct { child, .. } => {
                Either::Left(direct::supervise(child, outputs, turnstile))
            }
            // On its own, so that a child of ours does not take the room that this one needs.
            Self::Hosted { process, .. } => {
                Either::Right(Box::pin(hosted::supervise(*process, outputs, detach)))
            }
        }
    }
}

/// The system is short of something: processes, memory or file descriptors.
fn is_shortage(error: &SpawnError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let errno = source.and_then(io::Error::raw_os_error).map(Errno::from_raw);
    matches!(errno, Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE))
}

impl Launcher {
    /// Starts the process of a slot.
    ///
    /// # Errors
    /// [`LaunchError`] says what was wrong with the command, its settings or the system.
    pub async fn launch(
        &self,
        config: Arc<WatcherConfig>,
        wid: Wid,
    ) -> Result<Launched, LaunchError> {
        let sockets = self.sockets.now();
        let mut references = sockets.references(config.use_papa);
        let mut spawn_plan = self.plan(&config, wid, &references)?;
        // A socket with so_reuseport is a new one for each process. Ours close when it has been started.
        let own = sockets.fresh(&spawn_plan.sockets_used)?;
        if !own.is_empty() {
            for (name, socket) in &own {
                references.insert(name.clone(), socket.as_raw_fd().to_string());
            }
            spawn_plan = self.plan(&config, wid, &references)?;
        }
        for warning in &spawn_plan.warnings {
            warn!("process '{}': {warning}", config.name);
        }
        match &self.kernel {
            Some(kernel) => {
                let spec = hosted_spec(&config, wid, spawn_plan);
                let process = hosted::make(kernel, spec).await?;
                Ok(Launched::Hosted { wid, process: Box::new(process) })
            }
            None => self.launch_child(config, wid, spawn_plan, own, sockets).await,
        }
    }

    /// The sockets that a demand for this watcher comes in on: those its command names, or all.
    pub fn demand_sockets(&self, config: &WatcherConfig) -> Vec<OwnedFd> {
        let sockets = self.sockets.now();
        let references = sockets.references(config.use_papa);
        let used = self.plan(config, Wid(1), &references).map(|plan| plan.sockets_used);
        sockets.copies(&used.unwrap_or_default())
    }

    fn plan(
        &self,
        config: &WatcherConfig,
        wid: Wid,
        references: &BTreeMap<String, String>,
    ) -> Result<SpawnPlan, SpawnPlanError> {
        let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let context =
            SpawnContext { environment: &self.environment, sockets: references, cwd: &cwd };
        plan(config, wid.0, &context)
    }

    /// The fork, the exec and the look-up of users can take their time, so they run beside the loop.
    async fn launch_child(
        &self,
        config: Arc<WatcherConfig>,
        wid: Wid,
        plan: SpawnPlan,
        own: BTreeMap<String, OwnedFd>,
        sockets: Arc<SocketTable>,
    ) -> Result<Launched, LaunchError> {
        let work = self.turnstile.pass(move || {
            let mut spec = child_spec(&config, &sockets, plan)?;
            spec.keep_fds.extend(own.values().map(AsRawFd::as_raw_fd));
            Ok::<_, LaunchError>(spawn(&spec)?)
        });
        let child = work.await.map_err(|_| LaunchError::ShuttingDown)??;
        Ok(Launched::Direct { wid, child: Child::new(child), started: epoch_seconds() })
    }
}

fn hosted_spec(config: &WatcherConfig, wid: Wid, plan: SpawnPlan) -> ProcessSpec {
    let mut rlimits = Vec::new();
    for (name, limit) in &plan.rlimits {
        rlimits.push((name.clone(), limit.and_then(|value| u64::try_from(value).ok())));
    }
    let output = |closed| if closed { OutputMode::Null } else { OutputMode::Pipe };
    ProcessSpec {
        name: hosted::process_name(&config.name, wid),
        argv: plan.argv.into_iter().map(Argument::from).collect(),
        env: pairs(plan.env),
        working_dir: Some(plan.working_dir.into_os_string().into_encoded_bytes()),
        uid: plan.uid,
        gid: plan.gid,
        rlimits,
        stdout: output(config.close_child_stdout),
        stderr: output(config.close_child_stderr),
        ..ProcessSpec::default()
    }
}

fn pairs(env: Vec<(String, String)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    env.into_iter().map(|(key, value)| (key.into_bytes(), value.into_bytes())).collect()
}

fn child_spec(
    config: &WatcherConfig,
    sockets: &SocketTable,
    plan: SpawnPlan,
) -> Result<ChildSpec, LaunchError> {
    let mut rlimits = Vec::new();
    for (name, limit) in &plan.rlimits {
        let resource = resource_by_name(name)
            .ok_or_else(|| LaunchError::Option(format!("rlimit_{name} is not a resource limit")))?;
        rlimits.push((resource, limit.and_then(|value| u64::try_from(value).ok())));
    }
    let stdin = match &config.stdin_socket {
        Some(name) => Input::Fd(sockets.fd(name).ok_or_else(|| {
            LaunchError::Option(format!("stdin_socket = {name}: there is no such socket"))
        })?),
        None if config.close_child_stdin => Input::Null,
        None => Input::Inherit,
    };
    let output = |closed, stream: bool| match (closed, stream) {
        (true, _) => Output::Null,
        (false, true) => Output::Pipe,
        (false, false) => Output::Inherit,
    };
    let keep_fds = if config.use_sockets {
        sockets.fds()
    } else {
        plan.sockets_used.iter().filter_map(|name| sockets.fd(name)).collect()
    };
    Ok(ChildSpec {
        argv: plan.argv.into_iter().map(String::into_bytes).collect(),
        env: pairs(plan.env),
        working_dir: Some(plan.working_dir),
        credentials: Credentials::resolve(plan.uid.as_deref(), plan.gid.as_deref())?,
        rlimits,
        umask: None,
        stdin,
        stdout: output(config.close_child_stdout, !config.stdout_stream.is_empty()),
        stderr: output(config.close_child_stderr, !config.stderr_stream.is_empty()),
        keep_fds,
        die_with_parent: false,
    })
}
