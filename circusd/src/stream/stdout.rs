//! `StdoutStream`: output goes to circusd's own stdout.

use super::batch::Chunk;
use super::sink::Sink;
use std::io::{self, Write};

/// Copies every piece to stdout and flushes.
pub struct StdoutStream;

impl Sink for StdoutStream {
    fn write(&mut self, chunks: &[Chunk], _finish: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for chunk in chunks {
            out.write_all(&chunk.data)?;
        }
        out.flush()
    }

    fn close(&mut self) {}
}
