//! Following one process: blocks of output in, acknowledgements out.
//!
//! Stop and wait: the kernel sends the next block after this one was acknowledged, and keeps it until then.

use super::client::PapaError;
use super::connection::Connection;
use protocol::papa::{Answer, BlockDecoder, Command, Form, Output, Pattern, Record};

/// The largest record that is taken, in bytes; the kernel reads pipes in far smaller pieces.
const MAX_RECORD: usize = 64 * 1024 * 1024;

/// A piece of output.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// It came over stderr.
    pub is_stderr: bool,
    /// When the kernel read it, in seconds since the epoch.
    pub time: f64,
    /// Bytes that the process had printed before it, if the kernel tells.
    pub offset: u64,
    /// Bytes before it that the kernel had to drop.
    pub missing: u64,
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
    /// Bytes that the process had printed at its end.
    pub end: u64,
}

/// A connection that follows a process.
pub struct Watch {
    connection: Connection,
    decoder: BlockDecoder,
    block: Block,
    received: Vec<u8>,
    /// Bytes that the process had printed before what comes next, if the kernel tells.
    offset: u64,
    /// Dropped before what comes next.
    missing: u64,
    exact: bool,
}

impl Watch {
    /// Asks the kernel to follow `process` on this connection. A kernel that knows the exact form keeps
    /// notes and tells offsets.
    ///
    /// # Errors
    /// [`PapaError::Refused`] when the kernel does not have it.
    pub async fn begin(mut connection: Connection, process: &str) -> Result<Self, PapaError> {
        let form = connection.form();
        let exact = form == Form::Exact;
        let command = match form {
            Form::Exact => Command::Follow(process.to_owned()),
            Form::Classic => Command::Watch(vec![Pattern(process.to_owned())]),
        };
        connection.send(&command.to_line(form)).await?;
        let mut decoder = BlockDecoder::new(form, MAX_RECORD);
        decoder.feed(&connection.take_rest());
        let mut watch = Self {
            connection,
            decoder,
            block: Block::default(),
            received: Vec::new(),
            offset: 0,
            missing: 0,
            exact,
        };
        match watch.record().await? {
            Record::Watching(_) => {}
            Record::Following { offset, .. } => watch.offset = offset,
            other => return Err(refusal(other)),
        }
        Ok(watch)
    }

    /// The kernel keeps notes, and parts of a block can be acknowledged.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// Bytes that the process had printed before what comes next.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next block. May be given up while it waits: what has come so far is kept.
    ///
    /// # Errors
    /// [`PapaError`]; the connection is of no use after that.
    pub async fn next(&mut self) -> Result<Block, PapaError> {
        loop {
            match self.record().await? {
                Record::Out(output) => self.take(false, output),
                Record::Err(output) => self.take(true, output),
                Record::Closed { code, .. } => self.block.closed = Some(code),
                Record::Dropped { bytes, .. } => {
                    self.missing += bytes;
                    self.offset += bytes;
                }
                Record::EndOfBlock => {
                    self.block.end = self.offset;
                    return Ok(std::mem::take(&mut self.block));
                }
                other => return Err(refusal(other)),
            }
        }
    }

    fn take(&mut self, is_stderr: bool, output: Output) {
        let Output { timestamp: time, data, .. } = output;
        let (offset, missing) = (self.offset, std::mem::take(&mut self.missing));
        self.offset += data.len() as u64;
        self.block.output.push(Piece { is_stderr, time, offset, missing, data });
    }

    /// Answers a block, or keeps a note beside the process.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn answer(&mut self, answer: &Answer) -> Result<(), PapaError> {
        let mut line = Vec::new();
        answer.print(&mut line);
        self.connection.send(&line).await
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

fn refusal(record: Record) -> PapaError {
    match record {
        Record::Stopped(text) => {
            PapaError::Refused(text.strip_prefix("Error: ").unwrap_or(&text).to_owned())
        }
        other => PapaError::Refused(format!("unexpected record {other:?}")),
    }
}
