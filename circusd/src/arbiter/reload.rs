//! `reloadconfig`: reads the file again and carries the plan of `config::diff` out.
//!
//! Everything is checked and built before anything is stopped, so a file that cannot be used changes
//! nothing. What does not differ is not touched: neither its processes nor its sockets. Runs beside the
//! arbiter, with the permit for all watchers, and hands over what is in force when it is complete.

use super::build::{self, BuildError};
use super::builder::{Beginning, WatcherBuilder, WatcherError};
use super::gate::{Busy, OperationName, Permit};
use super::handle::{GroupOperation, Message, Roster};
use super::plugins::Place;
use super::{builtin, group, order, plugins, recovery};
use crate::cause::chain;
use crate::config::diff::{self, Effect, ReloadPlan, WatcherChange, WatcherStep};
use crate::config::model::{Config, WatcherConfig};
use crate::config::{self, ConfigErrors, Problem};
use crate::logging::{DaemonLog, LogError};
use crate::socket::replacement::{self, NotOpened, Replacement};
use crate::socket::{SocketError, SocketTable};
use crate::watcher::handle::{Operation, Retirement, WatcherGone, WatcherHandle};
use crate::watcher::wid::Wid;
use circusctl::logging::Ready;
use nix::sys::stat::{Mode, umask};
use protocol::papa::ProcessRow;
use std::collections::BTreeSet;
use std::slice;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// The name of the operation in the words of the original's lock.
pub const NAME: OperationName = "arbiter_reload_config";

/// Why the file was not reloaded, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// Another operation is in the way.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The daemon is ending.
    #[error(transparent)]
    Gone(#[from] WatcherGone),
    /// A program has built the configuration.
    #[error("there is no configuration file to reload: a program has set this arbiter up")]
    NoFile,
    /// The file.
    #[error("nothing was changed")]
    Config(#[from] ConfigErrors),
    /// A socket cannot be opened.
    #[error("nothing was changed")]
    Socket(#[from] SocketError),
    /// The kernel.
    #[error("nothing was changed")]
    Kernel(#[from] BuildError),
    /// The log.
    #[error("nothing was changed: {0}")]
    Log(#[from] LogError),
    /// A watcher cannot be made.
    #[error("nothing was changed: failed to create watcher {name}")]
    Watcher {
        /// The watcher.
        name: String,
        /// Why.
        source: WatcherError,
    },
    /// Sockets that should have taken the place of others.
    #[error("the file was reloaded, but {}", .0.iter().map(ToString::to_string)
        .collect::<Vec<_>>().join("; "))]
    Late(Vec<NotOpened>),
}

/// A reload that has begun: everything was checked.
pub struct Begun {
    /// What is done.
    pub plan: ReloadPlan,
    /// Told when it is done.
    pub ended: oneshot::Receiver<Result<(), ReloadError>>,
}

/// What a reload starts from.
pub(super) struct Reload {
    /// What is in force.
    pub(super) roster: Arc<Roster>,
    /// What makes watchers.
    pub(super) builder: WatcherBuilder,
    /// Puts other sockets in the place of those there are.
    pub(super) sockets: Arc<watch::Sender<Arc<SocketTable>>>,
    /// The daemon's log, if it is circusd's.
    pub(super) log: Option<DaemonLog>,
    /// The arbiter's.
    pub(super) messages: mpsc::WeakSender<Message>,
    /// The daemon shuts down.
    pub(super) cancelled: CancellationToken,
    /// Everything starts anew, not just what has changed.
    pub(super) restart: bool,
}

/// A reload that can be carried out.
struct Prepared {
    plan: ReloadPlan,
    config: Config,
    sockets: Replacement,
    /// The log, if it changes.
    log: Option<Ready>,
    /// Watchers that are new or wait for the place of their predecessor.
    built: Vec<WatcherHandle>,
}

impl Reload {
    /// Reads the file and says what it changes.
    pub(super) async fn plan(&self) -> Result<(ReloadPlan, Config), ReloadError> {
        let path = self.roster.config.path.clone().ok_or(ReloadError::NoFile)?;
        let environment = Arc::clone(&self.builder.environment);
        let loaded = task::spawn_blocking(move || config::load(&path, &environment)).await;
        let loaded = loaded.map_err(|_| WatcherGone)??;
        let refused: Vec<Problem> = loaded.refused;
        if !refused.is_empty() {
            // At the start the others would run; here they go on running as they are.
            return Err(ConfigErrors { problems: refused }.into());
        }
        for warning in &loaded.warnings {
            warn!("{warning}");
        }
        let mut config = loaded.config;
        // They run with what is in force, which is not all that the file says.
        let circus = diff::in_force(&self.roster.config.circus, &config.circus);
        let folder = &self.builder.surroundings.folder;
        let place = Place { circus: &circus, environment: &self.builder.environment, folder };
        plugins::add_watchers(&mut config, &place).await;
        // Our own watchers are in no file, and stay as they are.
        let of_the_file = |name: &&str| !builtin::is_own(name, &self.roster.config);
        let running = self.roster.watchers.iter().map(|watcher| watcher.identity().name.as_str());
        let running: Vec<&str> = running.filter(of_the_file).collect();
        Ok((diff::diff(&self.roster.config, &running, &config), config))
    }

    /// Reloads; the reply goes out when everything was checked.
    pub(super) async fn run(
        mut self,
        permit: Permit,
        reply: oneshot::Sender<Result<Begun, ReloadError>>,
    ) {
        let prepared = match self.prepare().await {
            Ok(prepared) => prepared,
            Err(problem) => {
                error!("the configuration was not reloaded: {}", chain(&problem));
                let _ = reply.send(Err(problem));
                return;
            }
        };
        tell(&prepared.plan);
        let (done, ended) = oneshot::channel();
        // The asker may have gone.
        let _ = reply.send(Ok(Begun { plan: prepared.plan.clone(), ended }));
        let result = self.carry_out(prepared, permit).await;
        if let Err(problem) = &result {
            error!("{}", chain(problem));
        }
        let _ = done.send(result);
    }

    async fn prepare(&mut self) -> Result<Prepared, ReloadError> {
        let (plan, config) = self.plan().await?;
        if self.builder.kernel.is_none() {
            self.builder.kernel = build::kernel_for(&config).await?;
            if let Some(kernel) = &self.builder.kernel {
                let attached = self.builder.journal.attach(kernel.clone()).await;
                attached.map_err(BuildError::Kernel)?;
            }
        }
        self.builder.check_delay = build::check_delay(&config);
        let log = self.prepare_log(&plan, &config).await?;
        let before = &self.roster.config.sockets;
        let kernel = self.builder.kernel.clone();
        let sockets = replacement::prepare(&plan.sockets, before, &config.sockets, kernel).await?;
        match self.build(&plan, &config).await {
            Ok(built) => Ok(Prepared { plan, config, sockets, log, built }),
            Err(error) => {
                sockets.abandon().await;
                Err(error)
            }
        }
    }

    /// Opens the log that a changed file asks for.
    async fn prepare_log(
        &self,
        plan: &ReloadPlan,
        config: &Config,
    ) -> Result<Option<Ready>, ReloadError> {
        let Some(log) = self.log.clone() else { return Ok(None) };
        let keys = ["loglevel", "logoutput", "loggerconfig"];
        let changed = plan.circus.iter().any(|step| keys.contains(&step.key.as_str()));
        if !changed && !log.has_own_file(&config.circus) {
            return Ok(None);
        }
        let circus = config.circus.clone();
        let ready = task::spawn_blocking(move || log.prepare(&circus)).await;
        Ok(Some(ready.map_err(|_| WatcherGone)??))
    }

    /// Makes the watchers that are new or take the place of another.
    async fn build(
        &self,
        plan: &ReloadPlan,
        config: &Config,
    ) -> Result<Vec<WatcherHandle>, ReloadError> {
        let mut built = Vec::new();
        for step in &plan.watchers {
            let adopts = match step.change {
                WatcherChange::Add => true,
                WatcherChange::Replace { .. } => false,
                _ => continue,
            };
            let Some(watcher) = config.watchers.iter().find(|other| other.name == step.name) else {
                continue;
            };
            // The processes of a predecessor end with it.
            let rows = if adopts { self.left_by_another(watcher).await? } else { Vec::new() };
            let beginning = Beginning { rows, ..Beginning::from_file(watcher) };
            let made = self.builder.build(watcher.clone(), beginning);
            let name = || watcher.name.clone();
            built.push(made.map_err(|source| ReloadError::Watcher { name: name(), source })?);
        }
        Ok(built)
    }

    /// What the kernel hosts under the name of a new watcher.
    async fn left_by_another(
        &self,
        watcher: &WatcherConfig,
    ) -> Result<Vec<(Wid, ProcessRow)>, ReloadError> {
        if !watcher.use_papa {
            return Ok(Vec::new());
        }
        let pattern = format!("circus.{}.*", watcher.name.to_lowercase());
        let rows = build::hosted(self.builder.kernel.as_ref(), &pattern).await?;
        let plan = recovery::plan(slice::from_ref(watcher), rows, &[], &self.builder.owner);
        Ok(plan.watchers.into_iter().flat_map(|planned| planned.rows).collect())
    }

    async fn carry_out(&self, prepared: Prepared, permit: Permit) -> Result<(), ReloadError> {
        let Prepared { plan, config, sockets, log, built } = prepared;
        let going = self.watchers_of(&plan, |change| {
            matches!(change, WatcherChange::Remove { .. } | WatcherChange::Replace { .. })
        });
        let (pausing, mut to_start) = if self.restart {
            self.everything_but(&going)
        } else {
            let pausing = self.watchers_of(&plan, |change| change == WatcherChange::Restart);
            let to_start = group::which_run(&pausing).await?;
            (pausing, to_start)
        };
        if self.restart {
            group::intend(&pausing, GroupOperation::Restart).await;
        }
        let stopping = group::stop(going.iter().chain(&pausing).cloned().collect(), None);
        tokio::join!(stopping, self.resize(&plan, &config));
        if self.cancelled.is_cancelled() {
            sockets.abandon().await;
            return Err(WatcherGone.into());
        }
        let table = Arc::clone(&self.sockets.borrow());
        let (table, failed) = sockets.carry_out(&table).await;
        self.sockets.send_replace(Arc::new(table));

        let successors: BTreeSet<String> =
            built.iter().map(|watcher| watcher.identity().key.clone()).collect();
        let autostarted = built.iter().filter(|watcher| watcher.identity().autostart);
        to_start.extend(autostarted.cloned());
        order::by_priority(&mut to_start, |watcher| watcher.identity().priority);
        let config = self.in_force(config, &failed);
        let pause = build::warmup_delay(&config);
        self.apply(&plan, &config, log);
        self.hand_over(&going, built, config).await?;
        for watcher in &going {
            // It is stopped, so this does not take long.
            let _ = watcher.retire(Retirement::Replaced, None).await?.await;
            let key = &watcher.identity().key;
            if !successors.contains(key) {
                drop(self.builder.journal.note(key, None));
            }
        }
        group::start(to_start, pause, self.cancelled.clone(), permit).await;
        if failed.is_empty() { Ok(()) } else { Err(ReloadError::Late(failed)) }
    }

    fn watchers_of(
        &self,
        plan: &ReloadPlan,
        wanted: impl Fn(WatcherChange) -> bool,
    ) -> Vec<WatcherHandle> {
        let steps = plan.watchers.iter().filter(|step| wanted(step.change));
        steps.filter_map(|step| self.roster.find(&step.name)).cloned().collect()
    }

    /// The watchers that stay, and those of them that a start of the daemon starts.
    fn everything_but(&self, going: &[WatcherHandle]) -> (Vec<WatcherHandle>, Vec<WatcherHandle>) {
        let is_going = |key: &str| going.iter().any(|other| other.identity().key == key);
        let staying = self.roster.watchers.iter().filter(|other| !is_going(&other.identity().key));
        let staying: Vec<WatcherHandle> = staying.cloned().collect();
        let to_start = staying.iter().filter(|other| other.identity().autostart).cloned().collect();
        (staying, to_start)
    }

    async fn resize(&self, plan: &ReloadPlan, config: &Config) {
        let mut resizing = JoinSet::new();
        for step in &plan.watchers {
            let WatcherChange::Resize { to, .. } = step.change else { continue };
            let Some(watcher) = self.roster.find(&step.name).cloned() else { continue };
            let Some(file) = config.watchers.iter().find(|file| file.name == step.name).cloned()
            else {
                continue;
            };
            resizing.spawn(async move {
                // A watcher that is gone needs no other size.
                let _ = resize(&watcher, file, to).await;
            });
        }
        while resizing.join_next().await.is_some() {}
    }

    /// The new configuration, but for sockets that could not take the place of others: they are tried again
    /// by the next reload.
    fn in_force(&self, mut config: Config, failed: &[NotOpened]) -> Config {
        for NotOpened { name, .. } in failed {
            let before = self.roster.config.sockets.iter().find(|socket| socket.name == *name);
            config.sockets.retain(|socket| socket.name != *name);
            config.sockets.extend(before.cloned());
        }
        config.sockets.sort_by(|a, b| a.name.cmp(&b.name));
        self.sockets.borrow().mark_outdated(&mut config.sockets);
        config.circus = diff::in_force(&self.roster.config.circus, &config.circus);
        config
    }

    /// What of `[circus]` holds at once.
    fn apply(&self, plan: &ReloadPlan, config: &Config, log: Option<Ready>) {
        if let (Some(own), Some(ready)) = (&self.log, log) {
            own.control.switch_to(ready);
        }
        let changed = |key: &str| plan.circus.iter().any(|step| step.key == key);
        if changed("umask")
            && let Some(mask) = config.circus.umask
        {
            umask(Mode::from_bits_truncate(mask));
        }
        if changed("check_delay") {
            let delay = build::check_delay(config);
            for watcher in self.roster.watchers.clone() {
                task::spawn(async move { watcher.set_check_delay(delay).await });
            }
        }
    }

    /// Tells the arbiter what is in force from now on.
    async fn hand_over(
        &self,
        going: &[WatcherHandle],
        built: Vec<WatcherHandle>,
        config: Config,
    ) -> Result<(), ReloadError> {
        let gone = |watcher: &&WatcherHandle| {
            going.iter().any(|other| other.identity().key == watcher.identity().key)
        };
        let mut watchers: Vec<WatcherHandle> =
            self.roster.watchers.iter().filter(|watcher| !gone(watcher)).cloned().collect();
        watchers.extend(built);
        watchers.sort_by(|a, b| a.identity().name.cmp(&b.identity().name));
        order::by_priority(&mut watchers, |watcher| watcher.identity().priority);
        let sockets = self.roster.sockets.clone();
        let kernel = self.builder.kernel.clone();
        let roster = Roster { watchers, sockets, kernel, config: Arc::new(config) };
        let (roster, builder) = (Box::new(roster), Box::new(self.builder.clone()));
        let messages = self.messages.upgrade().ok_or(WatcherGone)?;
        let (reply, taken) = oneshot::channel();
        let message = Message::Replace { roster, builder, reply };
        messages.send(message).await.map_err(|_| WatcherGone)?;
        Ok(taken.await.map_err(|_| WatcherGone)?)
    }
}

/// Gives a watcher the number that the file has now. Nobody else changes it meanwhile: the permit is ours.
async fn resize(watcher: &WatcherHandle, file: WatcherConfig, to: i64) -> Result<(), WatcherGone> {
    watcher.use_file(file).await?;
    let change = to.max(0) - i64::from(watcher.inspect().await?.desired);
    watcher.operate(Operation::Resize(change), None).await.map(drop)
}

/// What is done, for the log.
fn tell(plan: &ReloadPlan) {
    if plan.is_empty() {
        info!("the configuration has not changed");
    }
    for step in &plan.watchers {
        info!("{}: {} ({})", step.name, step.action(), WatcherStep::reason(step));
    }
    for step in &plan.circus {
        match step.effect {
            Effect::NeedsRestart => {
                warn!("[circus] {} has changed; it holds when circusd is started again", step.key);
            }
            Effect::Live | Effect::None => info!("[circus] {} has changed", step.key),
        }
    }
}
