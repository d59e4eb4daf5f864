//! `StdoutStream`: output goes to circusd's own stdout as it is.

use super::batch::{Chunk, gap_line};
use super::console::Console;
use super::sink::Sink;
use std::io;

/// Copies every piece to stdout at once.
pub struct StdoutStream {
    console: Console<io::Stdout>,
}

impl StdoutStream {
    /// The stream to circusd's stdout.
    pub fn new() -> Self {
        Self { console: Console::to(io::stdout()) }
    }
}

impl Default for StdoutStream {
    fn default() -> Self {
        Self::new()
    }
}

impl Sink for StdoutStream {
    fn write(&mut self, chunks: &[Chunk], _finish: bool) -> io::Result<()> {
        for chunk in chunks {
            let Some(buffer) = self.console.room(chunk.data.len()) else { continue };
            if chunk.missing > 0 {
                buffer.extend_from_slice(gap_line(chunk.missing).as_bytes());
            }
            buffer.extend_from_slice(&chunk.data);
        }
        self.console.flush()
    }

    fn close(&mut self) {}
}
