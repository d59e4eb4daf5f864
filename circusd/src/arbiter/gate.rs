//! What may run together, and the words for refusing the rest.
//!
//! The original has one lock for everything; here an operation conflicts only with one on the same watcher
//! or with one on all of them. Shutdown conflicts with nothing and closes the gate for good.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The name of an operation, as clients know it from `arbiter is already running NAME command`.
pub type OperationName = &'static str;

/// Refused: this operation is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("arbiter is already running {0} command")]
pub struct Busy(pub OperationName);

#[derive(Debug, Default)]
struct Running {
    closed: Option<OperationName>,
    all: Option<OperationName>,
    watchers: HashMap<String, OperationName>,
}

/// The gate; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    running: Arc<Mutex<Running>>,
}

/// The right to carry out an operation; dropping it, even in a panic, gives it back.
#[derive(Debug)]
pub struct Permit {
    gate: Gate,
    watcher: Option<String>,
}

impl Gate {
    /// Enters with an operation on one watcher, named in lower case.
    ///
    /// # Errors
    /// [`Busy`] names what is in the way.
    pub fn enter_one(&self, watcher: &str, operation: OperationName) -> Result<Permit, Busy> {
        self.with(|running| {
            let other = running.watchers.get(watcher).copied();
            if let Some(name) = running.closed.or(running.all).or(other) {
                return Err(Busy(name));
            }
            running.watchers.insert(watcher.to_owned(), operation);
            Ok(())
        })?;
        Ok(Permit { gate: self.clone(), watcher: Some(watcher.to_owned()) })
    }

    /// Enters with an operation on several watchers.
    ///
    /// # Errors
    /// [`Busy`] names what is in the way.
    pub fn enter_all(&self, operation: OperationName) -> Result<Permit, Busy> {
        self.with(|running| {
            let other = running.watchers.values().next().copied();
            if let Some(name) = running.closed.or(running.all).or(other) {
                return Err(Busy(name));
            }
            running.all = Some(operation);
            Ok(())
        })?;
        Ok(Permit { gate: self.clone(), watcher: None })
    }

    /// Lets nobody in any more. False when it was closed before.
    pub fn close(&self, operation: OperationName) -> bool {
        self.with(|running| running.closed.replace(operation).is_none())
    }

    fn with<T>(&self, action: impl FnOnce(&mut Running) -> T) -> T {
        // Every action is a single step, so a panic elsewhere leaves nothing half changed.
        action(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let watcher = self.watcher.take();
        self.gate.with(|running| match watcher {
            Some(name) => {
                running.watchers.remove(&name);
            }
            None => running.all = None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_on_different_watchers_do_not_conflict() {
        let gate = Gate::default();
        let _web = gate.enter_one("web", "watcher_restart").unwrap();
        assert!(gate.enter_one("db", "watcher_incr").is_ok());
        assert_eq!(
            gate.enter_one("web", "watcher_incr").unwrap_err().to_string(),
            "arbiter is already running watcher_restart command"
        );
    }

    #[test]
    fn an_operation_on_all_excludes_the_rest_until_it_ends() {
        let gate = Gate::default();
        let web = gate.enter_one("web", "watcher_stop").unwrap();
        assert_eq!(gate.enter_all("arbiter_start_watchers").unwrap_err(), Busy("watcher_stop"));
        drop(web);
        let all = gate.enter_all("arbiter_start_watchers").unwrap();
        assert_eq!(
            gate.enter_one("web", "watcher_stop").unwrap_err(),
            Busy("arbiter_start_watchers")
        );
        drop(all);
        assert!(gate.enter_one("web", "watcher_stop").is_ok());
    }

    #[test]
    fn a_closed_gate_stays_closed() {
        let gate = Gate::default();
        let all = gate.enter_all("arbiter_start_watchers").unwrap();
        assert!(gate.close("arbiter_stop"));
        drop(all);
        assert_eq!(gate.enter_one("web", "watcher_stop").unwrap_err(), Busy("arbiter_stop"));
        assert!(!gate.close("arbiter_stop"));
    }
}
