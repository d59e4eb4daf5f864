//! Restarts of a watcher that a plugin orders by itself.
//!
//! `restart` starts a watcher that is stopped, and what somebody has stopped is to stay so.

use super::circus::{CallError, Circus};
use super::options::Options;
use serde_json::{Value, json};
use tracing::{info, warn};

/// The watcher that an option names, if it names one.
pub fn watcher(options: &Options, key: &str) -> Option<String> {
    let name = options.get(key).map(str::trim).filter(|name| !name.is_empty());
    name.map(str::to_owned)
}

/// Whether the watcher is stopped, or about to be.
///
/// # Errors
/// circusd does not say, or does not know it.
pub fn is_stopped(circus: &mut Circus, watcher: &str) -> Result<bool, CallError> {
    let reply = circus.call("status", json!({"name": watcher}))?;
    let status = reply.get("status").and_then(Value::as_str).unwrap_or_default();
    Ok(["stopped", "stopping"].contains(&status))
}

/// Has circusd restart a watcher, unless it is stopped. True if it was ordered.
pub fn unless_stopped(circus: &mut Circus, watcher: &str, reason: &str) -> bool {
    match is_stopped(circus, watcher) {
        Ok(false) => {
            info!("{watcher} is restarted: {reason}");
            circus.cast("restart", json!({"name": watcher}));
            return true;
        }
        Ok(true) => info!("{watcher} is stopped and is left so: {reason}"),
        Err(error) => warn!("{watcher} is not restarted: {error}"),
    }
    false
}
