//! Output on its way from a process to a stream.

use tokio::sync::oneshot;

/// A piece of output, as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// The process that printed it.
    pub pid: i32,
    /// When it was read, in seconds since the epoch; for hosted processes, read by the kernel.
    pub time: f64,
    /// The bytes.
    pub data: Vec<u8>,
}

/// Pieces for one stream, in order.
#[derive(Debug)]
pub struct Batch {
    /// The pieces.
    pub chunks: Vec<Chunk>,
    /// Told whether everything in the batch has been written, unfinished lines included.
    pub written: Option<oneshot::Sender<bool>>,
}
