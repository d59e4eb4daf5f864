//! The manager: watchers, sockets, streams and the ZeroMQ API.
//!
//! Start reading at `daemon`, which puts the parts together. `docs/architecture.md` says which module owns
//! what.
#![forbid(unsafe_code)]

pub mod arbiter;
pub mod cause;
pub mod cli;
pub mod config;
pub mod controller;
pub mod daemon;
pub mod environment;
pub mod event_bus;
pub mod hook;
pub mod logging;
pub mod metrics;
pub mod notify;
pub mod papa;
pub mod pidfile;
pub mod process;
pub mod python;
pub mod role;
pub mod serving;
pub mod signals;
pub mod socket;
pub mod stream;
pub mod upgrade;
pub mod watcher;

/// The version of this program. A build can name itself otherwise with `CIRCUSD_BUILD_VERSION`.
pub const VERSION: &str = match option_env!("CIRCUSD_BUILD_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};
