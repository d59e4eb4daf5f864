//! The arbiter: the registry of watchers, and what may happen to them together.

pub mod build;
pub mod builder;
pub mod builtin;
pub mod gate;
pub mod group;
pub mod handle;
pub mod inherit;
pub mod kernel_loss;
pub mod order;
pub mod plugin_failure;
pub mod plugins;
pub mod recovery;
pub mod reload;
pub mod task;
