//! From the blocks of the kernel to the streams, each byte once.
//!
//! Knows how much of the output of one process is dealt with, keeps the kernel's note about it up to date,
//! and leaves out what comes again although it is written. See `stream::ledger` for what the note says.

use super::direct::Outputs;
use crate::papa::client::PapaError;
use crate::papa::watch::{Block, Piece, Watch};
use crate::stream::batch::Chunk;
use crate::stream::ledger::{Channel, Ledger};
use crate::stream::receipt::{Receipt, Step};
use crate::stream::writer::Writer;
use protocol::papa::Answer;
use tokio::sync::mpsc;

/// What is dealt with of the output of one process.
pub struct Delivery {
    pid: i32,
    ledger: Ledger,
    /// The end of a line is held back by its stream: stdout's, stderr's.
    held: [bool; 2],
    /// The next piece of a stream may begin with what that still holds.
    again: [bool; 2],
}

/// The stream was changed before it could write; the kernel has to send the block again.
struct GivenUp;

/// A block could not be delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The connection to the kernel.
    #[error(transparent)]
    Papa(#[from] PapaError),
    /// The stream did not take it.
    #[error("the stream gave its output back")]
    GivenUp,
}

impl From<GivenUp> for DeliveryError {
    fn from(_: GivenUp) -> Self {
        Self::GivenUp
    }
}

impl Delivery {
    /// Goes on where the note of a process says, or at its beginning.
    pub fn new(pid: i32, note: Option<&[u8]>) -> Self {
        let mut ledger = note.and_then(Ledger::from_note).unwrap_or_default();
        // Settled when circusd started; what is left comes from a stream that was given up since.
        drop(ledger.take_intent());
        Self { pid, ledger, held: [false; 2], again: [true; 2] }
    }

    /// A new connection sends everything again that was not acknowledged, from `offset` on. A kernel that
    /// does not tell offsets counts from 0 each time, so there all of it is taken.
    pub fn begin(&mut self, offset: Option<u64>) {
        self.again = [true; 2];
        self.held = [false; 2];
        match offset {
            Some(offset) => self.ledger.begin_at(offset),
            None => self.ledger = Ledger::default(),
        }
    }

    /// Writes a block to the streams and acknowledges what is dealt with. May take as long as the
    /// destination cannot be written.
    ///
    /// # Errors
    /// The block was not acknowledged, and comes again over a new connection.
    pub async fn deliver(
        &mut self,
        block: Block,
        outputs: &Outputs,
        watch: &mut Watch,
    ) -> Result<(), DeliveryError> {
        let (end, closed) = (block.end, block.closed.is_some());
        let writers = [&outputs.stdout, &outputs.stderr];
        let wanted = writers.map(Option::is_some);
        if let Some(recorder) = &outputs.recorder {
            for piece in &block.output {
                recorder.lost(self.missing(piece, wanted));
                recorder.note(piece.is_stderr, piece.time, self.fresh(piece));
            }
        }
        let chunks = self.split(block.output, end, wanted);
        for ((channel, chunks), writer) in Channel::BOTH.into_iter().zip(chunks).zip(writers) {
            let held = self.held[channel as usize];
            match writer {
                Some(writer) if !chunks.is_empty() || (closed && held) => {
                    let mut chunks = chunks;
                    if closed {
                        chunks.push(Chunk::end(self.pid, end));
                    }
                    let done = self.write(channel, chunks, writer, watch).await?;
                    // What belongs to the other stream, or to none, is none of this one's.
                    let last = done.1;
                    self.held[channel as usize] = done.0 < last;
                    if done.0 >= last {
                        self.ledger.advance(channel, end, None);
                    }
                }
                Some(_) if held => {}
                _ => self.ledger.advance(channel, end, None),
            }
        }
        let answer = if watch.is_exact() {
            Answer::AcknowledgeUpTo(self.ledger.settled(), self.ledger.to_note())
        } else {
            Answer::Acknowledge
        };
        Ok(watch.answer(&answer).await?)
    }

    /// What is not dealt with yet of a piece.
    fn fresh<'p>(&self, piece: &'p Piece) -> &'p [u8] {
        let written = self.ledger.done(channel_of(piece)).saturating_sub(piece.offset);
        let written = usize::try_from(written).unwrap_or(usize::MAX);
        piece.data.get(written..).unwrap_or_default()
    }

    /// Bytes that the kernel dropped before a piece. A part of them may have been written before.
    fn missing(&self, piece: &Piece, wanted: [bool; 2]) -> u64 {
        // What is written nowhere says nothing of how far the rest is.
        let wanted = Channel::BOTH.into_iter().zip(wanted).filter(|(_, wanted)| *wanted);
        let dealt_with = wanted.map(|(channel, _)| self.ledger.done(channel)).min();
        let dealt_with = dealt_with.unwrap_or_else(|| self.ledger.settled());
        piece.missing.min(piece.offset.saturating_sub(dealt_with))
    }

    /// The pieces of each stream that are not dealt with yet, up to `end`. Output that is missing is told to
    /// the next stream that is wanted.
    fn split(&mut self, output: Vec<Piece>, end: u64, wanted: [bool; 2]) -> [Vec<Chunk>; 2] {
        let mut chunks = [Vec::new(), Vec::new()];
        let mut missing = 0;
        for piece in output {
            let channel = channel_of(&piece);
            missing += self.missing(&piece, wanted);
            let written = piece.data.len() - self.fresh(&piece).len();
            let nothing_new = written == piece.data.len() && missing == 0;
            if nothing_new || !wanted[channel as usize] {
                continue;
            }
            let mut data = piece.data;
            data.drain(..written);
            chunks[channel as usize].push(Chunk {
                pid: self.pid,
                time: piece.time,
                offset: piece.offset + written as u64,
                missing: std::mem::take(&mut missing),
                again: std::mem::take(&mut self.again[channel as usize]),
                last: false,
                data,
            });
        }
        if missing > 0
            && let Some(list) =
                chunks.iter_mut().zip(wanted).find_map(|(list, wanted)| wanted.then_some(list))
        {
            list.push(Chunk { pid: self.pid, offset: end, missing, ..Chunk::default() });
        }
        chunks
    }

    /// Has pieces of one stream written. Returns up to where they are, and where they end.
    async fn write(
        &mut self,
        channel: Channel,
        chunks: Vec<Chunk>,
        writer: &Writer,
        watch: &mut Watch,
    ) -> Result<(u64, u64), DeliveryError> {
        let end = chunks.last().map_or(0, Chunk::end_offset);
        let (receipt, steps) = Receipt::new();
        // What cannot be acknowledged in parts must not be held back.
        writer.deliver(chunks, !watch.is_exact(), receipt).await;
        Ok((self.follow(channel, steps, watch).await?, end))
    }

    async fn follow(
        &mut self,
        channel: Channel,
        mut steps: mpsc::Receiver<Step>,
        watch: &mut Watch,
    ) -> Result<u64, DeliveryError> {
        loop {
            match steps.recv().await.ok_or(GivenUp)? {
                Step::Note { done, intent, noted } => {
                    self.ledger.advance(channel, done, intent);
                    if watch.is_exact() {
                        watch.answer(&Answer::Note(self.ledger.to_note())).await?;
                    }
                    // The writer may have been stopped meanwhile.
                    let _ = noted.send(());
                }
                Step::Written { done } => {
                    self.ledger.advance(channel, done, None);
                    return Ok(done);
                }
            }
        }
    }
}

fn channel_of(piece: &Piece) -> Channel {
    if piece.is_stderr { Channel::Stderr } else { Channel::Stdout }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(is_stderr: bool, offset: u64, data: &str) -> Piece {
        Piece { is_stderr, time: 0.0, offset, missing: 0, data: data.as_bytes().to_vec() }
    }

    fn shown(chunks: &[Chunk]) -> Vec<(u64, &str)> {
        chunks
            .iter()
            .map(|chunk| (chunk.offset, std::str::from_utf8(&chunk.data).unwrap()))
            .collect()
    }

    #[test]
    fn what_is_written_is_left_out_of_each_stream_by_itself() {
        let mut delivery = Delivery::new(7, Some(b"1 12 20"));
        let output = vec![
            piece(false, 8, "abcd"),
            piece(true, 12, "efgh"),
            piece(false, 16, "ijkl"),
            piece(true, 18, "mnop"),
        ];
        let [stdout, stderr] = delivery.split(output, 22, [true; 2]);
        assert_eq!(shown(&stdout), [(16, "ijkl")]);
        assert_eq!(shown(&stderr), [(20, "op")]);
        assert!(stdout[0].again && stderr[0].again);
    }

    #[test]
    fn what_was_written_before_a_gap_is_not_missing() {
        // Killed after the write and before the acknowledgement; the kernel has dropped that part since.
        let mut delivery = Delivery::new(7, Some(b"1 6 0"));
        let output = vec![Piece { missing: 100, ..piece(false, 100, "abcd") }];
        let [stdout, _] = delivery.split(output.clone(), 104, [true, false]);
        assert_eq!(stdout[0].missing, 94);
        let [stdout, _] = delivery.split(output, 104, [true; 2]);
        assert_eq!(stdout[0].missing, 100, "stderr may have been among it");
    }

    #[test]
    fn a_kernel_that_tells_no_offsets_is_taken_at_its_word() {
        let mut delivery = Delivery::new(7, None);
        delivery.begin(None);
        delivery.ledger.advance(Channel::Stdout, 100, None);
        delivery.begin(None);
        let [stdout, _] = delivery.split(vec![piece(false, 0, "again")], 5, [true; 2]);
        assert_eq!(shown(&stdout), [(0, "again")]);
    }

    #[test]
    fn what_was_dropped_counts_only_as_far_as_it_was_not_written() {
        let mut delivery = Delivery::new(7, Some(b"1 60 80"));
        let after = Piece { missing: 50, ..piece(false, 100, "x") };
        let [stdout, stderr] = delivery.split(vec![after.clone()], 101, [true; 2]);
        assert_eq!((stdout[0].missing, stderr.len()), (40, 0));
        let [stdout, stderr] = delivery.split(vec![after], 101, [false, true]);
        assert_eq!((stdout.len(), stderr[0].missing, stderr[0].offset), (0, 20, 101));
    }
}
