//! A stream to a file: formats output, keeps what cannot be written, rotates.
//!
//! Output waits here in pieces. As many as the file may take go to it in one write; a piece of which only a
//! part found room on the disk is taken back, so a file ends with a whole piece whatever happens.

use super::super::batch::{Chunk, gap_line};
use super::super::options::Options;
use super::super::prefix::Prefixer;
use super::super::sink::{BatchId, ExactSink, MAX_WAITING, Progress, Sink, StreamError, Turn};
use super::super::text::{Piece, Text};
use super::backups::{self, Limit};
use super::log_file::{self, LogFile, SharedLogFile};
use super::timed::Schedule;
use crate::event_bus::epoch_seconds;
use indexmap::IndexMap;
use jiff::tz::TimeZone;
use std::collections::VecDeque;
use std::io;
use tracing::warn;

/// A stream to a log file.
pub struct FileStream {
    pub(super) file: SharedLogFile,
    prefixer: Option<Prefixer>,
    rotation: Rotation,
    /// A file that was moved away is left to whoever moved it.
    follow: bool,
    pub(super) waiting: VecDeque<Segment>,
    /// How many bytes are about to be written.
    pub(super) planned: usize,
    /// Batches of which nothing has to be written.
    pub(super) settled: Vec<Progress>,
    /// Bytes of output that found no room since the last gap was marked.
    lost: u64,
    /// All that was lost and not yet told by [`Sink::take_lost`].
    untold: u64,
    /// What was taken last ends with a line.
    ends_line: bool,
    /// A failed rotation has been reported.
    cannot_rotate: bool,
}

/// When the file is renamed and a new one begun.
enum Rotation {
    Never,
    BySize(Limit),
    ByTime(Schedule),
}

/// Output that was taken at once.
pub(super) struct Segment {
    pub(super) text: Text,
    /// Bytes that have been written.
    pub(super) written: usize,
    /// The batch that it belongs to, and up to where that is dealt with once all of it is written.
    pub(super) batch: Option<(BatchId, u64)>,
}

impl FileStream {
    /// `FileStream`. The file is opened with the first output, if not before.
    ///
    /// # Errors
    /// [`StreamError`] names the option.
    pub fn from_options(options: &IndexMap<String, String>) -> Result<Self, StreamError> {
        let options = Options(options);
        let max_bytes = options.number("max_bytes")?;
        let backups = u32::try_from(options.number("backup_count")?).unwrap_or(u32::MAX);
        // With no backups the file grows for ever, as in the original.
        let limited = max_bytes > 0 && backups > 0;
        let limit = limited.then_some(Rotation::BySize(Limit { max_bytes, backups }));
        Self::new(&options, limit.unwrap_or(Rotation::Never), false)
    }

    /// `WatchedFileStream`: a file that was moved away is made again.
    ///
    /// # Errors
    /// [`StreamError`] names the option.
    pub fn watched(options: &IndexMap<String, String>) -> Result<Self, StreamError> {
        Self::new(&Options(options), Rotation::Never, true)
    }

    /// `TimedRotatingFileStream`.
    ///
    /// # Errors
    /// [`StreamError`] names the option.
    pub fn timed(options: &IndexMap<String, String>) -> Result<Self, StreamError> {
        let options = Options(options);
        let when = options.text("rotate_when").unwrap_or_default();
        let interval = options.text("rotate_interval").map(|_| options.number("rotate_interval"));
        let interval = interval.transpose()?.unwrap_or(1);
        let zone = if options.text("utc").is_some_and(is_true) {
            TimeZone::UTC
        } else {
            TimeZone::system()
        };
        let backups = options.number("backup_count")?;
        let file = log_file::shared(&options.filename()?);
        let base = file.lock().modified().unwrap_or_else(now);
        let schedule = Schedule::new(when, interval, zone, backups, base);
        let expected = "S, M, H, D, MIDNIGHT, or W0 (Monday) to W6";
        let schedule = schedule.ok_or_else(|| options.bad("rotate_when", expected))?;
        Self::new(&options, Rotation::ByTime(schedule), false)
    }

    fn new(options: &Options<'_>, rotation: Rotation, follow: bool) -> Result<Self, StreamError> {
        Ok(Self {
            file: log_file::shared(&options.filename()?),
            prefixer: options.prefixer()?,
            rotation,
            follow,
            waiting: VecDeque::new(),
            planned: 0,
            settled: Vec::new(),
            lost: 0,
            untold: 0,
            ends_line: true,
            cannot_rotate: false,
        })
    }

    /// Takes output in. What finds no room any more is counted, and marked where it would have stood.
    pub(super) fn take(&mut self, chunks: &[Chunk], finish: bool) {
        let mut text = Text::default();
        let mut waiting = self.waiting.iter().map(Segment::len).sum::<usize>();
        for chunk in chunks {
            if waiting + text.bytes.len() > MAX_WAITING {
                self.lost += chunk.data.len() as u64;
                self.untold += chunk.data.len() as u64;
                continue;
            }
            self.mark_gap(&mut text);
            self.format(chunk, &mut text);
        }
        if let Some(prefixer) = self.prefixer.as_mut().filter(|_| finish) {
            prefixer.finish(&mut text);
        }
        waiting += text.bytes.len();
        if waiting == 0 {
            self.mark_gap(&mut text);
        }
        self.queue(text, None);
    }

    /// Takes in the output of a batch, all of it. Returns up to where the batch is dealt with if nothing of
    /// it has to be written.
    pub(super) fn take_batch(
        &mut self,
        batch: BatchId,
        chunks: &[Chunk],
        finish: bool,
    ) -> Option<u64> {
        let mut text = Text::default();
        self.mark_gap(&mut text);
        for chunk in chunks {
            self.format(chunk, &mut text);
        }
        if let Some(prefixer) = self.prefixer.as_mut().filter(|_| finish) {
            prefixer.finish(&mut text);
        }
        let last = chunks.last();
        let held = last.and_then(|chunk| self.prefixer.as_ref()?.held_from(chunk.pid));
        let done = held.unwrap_or_else(|| last.map_or(0, Chunk::end_offset));
        let idle = text.bytes.is_empty();
        self.queue(text, Some((batch, done)));
        idle.then_some(done)
    }

    fn queue(&mut self, text: Text, batch: Option<(BatchId, u64)>) {
        if let Some(last) = text.bytes.last() {
            self.ends_line = *last == b'\n';
            self.waiting.push_back(Segment { text, written: 0, batch });
        }
    }

    fn format(&mut self, chunk: &Chunk, text: &mut Text) {
        if let Some(prefixer) = &mut self.prefixer {
            return prefixer.push(chunk, text);
        }
        if chunk.missing > 0 {
            self.put_gap(chunk.missing, chunk.offset, text);
        }
        if matches!(self.rotation, Rotation::BySize(_)) {
            let mut begin = 0;
            for feed in memchr::memchr_iter(b'\n', &chunk.data) {
                text.bytes.extend_from_slice(chunk.data.get(begin..=feed).unwrap_or_default());
                begin = feed + 1;
                text.end_piece(chunk.offset + begin as u64);
            }
            text.bytes.extend_from_slice(chunk.data.get(begin..).unwrap_or_default());
        } else {
            text.bytes.extend_from_slice(&chunk.data);
        }
        text.end_piece(chunk.end_offset());
    }

    /// Puts a line in the place of output that was lost here.
    fn mark_gap(&mut self, text: &mut Text) {
        match (std::mem::take(&mut self.lost), &mut self.prefixer) {
            (0, _) => {}
            (lost, Some(prefixer)) => prefixer.gap(epoch_seconds(), lost, text),
            (lost, None) => self.put_gap(lost, 0, text),
        }
    }

    fn put_gap(&self, missing: u64, mark: u64, text: &mut Text) {
        if !text.bytes.last().map_or(self.ends_line, |last| *last == b'\n') {
            text.bytes.push(b'\n');
        }
        text.bytes.extend_from_slice(gap_line(missing).as_bytes());
        text.end_piece(mark);
    }

    /// Decides how much goes to the file now. False: nothing waits.
    pub(super) fn begin(&mut self) -> io::Result<bool> {
        if self.waiting.is_empty() && self.lost > 0 {
            let mut text = Text::default();
            self.mark_gap(&mut text);
            self.queue(text, None);
        }
        if self.waiting.is_empty() {
            return Ok(false);
        }
        let shared = self.file.clone();
        self.planned = self.ready(&mut shared.lock())?;
        Ok(true)
    }

    /// Makes the file ready for what comes next, rotating if it is time. Returns how many bytes may go to
    /// it, which is never none.
    fn ready(&mut self, file: &mut LogFile) -> io::Result<usize> {
        file.ready(self.follow)?;
        let all: usize = self.waiting.iter().map(Segment::len).sum();
        if !file.is_regular() {
            return Ok(all);
        }
        if let Rotation::ByTime(schedule) = &mut self.rotation {
            schedule.note_rotation(file.rotated);
        }
        let room = match &self.rotation {
            Rotation::Never => return Ok(all),
            Rotation::ByTime(schedule) if !schedule.is_due(now()) => return Ok(all),
            Rotation::ByTime(_) => 0,
            Rotation::BySize(limit) => self.fitting(*limit, file.size(), file.ends_line()),
        };
        if room > 0 {
            return Ok(room);
        }
        file.close();
        let rotated = match &mut self.rotation {
            Rotation::Never => Ok(()),
            Rotation::BySize(limit) => backups::shift(file.path(), limit.backups),
            Rotation::ByTime(schedule) => schedule.rotate(file.path(), now()),
        };
        if let (Err(error), false) = (&rotated, self.cannot_rotate) {
            // Better a file that is too large than no output.
            warn!("log file `{}` cannot be rotated and grows: {error}", file.path().display());
        }
        self.cannot_rotate = rotated.is_err();
        file.rotated = Some(now());
        file.ready(self.follow)?;
        Ok(match &self.rotation {
            Rotation::BySize(limit) if !self.cannot_rotate => {
                self.fitting(*limit, file.size(), file.ends_line())
            }
            _ => all,
        })
    }

    /// How many bytes of whole pieces fit below the limit. A piece that would fit into no file goes into
    /// an empty one, and a line is not torn by rotation unless it is longer than the limit.
    fn fitting(&self, limit: Limit, size: u64, ends_line: bool) -> usize {
        let (mut fitting, mut begins_line) = (0, ends_line);
        for (begin, piece, bytes) in self.waiting.iter().flat_map(Segment::pieces) {
            let before = size + fitting as u64;
            let after = before + (piece.end - begin) as u64;
            let full = after >= limit.max_bytes
                && (begins_line || after >= limit.max_bytes.saturating_mul(2));
            if before > 0 && full {
                break;
            }
            fitting += piece.end - begin;
            begins_line = bytes.get(piece.end - 1) == Some(&b'\n');
        }
        fitting
    }

    /// Writes what [`Self::begin`] decided; what could not be written goes on waiting.
    pub(super) fn write_stretch(&mut self) -> (Vec<Progress>, io::Result<()>) {
        let shared = self.file.clone();
        let (mut file, length) = (shared.lock(), std::mem::take(&mut self.planned));
        let (mut written, mut result) = (0, Ok(()));
        for segment in &self.waiting {
            let rest = segment.text.bytes.get(segment.written..).unwrap_or_default();
            let rest = rest.get(..length - written).unwrap_or(rest);
            let (count, outcome) = file.append(rest);
            written += count;
            if outcome.is_err() || written == length {
                result = outcome;
                break;
            }
        }
        if result.is_err() {
            let torn = written - self.whole_pieces(written);
            if torn > 0 && file.take_back(torn) {
                written -= torn;
            }
        }
        (self.advance(written), result)
    }

    /// How many of the next `bytes` belong to whole pieces.
    fn whole_pieces(&self, bytes: usize) -> usize {
        let mut whole = 0;
        for (begin, piece, _) in self.waiting.iter().flat_map(Segment::pieces) {
            if whole + piece.end - begin > bytes {
                break;
            }
            whole += piece.end - begin;
        }
        whole
    }

    /// Lets go of bytes that have been written. Returns what that means for batches.
    fn advance(&mut self, mut bytes: usize) -> Vec<Progress> {
        let mut progress = Vec::new();
        while let Some(segment) = self.waiting.front_mut().filter(|_| bytes > 0) {
            let (part, rest) = (bytes.min(segment.len()), segment.len());
            if let Some((batch, _)) = segment.batch {
                let done = segment.mark_after(part);
                progress.push(Progress { batch, done, complete: part == rest });
            }
            bytes -= part;
            segment.written += part;
            if part == rest {
                self.waiting.pop_front();
            }
        }
        progress
    }
}

impl Segment {
    /// Bytes that are still to be written.
    pub(super) fn len(&self) -> usize {
        self.text.bytes.len() - self.written
    }

    /// The offset in the output of the process up to which everything is written after the next `bytes`.
    pub(super) fn mark_after(&self, bytes: usize) -> u64 {
        let end = self.written + bytes;
        match self.batch {
            Some((_, done)) if end == self.text.bytes.len() => done,
            _ => {
                let whole = self.text.pieces.iter().take_while(|piece| piece.end <= end);
                whole.map(|piece| piece.mark).max().unwrap_or(0)
            }
        }
    }

    /// The pieces that are still to be written: where each begins, the piece, and all bytes.
    fn pieces(&self) -> impl Iterator<Item = (usize, Piece, &[u8])> {
        let mut begin = self.written;
        let pending = self.text.pieces.iter().filter(move |piece| piece.end > self.written);
        pending.map(move |piece| {
            (std::mem::replace(&mut begin, piece.end), *piece, self.text.bytes.as_slice())
        })
    }
}

impl Sink for FileStream {
    fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.untold)
    }

    fn write(&mut self, chunks: &[Chunk], finish: bool) -> io::Result<()> {
        self.take(chunks, finish);
        while self.begin()? {
            self.write_stretch().1?;
        }
        Ok(())
    }

    fn turn(&self) -> Option<Turn> {
        Some(self.file.turn.clone())
    }

    fn exact(&mut self) -> Option<&mut dyn ExactSink> {
        Some(self)
    }

    fn open(&mut self) -> Result<(), StreamError> {
        let mut file = self.file.lock();
        let path = file.path().display().to_string();
        file.ready(self.follow).map_err(|source| StreamError::Open { path, source })
    }

    fn close(&mut self) {
        self.file.lock().close();
    }
}

/// Seconds since the epoch.
fn now() -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "seconds since the epoch fit")]
    let seconds = epoch_seconds() as i64;
    seconds
}

/// What an ini file calls true.
fn is_true(text: &str) -> bool {
    ["1", "yes", "true", "on"].contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
