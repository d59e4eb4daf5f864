//! From a request to an outcome: one arm per command.

use super::{configure, observe, operate, report, upgrade};
use crate::arbiter::handle::ArbiterHandle;
use crate::event_bus::EventBus;
use crate::process::sampler::{Freshness, Sampler};
use crate::upgrade::progress::Upgrades;
use crate::watcher::handle::{KillOrder, Operation, WatcherGone};
use protocol::circus::command::{Command, Selection};
use protocol::circus::errno::Errno;
use protocol::circus::request::Request;
use protocol::circus::response::{Failure, Outcome};
use serde_json::Value;
use std::time::Duration;

/// Carries out commands; clones share what they work on.
#[derive(Clone)]
pub struct Dispatcher {
    arbiter: ArbiterHandle,
    sampler: Sampler,
    bus: EventBus,
    upgrades: Upgrades,
}

impl Dispatcher {
    /// A dispatcher for this arbiter.
    pub fn new(
        arbiter: ArbiterHandle,
        sampler: Sampler,
        bus: EventBus,
        upgrades: Upgrades,
    ) -> Self {
        Self { arbiter, sampler, bus, upgrades }
    }

    /// Carries out one request and returns its reply.
    pub async fn carry_out(&self, request: &Request) -> Outcome {
        let command = Command::parse(request)?;
        // Asked between two programs, too, when there are no watchers.
        if let Command::UpgradeResult(id) = &command {
            return upgrade::result(&self.upgrades, id);
        }
        let roster = self.arbiter.roster().await.map_err(gone)?;
        match command {
            Command::List(name) => report::list(&roster, name.as_deref()).await,
            Command::Status(name) => report::status(&roster, name.as_deref()).await,
            Command::NumWatchers => Ok(report::numwatchers(&roster)),
            Command::NumProcesses(name) => report::numprocesses(&roster, name.as_deref()).await,
            Command::Options(name) => report::options(&roster, &name).await,
            Command::Get { name, keys } => report::get(&roster, &name, &keys).await,
            Command::GlobalOptions(option) => report::globaloptions(&roster, option.as_deref()),
            Command::Counters => report::counters(&roster).await,
            Command::Why(name) => observe::why(&roster, &name).await,
            Command::Tail { targets, wait } => observe::tail(&roster, targets, wait).await,
            Command::Events(follow) => Ok(observe::events(&self.bus, follow).await),
            Command::ListSockets => Ok(report::listsockets(&roster)),
            Command::Stats { target, extended, fresh } => {
                let freshness = if fresh { Freshness::Now } else { Freshness::Recent };
                report::stats(&roster, &self.sampler, target, freshness, extended).await
            }
            Command::DStats => report::dstats(&roster, &self.sampler).await,
            Command::Signal { signal, target } => operate::signal(&roster, signal, target).await,
            Command::Resize { name, change, waiting } => {
                operate::resize(&self.arbiter, &roster, &name, change, waiting).await
            }
            Command::Start { selection, paused, waiting } => {
                let verb = operate::Verb::start(paused);
                operate::selected(&self.arbiter, &roster, &selection, verb, waiting).await
            }
            Command::Stop { selection, pause, waiting } => {
                let verb = operate::Verb::stop(pause);
                operate::selected(&self.arbiter, &roster, &selection, verb, waiting).await
            }
            Command::Restart { selection: Selection::All, waiting } => {
                configure::restart(&self.arbiter, &roster, waiting).await
            }
            Command::Restart { selection, waiting } => {
                let verb = operate::Verb::restart();
                operate::selected(&self.arbiter, &roster, &selection, verb, waiting).await
            }
            Command::Reload { name, graceful, sequential, waiting } => {
                let how = operate::Verb::reload(graceful, sequential);
                operate::reload(&self.arbiter, &roster, name.as_deref(), how, waiting).await
            }
            Command::Kill { name, pid, signal, graceful_timeout, waiting } => {
                let order = KillOrder { pid, signal, grace: graceful_timeout.map(duration) };
                operate::kill(&roster, &name, order, waiting).await
            }
            Command::Add(wanted) => configure::add(&self.arbiter, &roster, *wanted).await,
            Command::Rm { name, nostop, waiting } => {
                configure::rm(&self.arbiter, &roster, &name, nostop, waiting).await
            }
            Command::Set { name, options, waiting } => {
                configure::set(&self.arbiter, &roster, &name, options, waiting).await
            }
            Command::ReloadConfig { plan, waiting } => {
                configure::reload_config(&self.arbiter, plan, waiting).await
            }
            Command::Upgrade(wanted) => {
                upgrade::begin(&self.arbiter, &roster, &self.upgrades, wanted).await
            }
            // Answered above.
            Command::UpgradeResult(id) => upgrade::result(&self.upgrades, &id),
            Command::Ipython => Ok(report::ipython()),
            Command::Quit { waiting } => operate::quit(&self.arbiter, waiting).await,
        }
    }

    /// What a watcher looks like to Python hooks.
    ///
    /// # Errors
    /// No such watcher.
    pub(super) async fn picture(&self, name: &str) -> Result<Value, Failure> {
        let roster = self.arbiter.roster().await.map_err(gone)?;
        let watcher = roster.meant(name).ok_or_else(|| Failure::not_found(name))?;
        watcher.picture().await.map_err(gone)
    }
}

/// What a client is told when the daemon ends while it works for it.
pub(super) fn gone(gone: WatcherGone) -> Failure {
    Failure::new(Errno::Command, gone.to_string())
}

/// Seconds from a client, which may be negative or infinite.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

/// The name of the operation in the words of the original's lock.
pub(super) fn lock_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Start | Operation::Unpause | Operation::Resume => "watcher_start",
        Operation::Stop | Operation::Pause => "watcher_stop",
        Operation::Restart => "watcher_restart",
        Operation::Reload { .. } => "watcher_reload",
        Operation::Resize(change) if change < 0 => "watcher_decr",
        Operation::Resize(_) => "watcher_incr",
    }
}
