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
mod descriptor;
mod flow;
mod info;
mod kernel;
mod leftover;
mod listener;
mod origin;
mod output;
mod poller;
mod process_table;
mod refusal;
mod rehearsal;
mod session;
mod snapshot;
mod socket_table;
mod tables;
mod upgrade;
mod watch;

pub use cli::run;
#[doc(hidden)]
pub use upgrade::is_acceptable_snapshot;
