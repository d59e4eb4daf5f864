//! When the kernel is gone, killed or crashed: what it hosted is stopped and brought back in a new one.
//!
//! The processes of a dead kernel go on, but nobody reads their output or could tell their exit status, and
//! their listening sockets keep the ports busy. So all of them are stopped, through pidfds that were opened
//! while the kernel lived and can name no other process; then a kernel is started, the sockets are made
//! again and the watchers that ran are started. What operators changed is noted anew.

use super::build::warmup_delay;
use super::builder::WatcherBuilder;
use super::gate::{Gate, OperationName};
use super::group;
use super::handle::{Message, Roster};
use crate::papa::client::{KernelClient, PapaError};
use crate::papa::start;
use crate::socket::SocketTable;
use crate::watcher::failing::Failing;
use crate::watcher::handle::WatcherHandle;
use protocol::circus::event::EventKind;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::{task, time};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

/// The name of the operation in the words of the original's lock.
const NAME: OperationName = "arbiter_restart_papa";

/// Pause before something is tried again that may pass: a port that is still taken, a kernel that does not
/// start.
const RETRY: Duration = Duration::from_secs(1);

/// Watches over one kernel.
pub(super) struct Guard {
    pub(super) kernel: KernelClient,
    pub(super) builder: WatcherBuilder,
    pub(super) sockets: Arc<watch::Sender<Arc<SocketTable>>>,
    pub(super) messages: mpsc::WeakSender<Message>,
    pub(super) gate: Gate,
    pub(super) cancelled: CancellationToken,
}

impl Guard {
    /// Begins to watch, for as long as the daemon runs.
    pub(super) fn start(self) {
        task::spawn(async move {
            let mut losses = self.kernel.losses();
            let cancelled = self.cancelled.clone();
            while losses.changed().await.is_ok() {
                tokio::select! {
                    () = cancelled.cancelled() => return,
                    () = self.look() => {}
                }
            }
        });
    }

    /// The connection has broken: finds out what that means.
    async fn look(&self) {
        let Some(roster) = self.roster().await else { return };
        let mut failing = Failing::default();
        loop {
            match self.missing(&roster).await {
                Ok(missing) if missing.is_empty() => {
                    info!("the connection to papa broke and is back");
                    return;
                }
                Ok(missing) => {
                    let what: Vec<&str> = missing.iter().map(String::as_str).collect();
                    error!("papa was replaced by one that does not have {}", what.join(", "));
                }
                Err(PapaError::NobodyListens(endpoint)) => {
                    error!(
                        "papa at {endpoint} is gone; a new one is started when what it hosted is stopped"
                    );
                }
                Err(problem) => {
                    let reason = problem.to_string();
                    match failing.again(&reason) {
                        true => warn!("the connection to papa broke, trying again: {reason}"),
                        false => debug!("still: {reason}"),
                    }
                    time::sleep(RETRY).await;
                    continue;
                }
            }
            return self.bring_back().await;
        }
    }

    /// What the kernel should have and does not.
    async fn missing(&self, roster: &Roster) -> Result<BTreeSet<String>, PapaError> {
        let rows = self.kernel.list_processes("circus.*").await?;
        let held = self.kernel.list_sockets("circus.*").await?;
        let mut missing = self.sockets.borrow().hosted_names();
        for socket in held {
            missing.remove(&socket.name);
        }
        for watcher in hosted(roster) {
            // A watcher that is gone hosts nothing.
            let Ok(now) = watcher.inspect().await else { continue };
            for process in now.processes {
                if !rows.iter().any(|row| row.pid == process.pid) {
                    missing.insert(format!("circus.{}.{}", watcher.identity().key, process.wid));
                }
            }
        }
        Ok(missing)
    }

    /// Stops what is left of the old kernel and starts it again in a new one.
    async fn bring_back(&self) {
        let Some(permit) = self.gate.wait_for_all(NAME).await else { return };
        let Some(roster) = self.roster().await else { return };
        let watchers: Vec<WatcherHandle> = hosted(&roster).cloned().collect();
        for watcher in &watchers {
            self.builder.bus.publish(&watcher.identity().name, EventKind::Lost);
        }
        let to_start = self.to_start(&watchers).await;
        group::stop(watchers, None).await;
        self.reach().await;
        self.open_sockets(&roster).await;
        self.builder.journal.repeat();
        info!("papa is back; starting {} watchers in it", to_start.len());
        let pause = warmup_delay(&roster.config);
        group::start(to_start, pause, self.cancelled.clone(), permit).await;
    }

    /// Those that run and may be started a second time.
    async fn to_start(&self, watchers: &[WatcherHandle]) -> Vec<WatcherHandle> {
        // Watchers are gone only when the daemon ends.
        let running = group::which_run(watchers).await.unwrap_or_default();
        let mut to_start = Vec::new();
        for watcher in running {
            match watcher.inspect().await {
                Ok(now) if now.respawn => to_start.push(watcher),
                Ok(_) => warn!(
                    "{} was interrupted and has respawn = False; it is not started again by itself",
                    watcher.identity().name
                ),
                Err(_) => {}
            }
        }
        to_start
    }

    /// Starts a kernel, unless somebody else has.
    async fn reach(&self) {
        let mut failing = Failing::default();
        while let Err(problem) = start::reach(self.kernel.endpoint()).await {
            tell_once(&mut failing, &problem);
            time::sleep(RETRY).await;
        }
    }

    async fn open_sockets(&self, roster: &Roster) {
        let before = Arc::clone(&self.sockets.borrow());
        let mut failing = Failing::default();
        loop {
            match before.in_new_kernel(&roster.config.sockets, &self.kernel).await {
                Ok(table) => {
                    self.sockets.send_replace(Arc::new(table));
                    return;
                }
                Err(problem) => tell_once(&mut failing, &problem),
            }
            time::sleep(RETRY).await;
        }
    }

    async fn roster(&self) -> Option<Arc<Roster>> {
        let (reply, roster) = oneshot::channel();
        self.messages.upgrade()?.send(Message::Roster(reply)).await.ok()?;
        roster.await.ok()
    }
}

/// Something that is tried every second, for as long as it takes.
fn tell_once(failing: &mut Failing, problem: &dyn std::error::Error) {
    let reason = problem.to_string();
    match failing.again(&reason) {
        true => error!("{reason}; trying again until it can be had"),
        false => debug!("still: {reason}"),
    }
}

fn hosted(roster: &Roster) -> impl Iterator<Item = &WatcherHandle> {
    roster.watchers.iter().filter(|watcher| watcher.identity().use_papa)
}
