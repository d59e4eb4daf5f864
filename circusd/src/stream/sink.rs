//! Where a stream writes to, and how one is made from the options of a watcher.

use super::batch::Chunk;
use super::fancy::FancyStdoutStream;
use super::file::FileStream;
use super::intent::Intent;
use super::queue::QueueStream;
use super::stdout::StdoutStream;
use indexmap::IndexMap;
use std::io;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Output that waits for a destination that cannot be written, in bytes; what comes beyond is lost and
/// counted.
pub const MAX_WAITING: usize = 4 * 1024 * 1024;

/// A destination of output. Called on the blocking pool, one call at a time.
pub trait Sink: Send {
    /// Writes the pieces in order. With `finish`, unfinished lines are written too.
    ///
    /// # Errors
    /// The destination cannot be written. The sink keeps what it could not write, up to a bound of its
    /// own such as [`MAX_WAITING`], and tries again with the next call; giving the same pieces again would
    /// double them. The writer calls with no pieces from time to time for as long as it fails.
    fn write(&mut self, chunks: &[Chunk], finish: bool) -> io::Result<()>;

    /// Opens the destination now, so that what is wrong with it is seen before anything is printed.
    ///
    /// # Errors
    /// [`StreamError::Open`].
    fn open(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    /// What sinks with the same destination share: each writes only while it has it. Taken by the writer,
    /// and kept from what the sink prepares to what it commits.
    fn turn(&self) -> Option<Turn> {
        None
    }

    /// This sink as one that knows what it holds, if it does.
    fn exact(&mut self) -> Option<&mut dyn ExactSink> {
        None
    }

    /// Bytes of output that were given up since the last call.
    fn take_lost(&mut self) -> u64 {
        0
    }

    /// The watcher has stopped: give resources back. The next write opens again.
    fn close(&mut self);
}

/// Not a guard of memory but of an order, and therefore held over waits.
pub type Turn = Arc<Mutex<()>>;

/// A number that the caller gives a batch.
pub type BatchId = u64;

/// Output for an [`ExactSink`].
#[derive(Debug, Default)]
pub struct Input {
    /// The pieces in order, of one process if there is a number.
    pub chunks: Vec<Chunk>,
    /// Unfinished lines are to be written, too.
    pub finish: bool,
    /// Whoever gave it wants to know what becomes of it.
    pub batch: Option<BatchId>,
}

/// How far a batch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The batch.
    pub batch: BatchId,
    /// The offset in the output of its process up to which everything is written.
    pub done: u64,
    /// Nothing of it waits any more.
    pub complete: bool,
}

/// What is about to be written.
#[derive(Debug, Default)]
pub struct Prepared {
    /// Batches that are dealt with although nothing was written.
    pub settled: Vec<Progress>,
    /// There is something to commit.
    pub ready: bool,
    /// The parts of it that belong to batches.
    pub planned: Vec<(BatchId, Intent)>,
}

/// A sink that can say before each write what will be where, so that it can be found out after our death
/// whether the write happened.
pub trait ExactSink {
    /// Takes output in, and forgets that of the batches in `gone`, which will come again.
    fn take_in(&mut self, input: Vec<Input>, gone: &[BatchId]);

    /// Decides what is written next, by [`Self::commit`].
    ///
    /// # Errors
    /// The destination cannot be written; the output goes on waiting.
    fn prepare(&mut self) -> io::Result<Prepared>;

    /// Writes what was decided, and tells how far the batches got.
    fn commit(&mut self) -> (Vec<Progress>, io::Result<()>);
}

/// The stream options of a watcher cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// An option has a bad value.
    #[error("`{key} = {value}` cannot be used; give {expected}")]
    BadOption {
        /// The option, without `stdout_stream.`.
        key: String,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Neither a class nor a file name.
    #[error("stream configuration invalid: give `class` or `filename`")]
    Nothing,
    /// The class does not exist here.
    #[error("unknown stream class `{0}`")]
    UnknownClass(String),
    /// The file cannot be opened.
    #[error("cannot open log file `{path}`: {source}")]
    Open {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Makes the stream that these options describe.
///
/// # Errors
/// [`StreamError`] names the option.
pub fn from_options(options: &IndexMap<String, String>) -> Result<Box<dyn Sink>, StreamError> {
    let class = options.get("class").map(String::as_str);
    Ok(match class {
        Some("FileStream") => Box::new(FileStream::from_options(options)?),
        Some("WatchedFileStream") => Box::new(FileStream::watched(options)?),
        Some("TimedRotatingFileStream") => Box::new(FileStream::timed(options)?),
        Some("StdoutStream") => Box::new(StdoutStream::new()),
        Some("FancyStdoutStream") => Box::new(FancyStdoutStream::from_options(options)?),
        Some("QueueStream") => Box::new(QueueStream),
        Some(other) => return Err(StreamError::UnknownClass(other.to_owned())),
        None if options.contains_key("filename") => Box::new(FileStream::from_options(options)?),
        None => return Err(StreamError::Nothing),
    })
}
