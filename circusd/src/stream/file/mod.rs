//! Output to files: `FileStream`, `WatchedFileStream` and `TimedRotatingFileStream`.

mod backups;
mod log_file;
mod stream;
mod timed;

pub use stream::FileStream;
