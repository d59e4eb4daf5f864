//! The kernel as circusd sees it: finding or starting one, commands, and watching processes.

pub mod client;
pub mod connection;
pub mod endpoint;
pub mod journal;
pub mod start;
pub mod unit;
pub mod watch;
