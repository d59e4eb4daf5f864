//! The papa kernel: owns what must survive circusd.
//!
//! One process, one thread, one epoll: managed sockets, hosted processes with their unread
//! output, and named values. It starts processes and reports their end; it never stops, signals,
//! restarts or judges them. [`run`] is the whole program.
#![forbid(unsafe_code)]

mod access;
mod budget;
mod cli;
mod client;
mod command;
mod flow;
mod info;
mod kernel;
mod leftover;
mod listener;
mod output;
mod poller;
mod process_table;
mod session;
mod socket_table;
mod tables;
mod watch;

pub use cli::run;

/// Whether a kernel could go on from this payload of a snapshot, as far as that can be told without its
/// descriptors. For tests and fuzzing only.
#[doc(hidden)]
pub fn is_acceptable_snapshot(payload: &[u8]) -> bool {
    papa_handover::is_acceptable::<kernel::State>(payload)
}
