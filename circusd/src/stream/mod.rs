//! Output streams: what happens to what the processes print.

pub mod batch;
mod console;
pub mod fancy;
pub mod file;
mod options;
pub mod prefix;
pub mod queue;
pub mod recent;
pub mod sink;
pub mod stdout;
pub mod text;
pub mod writer;
