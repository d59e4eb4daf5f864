//! Output streams that are Python classes of the user.
//!
//! The class gets pieces of at most [`PIECE`] bytes, as from the original, and the helper says when it has
//! taken them. Beyond a bound nothing more is sent, so a slow class holds its processes back like a slow file.

use super::host::{Host, Piece};
use crate::stream::batch::{Chunk, gap_line};
use crate::stream::sink::Sink;
use std::io;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time;

/// The most that a class gets at once, in bytes.
const PIECE: usize = 1024;

/// How long the class may take for what is left when somebody waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// One of the two streams of a watcher.
pub struct PythonStream {
    host: Host,
    name: &'static str,
    /// For hosted processes the class gets the time at which the output was read, as in the original.
    hosted: bool,
    runtime: Handle,
}

impl PythonStream {
    /// The stream `stdout` or `stderr` of this helper. Called inside the runtime.
    pub fn new(host: Host, name: &'static str, hosted: bool) -> Self {
        Self { host, name, hosted, runtime: Handle::current() }
    }

    fn send(&self, chunk: &Chunk, data: &[u8]) {
        for data in data.chunks(PIECE) {
            let piece = Piece {
                stream: self.name,
                pid: chunk.pid,
                timestamp: self.hosted.then_some(chunk.time),
                data: data.to_vec(),
            };
            self.runtime.block_on(self.host.print(piece));
        }
    }
}

impl Sink for PythonStream {
    fn write(&mut self, chunks: &[Chunk], finish: bool) -> io::Result<()> {
        for chunk in chunks {
            if chunk.missing > 0 {
                self.send(chunk, gap_line(chunk.missing).as_bytes());
            }
            self.send(chunk, &chunk.data);
        }
        if self.hosted {
            // The kernel keeps what the class has not taken, until the end of this write is confirmed.
            self.runtime.block_on(self.host.printed());
        } else if finish {
            // What takes longer is on its way all the same.
            let _ =
                self.runtime.block_on(async { time::timeout(PATIENCE, self.host.printed()).await });
        }
        Ok(())
    }

    /// The class is told by the watcher, once for both streams.
    fn close(&mut self) {}
}
