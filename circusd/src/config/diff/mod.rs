//! What has to happen so that a changed file holds: a pure plan.
//!
//! [`diff`] compares what is in force with what was read; `arbiter::reload` carries the plan out. The
//! rules are those of `docs/reloadconfig.md`.

mod keys;
mod plan;
#[cfg(test)]
mod tests;

pub use keys::{CIRCUS_KEYS, SOCKET_KEYS, WATCHER_KEYS};
pub use plan::{
    CircusStep, Effect, ReloadPlan, SocketChange, SocketStep, WatcherChange, WatcherStep, diff,
    effect_of, in_force,
};
