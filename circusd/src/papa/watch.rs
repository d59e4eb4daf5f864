//! Following one process: blocks of output in, acknowledgements out.
//!
//! Stop and wait: the kernel sends the next block after this one was acknowledged, and keeps it until then.

use super::client::PapaError;
use super::connection::Connection;
use protocol::papa::{BlockDecoder, Command, Output, Pattern, Record};

/// The largest record that is taken, in bytes; the kernel reads pipes in far smaller pieces.
const MAX_RECORD: usize = 64 * 1024 * 1024;

/// A piece of output.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// It came over stderr.
    pub is_stderr: bool,
    /// When the kernel read it, in seconds since the epoch.
    pub time: f64,
    /// The bytes.
    pub data: Vec<u8>,
}

/// What the kernel sent between two acknowledgements.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Block {
    /// Output in the order in which it was read.
    pub output: Vec<Piece>,
    /// The process has ended: exit status, −signal, or unknown.
    pub closed: Option<Option<i32>>,
    /// Bytes that the kernel had to drop before these.
    pub dropped: u64,
}

/// A connection that follows a process.
pub struct Watch {
    connection: Connection,
    decoder: BlockDecoder,
    block: Block,
    received: Vec<u8>,
}

impl Watch {
    /// Asks the kernel to follow `process` on this connection.
    ///
    /// # Errors
    /// [`PapaError::Refused`] when the kernel does not have it.
    pub async fn begin(mut connection: Connection, process: &str) -> Result<Self, PapaError> {
        let form = connection.form();
        let command = Command::Watch(vec![Pattern(process.to_owned())]);
        connection.send(&command.to_line(form)).await?;
        let mut decoder = BlockDecoder::new(form, MAX_RECORD);
        decoder.feed(&connection.take_rest());
        let mut watch = Self { connection, decoder, block: Block::default(), received: Vec::new() };
        match watch.record().await? {
            Record::Watching(_) => Ok(watch),
            other => Err(refusal(other)),
        }
    }

    /// The next block. May be given up while it waits: what has come so far is kept.
    ///
    /// # Errors
    /// [`PapaError`]; the connection is of no use after that.
    pub async fn next(&mut self) -> Result<Block, PapaError> {
        loop {
            match self.record().await? {
                Record::Out(output) => self.block.output.push(piece(false, output)),
                Record::Err(output) => self.block.output.push(piece(true, output)),
                Record::Closed { code, .. } => self.block.closed = Some(code),
                Record::Dropped { bytes, .. } => self.block.dropped += bytes,
                Record::EndOfBlock => return Ok(std::mem::take(&mut self.block)),
                other => return Err(refusal(other)),
            }
        }
    }

    /// Tells the kernel that the last block has been dealt with.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn acknowledge(&mut self) -> Result<(), PapaError> {
        self.connection.send(b"\n").await
    }

    /// Waits for the kernel's word that nothing is left to follow.
    ///
    /// # Errors
    /// The connection is broken, or something else came.
    pub async fn over(&mut self) -> Result<(), PapaError> {
        match self.record().await? {
            Record::Stopped(_) => Ok(()),
            other => Err(refusal(other)),
        }
    }

    async fn record(&mut self) -> Result<Record, PapaError> {
        loop {
            if let Some(record) = self.decoder.next_record()? {
                return Ok(record);
            }
            // Nothing is lost when this is given up: the read is cancel-safe and fed at once.
            self.received.clear();
            if self.connection.receive(&mut self.received).await? == 0 {
                return Err(PapaError::Closed);
            }
            self.decoder.feed(&self.received);
        }
    }
}

fn piece(is_stderr: bool, output: Output) -> Piece {
    Piece { is_stderr, time: output.timestamp, data: output.data }
}

fn refusal(record: Record) -> PapaError {
    match record {
        Record::Stopped(text) => {
            PapaError::Refused(text.strip_prefix("Error: ").unwrap_or(&text).to_owned())
        }
        other => PapaError::Refused(format!("unexpected record {other:?}")),
    }
}
