//! Output streams: what happens to what the processes print.

pub mod batch;
mod console;
pub mod fancy;
pub mod file;
pub mod intent;
pub mod ledger;
mod options;
pub mod prefix;
pub mod queue;
pub mod receipt;
pub mod recent;
pub mod sink;
pub mod stdout;
pub mod text;
pub mod writer;
