//! Circus as a library: a process and socket manager inside another program.
//!
//! An [`Arbiter`] starts programs, keeps as many of each running as it was told to, restarts what ends, opens
//! sockets for them to share, and takes commands from `circusctl` and every other Circus client, exactly as the
//! daemon `circusd` does: it is the same code. What Circus' documentation does with `get_arbiter` is done here with
//! [`Arbiter::builder`]:
//!
//! ```no_run
//! use circusd::{Arbiter, Watcher};
//!
//! # fn main() -> Result<(), circusd::ArbiterError> {
//! let my_program = Watcher::new("myprogram", "python3 myprogram.py").numprocesses(4);
//! Arbiter::builder().watcher(my_program).run()
//! # }
//! ```
//!
//! [`run`](ArbiterBuilder::run) blocks until a client sends `quit`. [`start`](ArbiterBuilder::start) returns a
//! handle instead (`background=True` in Python). The arbiter has a thread and an event loop of its own, so its
//! methods can be awaited in any async runtime (tokio, with any number of threads, or another), and a plain `main`
//! uses [`block_on`].
//!
//! # What it leaves to the program
//!
//! - **Signals.** No handler is installed. A program that is told to end calls [`Arbiter::stop`]; workers that
//!   nobody stops outlive it. `examples/in_tokio.rs` does so on Ctrl-C.
//! - **The process.** Its end, umask, limits, working directory and pidfile are the program's. Nothing here calls
//!   `exit`. Children that the program has started itself are not touched.
//! - **The log.** Everything is told through [`tracing`](https://docs.rs/tracing); the program chooses where it goes.
//!
//! `circusd-stats`, `circus-plugin` and `papa-kernel` are programs of their own, which are looked for beside the
//! running program and on `PATH`, and needed only by arbiters with statistics, plugins or `use_papa`.
//!
//! `docs/extending.md` of the repository has more: plugins in Rust, Python and shell, hooks and commands.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![expect(
    unreachable_pub,
    reason = "`pub` in a private module means the whole crate; what programs may use is named below"
)]

mod arbiter;
mod cause;
mod check;
mod cli;
mod config;
mod controller;
mod daemon;
mod environment;
mod event_bus;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod hook;
mod library;
mod logging;
mod metrics;
mod notify;
mod papa;
mod pidfile;
mod process;
mod python;
mod role;
mod serving;
mod signals;
mod socket;
mod stream;
mod upgrade;
mod watcher;

pub use library::{
    Arbiter, ArbiterBuilder, ArbiterError, CommandError, Event, Events, OptionErrors, Plugin,
    Socket, Status, Watcher, WatcherState, block_on,
};

/// Runs the program `circusd` with the arguments of this process. Not for other programs: it takes signals and the
/// log over.
pub use cli::main as circusd_main;

/// The version of this crate, which `circusd --version` prints. A build can name itself otherwise with
/// `CIRCUSD_BUILD_VERSION`.
pub const VERSION: &str = match option_env!("CIRCUSD_BUILD_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};
