//! Output on its way from a process to a stream.

/// A piece of output, as it was read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chunk {
    /// The process that printed it.
    pub pid: i32,
    /// When it was read, in seconds since the epoch; for hosted processes, read by the kernel.
    pub time: f64,
    /// Bytes that the process had printed before it, over stdout and stderr together. Counted for hosted
    /// processes only.
    pub offset: u64,
    /// Bytes that were lost right before it.
    pub missing: u64,
    /// It was given before, and not confirmed; so was what followed.
    pub again: bool,
    /// The process prints nothing more.
    pub last: bool,
    /// The bytes.
    pub data: Vec<u8>,
}

impl Chunk {
    /// Says that a process has ended.
    pub fn end(pid: i32, offset: u64) -> Self {
        Self { pid, offset, last: true, ..Self::default() }
    }

    /// Bytes that the process had printed after it.
    pub fn end_offset(&self) -> u64 {
        self.offset + self.data.len() as u64
    }
}

/// The line that stands in a log in the place of output that was lost.
pub fn gap_line(bytes: u64) -> String {
    let unit = if bytes == 1 { "byte" } else { "bytes" };
    format!("circusd: {bytes} {unit} of output are missing here\n")
}
