//! circus-top: what watchers use, on a terminal.
//!
//! [`feed`] receives, [`model`] holds what was received, [`view`] how the user looks at it, and [`rows`] makes
//! lines of the two, all three without a terminal or a clock. [`draw`] puts them on the screen, [`screen`]
//! owns the terminal, [`circusd`] asks for what the feed does not tell, [`session`] is the loop, with threads that `waiter` starts, [`once`] the
//! output for scripts.

pub mod circusd;
pub mod cli;
pub mod draw;
mod fault;
pub mod feed;
pub mod history;
pub mod input;
pub mod model;
pub mod once;
pub mod rows;
pub mod screen;
pub mod session;
pub mod view;
mod waiter;
