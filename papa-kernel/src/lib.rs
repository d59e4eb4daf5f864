//! The papa kernel: owns what must survive circusd.
//!
//! One process, one thread, one epoll: managed sockets, hosted processes with their unread
//! output, and named values. It starts processes and reports their end; it never stops, signals,
//! restarts or judges them. [`background`], [`child`], [`socket`], [`peer`] and [`successor`] are used
//! by circusd as well, and [`run`] is the whole program.

mod access;
pub mod background;
mod budget;
pub mod child;
mod cli;
mod client;
mod command;
mod descriptor;
mod errno;
mod exit;
mod flow;
mod help;
mod info;
mod kernel;
mod leftover;
mod listener;
mod origin;
mod output;
pub mod peer;
mod poller;
mod process_table;
mod rehearsal;
mod session;
mod snapshot;
pub mod socket;
mod socket_table;
pub mod successor;
mod sys;
mod tables;
mod upgrade;
mod value_table;
mod watch;

pub use cli::run;
#[doc(hidden)]
pub use upgrade::is_acceptable_snapshot;
