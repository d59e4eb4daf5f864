//! Output to files: `FileStream`, `WatchedFileStream` and `TimedRotatingFileStream`.

mod backups;
mod exact;
#[cfg(test)]
mod exactly_once;
mod log_file;
pub mod recovery;
mod stream;
mod timed;

pub use stream::FileStream;
