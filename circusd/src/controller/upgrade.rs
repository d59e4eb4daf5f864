//! `upgrade`: circusd, or its kernel, goes on as another program.
//!
//! The reply to `upgrade` comes from the old program, when everything is checked and before anything is
//! stopped. The connection does not outlive the exec, so how it ended is asked for with a second request,
//! `{"result": ID}`, which the program answers that is there then.

use super::operate::refused;
use crate::arbiter::builtin;
use crate::arbiter::handle::{ArbiterHandle, Roster};
use crate::controller::dispatch::gone;
use crate::papa::client::PapaError;
use crate::upgrade::candidate::{self, Candidate};
use crate::upgrade::handover::Order;
use crate::upgrade::progress::Upgrades;
use protocol::circus::command::UpgradeOrder;
use protocol::circus::errno::Errno;
use protocol::circus::response::{Failure, Outcome};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tracing::{info, warn};

/// The name of the operation in the words of the original's lock.
const NAME: &str = "arbiter_upgrade";

/// The time that the new program has when nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Begins an upgrade.
///
/// # Errors
/// The program cannot take over, direct children are in the way, or another operation is.
pub async fn begin(
    arbiter: &ArbiterHandle,
    roster: &Roster,
    upgrades: &Upgrades,
    wanted: UpgradeOrder,
) -> Outcome {
    if wanted.kernel {
        return kernel(roster, wanted.program).await;
    }
    let Some(file) = &roster.config.path else {
        return Err(cannot("not upgraded: this arbiter is a part of another program".to_owned()));
    };
    let direct = direct_children(roster).await?;
    if !direct.is_empty() && !wanted.restart_direct {
        return Err(cannot(format!(
            "not upgraded: the processes of {} are children of circusd itself and would be stopped; give these \
             watchers use_papa = true, or say --restart-direct",
            direct.join(", ")
        )));
    }
    let program = match wanted.program {
        Some(program) => PathBuf::from(program),
        None => {
            candidate::own_program().map_err(|error| cannot(format!("not upgraded: {error}")))?
        }
    };
    let found = candidate::check(&program, file).await;
    let Candidate { path, version } =
        found.map_err(|error| cannot(format!("not upgraded: {error}")))?;
    // Nothing else is under way, and nothing begins any more.
    let permit = arbiter.everything(NAME).await.map_err(refused)?;
    let timeout = wanted.timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let order = Order {
        id: format!("{:016x}", fastrand::u64(..)),
        from: crate::VERSION.to_owned(),
        to: version,
        program: path,
        timeout: timeout.unwrap_or(TIMEOUT),
    };
    info!("upgrading from {} to {} (`{}`)", order.from, order.to, order.program.display());
    let mut reply = Map::new();
    reply.insert("upgrade".into(), json!(order.id));
    reply.insert("from".into(), json!(order.from));
    reply.insert("to".into(), json!(order.to));
    upgrades.decide(order);
    // Its end is waited for elsewhere.
    drop(arbiter.shut_down().await);
    drop(permit);
    Ok(reply)
}

/// How the upgrade of this name stands.
///
/// # Errors
/// It was rolled back, or nothing is known about it.
pub fn result(upgrades: &Upgrades, id: &str) -> Outcome {
    if let Some(outcome) = upgrades.outcome(id) {
        if let Some(failure) = outcome.failure {
            return Err(cannot(format!(
                "circusd {} could not take over, and circusd {} goes on: {failure}",
                outcome.to, outcome.from
            )));
        }
        let mut reply = Map::new();
        reply.insert("from".into(), json!(outcome.from));
        reply.insert("to".into(), json!(outcome.to));
        return Ok(reply);
    }
    if upgrades.is_pending(id) {
        return Ok(Map::from_iter([("pending".to_owned(), Value::Bool(true))]));
    }
    Err(cannot(
        "nothing is known about this upgrade; circusd was started anew meanwhile".to_owned(),
    ))
}

/// Watchers whose processes do not outlive circusd. Helpers of circusd itself do not count.
async fn direct_children(roster: &Roster) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for watcher in &roster.watchers {
        let identity = watcher.identity();
        let helper =
            identity.name.starts_with("plugin:") || builtin::is_own(&identity.name, &roster.config);
        if identity.use_papa || helper {
            continue;
        }
        if !watcher.inspect().await.map_err(gone)?.processes.is_empty() {
            names.push(identity.name.clone());
        }
    }
    Ok(names)
}

/// Lets the kernel go on as another program; circusd keeps its connections.
async fn kernel(roster: &Roster, program: Option<String>) -> Outcome {
    let Some(kernel) = &roster.kernel else {
        return Err(cannot("there is no papa kernel to upgrade: nothing has use_papa".to_owned()));
    };
    match kernel.upgrade(program.map(String::into_bytes)).await {
        Ok(text) => {
            info!("papa: {text}");
            Ok(Map::from_iter([("kernel".to_owned(), json!(text))]))
        }
        Err(PapaError::Refused(reason)) => {
            warn!("papa was not upgraded: {reason}");
            Err(cannot(format!("papa was not upgraded: {reason}")))
        }
        Err(error) => Err(cannot(format!("papa was not upgraded: {error}"))),
    }
}

fn cannot(reason: String) -> Failure {
    Failure::new(Errno::Command, reason)
}
