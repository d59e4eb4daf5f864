//! The manager: watchers, sockets, streams and the ZeroMQ API.

pub mod config;
