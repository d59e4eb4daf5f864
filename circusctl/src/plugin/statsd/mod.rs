//! Everything that is sent to a statsd: [`metric`] is the text of a datagram, [`client`] sends it; [`emitter`]
//! and [`full_stats`] are plugins, [`observer`] what the plugins have in common that look at something now and
//! then.

pub mod client;
pub mod emitter;
pub mod full_stats;
pub mod metric;
pub mod observer;

pub use client::{OPTIONS, Statsd};
pub use metric::Value;
