//! What has to happen so that a changed file holds: a pure plan.
//!
//! [`diff`] compares what is in force with what was read; `arbiter::reload` carries the plan out. The
//! rules are those of `docs/reloadconfig.md`.

mod keys;
mod plan;
#[cfg(test)]
mod tests;

#[cfg(test)]
use keys::{CIRCUS_KEYS, SOCKET_KEYS, WATCHER_KEYS};
#[cfg(test)]
use plan::effect_of;
pub use plan::{
    Effect, ReloadPlan, SocketChange, SocketStep, WatcherChange, WatcherStep, diff, in_force,
};
