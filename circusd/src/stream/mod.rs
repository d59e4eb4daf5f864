//! Output streams: what happens to what the processes print.

pub mod batch;
pub mod file;
pub mod prefix;
pub mod sink;
pub mod stdout;
pub mod writer;
