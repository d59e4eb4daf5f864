//! The arbiter as the program holds it.

use super::builder::ArbiterBuilder;
use super::error::{ArbiterError, CommandError};
use super::events::Events;
use super::section::Watcher;
use super::thread::{Handles, Running};
use crate::arbiter::handle::Roster;
use crate::controller::configure;
use crate::watcher::handle::{WatcherGone, WatcherHandle};
use crate::watcher::vocabulary::Status;
use protocol::circus::request::Request;
use protocol::circus::response::Failure;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A running arbiter: the part of circusd that keeps watchers, sockets and plugins, inside this program.
///
/// Clones share it. When the last one is dropped the arbiter stops as if [`stop`](Self::stop) had been called, but
/// nobody waits for it: a program that ends at once leaves its workers running. All methods work in every async
/// runtime, and with [`block_on`](super::block_on) without one; a method that is given up halfway does not undo
/// what it has begun.
///
/// ```
/// use circusd::{Arbiter, Watcher, block_on};
///
/// # let folder = tempfile::tempdir()?;
/// # let (commands, events) = (folder.path().join("c"), folder.path().join("e"));
/// block_on(async {
///     let arbiter = Arbiter::builder()
///         .endpoint(format_args!("ipc://{}", commands.display()))
///         .pubsub_endpoint(format_args!("ipc://{}", events.display()))
///         .multicast_endpoint("")
///         .watcher(Watcher::new("sleeper", "sleep 30").numprocesses(4))
///         .start()
///         .await?;
///     arbiter.decr("sleeper", 1).await?;
///     assert_eq!(arbiter.watcher("sleeper").await?.numprocesses, 3);
///     arbiter.stop().await?;
///     # Ok::<_, Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Arbiter {
    shared: Arc<Shared>,
}

struct Shared(Running);

impl Drop for Shared {
    fn drop(&mut self) {
        let arbiter = self.0.serving.arbiter.clone();
        // On a runtime that has ended this does nothing, and need not.
        self.0.runtime.spawn(async move { drop(arbiter.shut_down().await) });
    }
}

/// What a watcher looks like at one moment.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct WatcherState {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub status: Status,
    /// How many processes it wants to have when it runs.
    pub numprocesses: u32,
    /// Its processes, in the order they were started.
    pub pids: Vec<i32>,
}

impl Arbiter {
    /// Begins to put an arbiter together.
    pub fn builder() -> ArbiterBuilder {
        ArbiterBuilder::default()
    }

    pub(super) fn new(running: Running) -> Self {
        Self { shared: Arc::new(Shared(running)) }
    }

    /// Returns where it takes commands, for `circusctl --endpoint` and other clients.
    pub fn endpoint(&self) -> &str {
        &self.shared.0.endpoint
    }

    /// Returns where it publishes events.
    pub fn pubsub_endpoint(&self) -> &str {
        &self.shared.0.pubsub_endpoint
    }

    /// Returns all watchers in the order they are started.
    ///
    /// # Errors
    /// [`CommandError::Ended`].
    pub async fn watchers(&self) -> Result<Vec<WatcherState>, CommandError> {
        let roster = self.roster().await?;
        let mut states = Vec::with_capacity(roster.watchers.len());
        for watcher in &roster.watchers {
            // One that was removed meanwhile is not there any more.
            states.extend(look_at(watcher).await.ok());
        }
        Ok(states)
    }

    /// Returns one watcher.
    ///
    /// # Errors
    /// [`CommandError`]: there is none of that name.
    pub async fn watcher(&self, name: &str) -> Result<WatcherState, CommandError> {
        let roster = self.roster().await?;
        let watcher = roster.find(name).ok_or_else(|| Failure::not_found(name))?;
        Ok(look_at(watcher).await?)
    }

    /// Adds a watcher and starts it, unless `autostart` is off. It has everything that watchers of the builder
    /// have: the environment, the sockets and the defaults.
    ///
    /// # Errors
    /// [`CommandError`]: its options cannot be used, or there is one of that name.
    pub async fn add_watcher(&self, watcher: Watcher) -> Result<(), CommandError> {
        let config = self.shared.0.base.watcher(&watcher)?;
        let arbiter = self.serving().arbiter.clone();
        let start = config.autostart;
        self.on_its_thread(async move { configure::take_in(&arbiter, config, start, true).await })
            .await
            .map(drop)
    }

    /// Stops a watcher and takes it away.
    ///
    /// # Errors
    /// [`CommandError`]: there is none of that name, or another operation is in the way.
    pub async fn remove_watcher(&self, name: &str) -> Result<(), CommandError> {
        self.of_one("rm", name).await
    }

    /// Starts a watcher; returns when its processes run.
    ///
    /// # Errors
    /// [`CommandError`]: there is none of that name, or another operation is in the way.
    pub async fn start_watcher(&self, name: &str) -> Result<(), CommandError> {
        self.of_one("start", name).await
    }

    /// Stops a watcher; returns when its processes have ended.
    ///
    /// # Errors
    /// [`CommandError`]: there is none of that name, or another operation is in the way.
    pub async fn stop_watcher(&self, name: &str) -> Result<(), CommandError> {
        self.of_one("stop", name).await
    }

    /// Stops a watcher and starts it again.
    ///
    /// # Errors
    /// [`CommandError`]: there is none of that name, or another operation is in the way.
    pub async fn restart_watcher(&self, name: &str) -> Result<(), CommandError> {
        self.of_one("restart", name).await
    }

    /// Replaces every process of a watcher, each by a new one that starts first.
    ///
    /// # Errors
    /// [`CommandError`]: there is none of that name, or another operation is in the way.
    pub async fn reload_watcher(&self, name: &str) -> Result<(), CommandError> {
        self.of_one("reload", name).await
    }

    /// Adds processes to a watcher and returns how many it wants now.
    ///
    /// # Errors
    /// [`CommandError`]: there is none of that name, or another operation is in the way.
    pub async fn incr(&self, name: &str, by: u32) -> Result<u32, CommandError> {
        self.resize("incr", name, by).await
    }

    /// Takes processes from a watcher and returns how many it wants now.
    ///
    /// # Errors
    /// [`CommandError`]: there is none of that name, or another operation is in the way.
    pub async fn decr(&self, name: &str, by: u32) -> Result<u32, CommandError> {
        self.resize("decr", name, by).await
    }

    /// Carries out any command that a client could send, such as `signal`, `set`, `stats` or `reload`, with the
    /// properties of the protocol, and returns the reply without `status`, `time` and `id`. `docs/commands.md`
    /// lists them; without `"waiting": true` a command that takes its time answers when it has begun.
    ///
    /// # Errors
    /// [`CommandError`], with the reason that a client would get.
    pub async fn command(
        &self,
        name: &str,
        properties: Map<String, Value>,
    ) -> Result<Map<String, Value>, CommandError> {
        let dispatcher = self.serving().dispatcher.clone();
        let request = Request::new(Value::Null, name, properties);
        self.on_its_thread(async move { dispatcher.carry_out(&request).await }).await
    }

    /// Returns the events: first those since the arbiter was started, at most the latest 256, then each when it
    /// happens.
    pub fn events(&self) -> Events {
        Events::new(self.serving().bus.clone(), self.shared.0.ended.clone())
    }

    /// Stops every watcher and ends the arbiter; returns when all processes have ended and all sockets are
    /// closed. Calling it again waits for the same end.
    ///
    /// # Errors
    /// [`ArbiterError::Lost`].
    pub async fn stop(&self) -> Result<(), ArbiterError> {
        let arbiter = self.serving().arbiter.clone();
        // Its end is waited for below.
        self.shared.0.runtime.spawn(async move { drop(arbiter.shut_down().await) });
        self.ended().await
    }

    /// Kills at once what still runs of an arbiter that was told to stop, and tells one that was not.
    pub fn hurry(&self) {
        let arbiter = self.serving().arbiter.clone();
        self.shared.0.runtime.spawn(async move { arbiter.hurry().await });
    }

    /// Waits until the arbiter has ended, whoever told it to: this program, or a client with `quit`.
    ///
    /// # Errors
    /// [`ArbiterError::Lost`].
    pub async fn ended(&self) -> Result<(), ArbiterError> {
        let mut ended = self.shared.0.ended.clone();
        if ended.wait().await { Ok(()) } else { Err(ArbiterError::lost()) }
    }

    fn serving(&self) -> &Handles {
        &self.shared.0.serving
    }

    async fn roster(&self) -> Result<Arc<Roster>, CommandError> {
        self.serving().arbiter.roster().await.map_err(CommandError::from)
    }

    async fn of_one(&self, command: &str, name: &str) -> Result<(), CommandError> {
        let properties = json!({"name": name, "match": "simple", "waiting": true});
        self.command(command, object(properties)).await.map(drop)
    }

    async fn resize(&self, command: &str, name: &str, by: u32) -> Result<u32, CommandError> {
        let properties = json!({"name": name, "nb": by, "waiting": true});
        let reply = self.command(command, object(properties)).await?;
        let number = reply.get("numprocesses").and_then(Value::as_u64);
        Ok(number.and_then(|number| number.try_into().ok()).unwrap_or_default())
    }

    /// Does something on the arbiter's thread, where it goes on if nobody waits for it any more.
    async fn on_its_thread<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, CommandError> {
        let outcome = self.shared.0.runtime.spawn(work).await;
        Ok(outcome.map_err(|_| CommandError::Ended)??)
    }
}

impl From<WatcherGone> for CommandError {
    fn from(_: WatcherGone) -> Self {
        Self::Ended
    }
}

async fn look_at(watcher: &WatcherHandle) -> Result<WatcherState, WatcherGone> {
    let seen = watcher.inspect().await?;
    Ok(WatcherState {
        name: watcher.identity().name.clone(),
        status: seen.status,
        numprocesses: seen.desired,
        pids: seen.processes.iter().map(|process| process.pid).collect(),
    })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
