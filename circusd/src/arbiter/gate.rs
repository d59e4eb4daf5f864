//! What may run together, and the words for refusing the rest.
//!
//! The original has one lock for everything; here an operation conflicts only with one on the same watcher
//! or with one on everything. An operation on several watchers holds just those, so a watcher can be added
//! while the others are being started. Shutdown conflicts with nothing and closes the gate for good.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

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
    left: Arc<Notify>,
}

/// The right to carry out an operation; dropping it, even in a panic, gives it back.
#[derive(Debug)]
pub struct Permit {
    gate: Gate,
    held: Held,
}

#[derive(Debug)]
enum Held {
    All,
    Watchers(Vec<String>),
}

impl Gate {
    /// Enters with an operation on watchers, named in lower case.
    ///
    /// # Errors
    /// [`Busy`] names what is in the way.
    pub fn enter(&self, watchers: Vec<String>, operation: OperationName) -> Result<Permit, Busy> {
        self.with(|running| {
            let other = watchers.iter().find_map(|name| running.watchers.get(name)).copied();
            if let Some(name) = running.closed.or(running.all).or(other) {
                return Err(Busy(name));
            }
            running.watchers.extend(watchers.iter().map(|name| (name.clone(), operation)));
            Ok(())
        })?;
        Ok(Permit { gate: self.clone(), held: Held::Watchers(watchers) })
    }

    /// Enters with an operation on everything, watchers that do not exist yet included.
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
        Ok(Permit { gate: self.clone(), held: Held::All })
    }

    /// Enters with an operation on several watchers as soon as nothing is in the way. None when the gate has
    /// been closed.
    pub async fn wait_for_all(&self, operation: OperationName) -> Option<Permit> {
        loop {
            // Begun before the attempt, so that nobody leaves unnoticed in between.
            let left = self.left.notified();
            match self.enter_all(operation) {
                Ok(permit) => return Some(permit),
                Err(_) if self.with(|running| running.closed.is_some()) => return None,
                Err(_) => left.await,
            }
        }
    }

    /// Lets nobody in any more. False when it was closed before.
    pub fn close(&self, operation: OperationName) -> bool {
        let first = self.with(|running| running.closed.replace(operation).is_none());
        self.left.notify_waiters();
        first
    }

    fn with<T>(&self, action: impl FnOnce(&mut Running) -> T) -> T {
        // Every action is a single step, so a panic elsewhere leaves nothing half changed.
        action(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Permit {
    /// Takes one watcher out, so that its part can be given back before the rest. None when it is not held
    /// by itself.
    pub fn part(&mut self, watcher: &str) -> Option<Self> {
        let Held::Watchers(names) = &mut self.held else { return None };
        let index = names.iter().position(|name| name == watcher)?;
        let held = Held::Watchers(vec![names.swap_remove(index)]);
        Some(Self { gate: self.gate.clone(), held })
    }

    /// Gives what is under way another name, as clients are told it.
    pub fn go_on_as(&self, operation: OperationName) {
        self.gate.with(|running| match &self.held {
            Held::All => running.all = Some(operation),
            Held::Watchers(names) => {
                running.watchers.extend(names.iter().map(|name| (name.clone(), operation)));
            }
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.with(|running| match &self.held {
            Held::All => running.all = None,
            Held::Watchers(names) => {
                for name in names {
                    running.watchers.remove(name);
                }
            }
        });
        self.gate.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn operations_on_different_watchers_do_not_conflict() {
        let gate = Gate::default();
        let _web = gate.enter(names(&["web"]), "watcher_restart").unwrap();
        assert!(gate.enter(names(&["db"]), "watcher_incr").is_ok());
        assert_eq!(
            gate.enter(names(&["web"]), "watcher_incr").unwrap_err().to_string(),
            "arbiter is already running watcher_restart command"
        );
    }

    #[test]
    fn an_operation_on_several_watchers_holds_just_those_until_it_ends() {
        let gate = Gate::default();
        let web = gate.enter(names(&["web"]), "watcher_stop").unwrap();
        let both = names(&["db", "web"]);
        assert_eq!(
            gate.enter(both.clone(), "arbiter_start_watchers").unwrap_err(),
            Busy("watcher_stop")
        );
        assert!(gate.enter(names(&["db"]), "watcher_incr").is_ok(), "a refusal holds nothing");
        drop(web);
        let group = gate.enter(both, "arbiter_start_watchers").unwrap();
        assert_eq!(
            gate.enter(names(&["web"]), "watcher_stop").unwrap_err(),
            Busy("arbiter_start_watchers")
        );
        assert!(gate.enter(names(&["new"]), "arbiter_add_watcher").is_ok());
        drop(group);
        assert!(gate.enter(names(&["web"]), "watcher_stop").is_ok());
    }

    #[test]
    fn a_part_is_given_back_before_the_rest() {
        let gate = Gate::default();
        let mut group = gate.enter(names(&["db", "web"]), "arbiter_start_watchers").unwrap();
        drop(group.part("web"));
        assert!(group.part("web").is_none());
        assert!(gate.enter(names(&["web"]), "watcher_incr").is_ok());
        let refused = gate.enter(names(&["db"]), "watcher_incr").unwrap_err();
        assert_eq!(refused, Busy("arbiter_start_watchers"));
        let all = gate.clone();
        drop(group);
        assert!(all.enter_all("arbiter_reload_config").unwrap().part("web").is_none());
    }

    #[test]
    fn an_operation_on_everything_excludes_the_rest_until_it_ends() {
        let gate = Gate::default();
        let web = gate.enter(names(&["web"]), "watcher_stop").unwrap();
        assert_eq!(gate.enter_all("arbiter_reload_config").unwrap_err(), Busy("watcher_stop"));
        drop(web);
        let all = gate.enter_all("arbiter_reload_config").unwrap();
        assert_eq!(
            gate.enter(names(&["new"]), "arbiter_add_watcher").unwrap_err(),
            Busy("arbiter_reload_config")
        );
        drop(all);
        assert!(gate.enter(names(&["new"]), "arbiter_add_watcher").is_ok());
    }

    #[test]
    fn an_operation_can_go_on_under_another_name() {
        let gate = Gate::default();
        let set = gate.enter(names(&["web"]), "watcher_set_opt").unwrap();
        set.go_on_as("watcher_do_action");
        let refused = gate.enter(names(&["web"]), "watcher_incr").unwrap_err();
        assert_eq!(refused, Busy("watcher_do_action"));
    }

    #[tokio::test]
    async fn who_waits_gets_in_when_the_others_have_left() {
        let gate = Gate::default();
        let web = gate.enter(names(&["web"]), "watcher_stop").unwrap();
        let waiting = gate.clone();
        let waiting = tokio::spawn(async move { waiting.wait_for_all("arbiter_reload").await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(web);
        assert!(waiting.await.unwrap().is_some());
        let _web = gate.enter(names(&["web"]), "watcher_stop").unwrap();
        let waiting = gate.clone();
        let waiting = tokio::spawn(async move { waiting.wait_for_all("arbiter_reload").await });
        tokio::task::yield_now().await;
        gate.close("arbiter_stop");
        assert!(waiting.await.unwrap().is_none());
    }

    #[test]
    fn a_closed_gate_stays_closed() {
        let gate = Gate::default();
        let all = gate.enter_all("arbiter_reload_config").unwrap();
        assert!(gate.close("arbiter_stop"));
        drop(all);
        assert_eq!(gate.enter(names(&["web"]), "watcher_stop").unwrap_err(), Busy("arbiter_stop"));
        assert!(!gate.close("arbiter_stop"));
    }
}
