//! Commands that change something.
//!
//! Without `waiting` the reply is a bare ok as soon as the operation has begun; with it, the reply comes
//! at the end and says what changed.

use super::dispatch::{gone, lock_name};
use super::matching::select;
use crate::arbiter::gate::OperationName;
use crate::arbiter::handle::{ArbiterError, ArbiterHandle, GroupOperation, Roster};
use crate::watcher::handle::{
    KillOrder, Operation, SignalError, SignalScope, WatcherGone, WatcherHandle,
};
use crate::watcher::vocabulary::Changes;
use protocol::circus::command::{Selection, SignalTarget};
use protocol::circus::errno::Errno;
use protocol::circus::response::{Failure, Outcome};
use protocol::signal::Signal;
use serde_json::{Map, Value, json};

/// `start`, `stop` or `restart`, for one watcher and for several.
#[derive(Debug, Clone, Copy)]
pub struct Verb {
    one: Operation,
    group: GroupOperation,
    group_name: OperationName,
}

impl Verb {
    /// `start`, of one only if it is `paused`.
    pub fn start(paused: bool) -> Self {
        Self {
            one: if paused { Operation::Unpause } else { Operation::Start },
            group: GroupOperation::Start,
            group_name: "arbiter_start_watchers",
        }
    }

    /// `stop`, of one as a `pause`.
    pub fn stop(pause: bool) -> Self {
        Self {
            one: if pause { Operation::Pause } else { Operation::Stop },
            group: GroupOperation::Stop,
            group_name: "arbiter_stop_watchers",
        }
    }

    /// `restart`.
    pub fn restart() -> Self {
        Self {
            one: Operation::Restart,
            group: GroupOperation::Restart,
            group_name: "arbiter_restart",
        }
    }

    /// `reload`.
    pub fn reload(graceful: bool, sequential: bool) -> Self {
        Self {
            one: Operation::Reload { graceful, sequential },
            group: GroupOperation::Reload { graceful, sequential },
            group_name: "arbiter_reload",
        }
    }
}

/// `reload` of one watcher, or of all.
///
/// # Errors
/// No such watcher, or another operation is in the way.
pub async fn reload(
    arbiter: &ArbiterHandle,
    roster: &Roster,
    name: Option<&str>,
    how: Verb,
    waiting: bool,
) -> Outcome {
    match name {
        None => selected(arbiter, roster, &Selection::All, how, waiting).await,
        Some(name) => {
            let watcher = roster.meant(name).ok_or_else(|| Failure::not_found(name))?;
            one(arbiter, watcher.clone(), how, waiting).await
        }
    }
}

/// `kill`. Takes no lock: it works while the watcher is busy with something else.
///
/// # Errors
/// No such watcher.
pub async fn kill(roster: &Roster, name: &str, order: KillOrder, waiting: bool) -> Outcome {
    let watcher = roster.meant(name).ok_or_else(|| Failure::not_found(name))?;
    let dead = watcher.kill(order).await.map_err(gone)?;
    if waiting {
        // The sender is dropped when no process was meant.
        let _ = dead.await;
    }
    Ok(Map::new())
}

/// Starts, stops or restarts what was selected.
///
/// # Errors
/// Nothing matches, or another operation is in the way.
pub async fn selected(
    arbiter: &ArbiterHandle,
    roster: &Roster,
    selection: &Selection,
    verb: Verb,
    waiting: bool,
) -> Outcome {
    let mut watchers = select(&roster.watchers, selection)?;
    if watchers.len() == 1
        && *selection != Selection::All
        && let Some(watcher) = watchers.pop()
    {
        return one(arbiter, watcher, verb, waiting).await;
    }
    let ended = arbiter.group(watchers, verb.group, verb.group_name).await.map_err(refused)?;
    if waiting {
        ended.await.map_err(|_| gone(WatcherGone))?;
    }
    Ok(Map::new())
}

async fn one(
    arbiter: &ArbiterHandle,
    watcher: WatcherHandle,
    verb: Verb,
    waiting: bool,
) -> Outcome {
    let ended = arbiter.one(watcher, verb.one, lock_name(verb.one)).await.map_err(refused)?;
    let mut reply = Map::new();
    if waiting {
        let (changes, _) = ended.await.map_err(|_| gone(WatcherGone))?;
        reply.insert("info".into(), info(verb.one, &changes));
    }
    Ok(reply)
}

/// `incr` and `decr`.
///
/// # Errors
/// No such watcher, or another operation is in the way.
pub async fn resize(
    arbiter: &ArbiterHandle,
    roster: &Roster,
    name: &str,
    change: i64,
    waiting: bool,
) -> Outcome {
    let watcher = roster.meant(name).ok_or_else(|| Failure::not_found(name))?;
    let mut reply = Map::new();
    if watcher.identity().singleton {
        let desired = watcher.inspect().await.map_err(gone)?.desired;
        reply.insert("numprocesses".into(), json!(desired));
        reply.insert("singleton".into(), json!(true));
        return Ok(reply);
    }
    let operation = Operation::Resize(change);
    let begun = arbiter.one(watcher.clone(), operation, lock_name(operation)).await;
    let ended = begun.map_err(refused)?;
    if waiting {
        let (_, desired) = ended.await.map_err(|_| gone(WatcherGone))?;
        reply.insert("numprocesses".into(), json!(desired));
    }
    Ok(reply)
}

/// `signal`.
///
/// # Errors
/// No such watcher or process, or the system refuses.
pub async fn signal(roster: &Roster, signal: Signal, target: SignalTarget) -> Outcome {
    let watcher = roster.meant(&target.name).ok_or_else(|| Failure::not_found(&target.name))?;
    let scope = SignalScope {
        pid: target.pid,
        child: target.child,
        children: target.children,
        recursive: target.recursive,
    };
    watcher.signal(signal, scope).await.map_err(|error| match error {
        SignalError::NoProcess(pid) => {
            let reason = format!("process {pid} not found in '{}'", target.name);
            Failure::new(Errno::Message, reason)
        }
        SignalError::Os(reason) => Failure::new(Errno::Os, reason),
        SignalError::Gone(error) => gone(error),
    })?;
    Ok(Map::new())
}

/// `quit`. Never refused: shutting down must always be possible.
///
/// # Errors
/// None; the signature is that of every command.
pub async fn quit(arbiter: &ArbiterHandle, waiting: bool) -> Outcome {
    let ended = arbiter.shut_down().await;
    if waiting {
        // A dropped sender means that everything has ended, too.
        let _ = ended.await;
    }
    Ok(Map::new())
}

/// The original's words for an operation that is in the way.
pub(super) fn refused(error: ArbiterError) -> Failure {
    match error {
        ArbiterError::Busy(busy) => Failure::conflict(busy.0),
        ArbiterError::Gone(error) => gone(error),
    }
}

fn info(operation: Operation, changes: &Changes) -> Value {
    match operation {
        Operation::Start | Operation::Unpause | Operation::Resume => {
            json!({"started": changes.started, "kept": changes.kept})
        }
        Operation::Stop | Operation::Pause | Operation::Resize(_) => Value::Null,
        Operation::Restart | Operation::Reload { .. } => json!({
            "stopped": changes.stopped,
            "started": changes.started,
            "kept": changes.kept,
        }),
    }
}
