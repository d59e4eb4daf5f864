//! The page for Prometheus: what circusd knows of its watchers, its sockets and itself.
//!
//! Off unless `[circus] metrics_endpoint` is set. [`gather`] asks for everything, [`exposition`] prints it,
//! [`server`] serves it, [`lag`] measures how late our own loop is.

pub mod exposition;
pub mod gather;
pub mod lag;
pub mod server;
