//! Line prefixes: `<time> [<pid>] | ` before every line of a process (`time_format`).
//!
//! Pieces are put together to lines per process, so that a line that arrives in parts gets one prefix and
//! lines of different processes do not mix. The time is that of the line's first piece.

use super::batch::{Chunk, gap_line};
use super::text::Text;
use jiff::fmt::strtime::{BrokenDownTime, Config, PosixCustom};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::collections::HashMap;

/// The longest unfinished line that is held back, in bytes; a longer one is written in parts.
const MAX_HELD: usize = 256 * 1024;

/// Times in a strftime format.
pub struct TimeFormat {
    format: String,
    zone: TimeZone,
    /// What the last second looks like, since lines come in bursts.
    cached: Option<(i64, String)>,
    /// The format shows parts of a second, so the cache is of no use.
    fractional: bool,
}

/// The `time_format` cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("time_format `{format}` is not a strftime format: {reason}")]
pub struct BadFormat {
    format: String,
    reason: String,
}

impl TimeFormat {
    /// Times in local time.
    ///
    /// # Errors
    /// [`BadFormat`] when the format has a directive that does not exist.
    pub fn new(format: &str) -> Result<Self, BadFormat> {
        Self::in_zone(format, TimeZone::system())
    }

    fn in_zone(format: &str, zone: TimeZone) -> Result<Self, BadFormat> {
        let format = microseconds(format);
        let probe = Zoned::new(Timestamp::UNIX_EPOCH, zone.clone());
        if let Err(error) = print(&format, &probe) {
            return Err(BadFormat { format, reason: error.to_string() });
        }
        let fractional = format.contains("%6f") || format.contains("%N") || format.contains("%.");
        Ok(Self { format, zone, cached: None, fractional })
    }

    /// A time, given in seconds since the epoch.
    pub fn show(&mut self, time: f64) -> &str {
        #[expect(clippy::cast_possible_truncation, reason = "seconds since the epoch fit")]
        let second = time.floor() as i64;
        let known = self.cached.take().filter(|(cached, _)| *cached == second && !self.fractional);
        let shown = known.map(|(_, shown)| shown);
        let shown = shown.unwrap_or_else(|| {
            #[expect(clippy::cast_possible_truncation, reason = "parts of a second fit")]
            let microsecond = ((time - time.floor()) * 1e6) as i32;
            let moment =
                Timestamp::new(second, microsecond * 1000).unwrap_or(Timestamp::UNIX_EPOCH);
            // The format was tried when it was read.
            print(&self.format, &Zoned::new(moment, self.zone.clone())).unwrap_or_default()
        });
        &self.cached.insert((second, shown)).1
    }
}

/// A line, or a part of one that is not held back any longer.
pub struct Line<'a> {
    /// The process.
    pub pid: i32,
    /// When its first piece was read, in seconds since the epoch.
    pub time: f64,
    /// The bytes, with the line feed if it is whole.
    pub data: &'a [u8],
    /// The [`Chunk::offset`] after it.
    pub end: u64,
}

/// Puts pieces together to lines.
#[derive(Default)]
pub struct Lines {
    held: HashMap<i32, Held>,
}

struct Held {
    time: f64,
    /// The [`Chunk::offset`]s where the line begins, and where its last piece ends.
    begin: u64,
    end: u64,
    data: Vec<u8>,
}

impl Held {
    fn line(&self, pid: i32) -> Line<'_> {
        Line { pid, time: self.time, data: &self.data, end: self.end }
    }
}

impl Lines {
    /// Gives the lines of `chunk` to `take`; an unfinished one at its end is held back.
    pub fn push(&mut self, chunk: &Chunk, mut take: impl FnMut(Line<'_>)) {
        if chunk.again {
            // What was held back is part of what comes again.
            self.held.remove(&chunk.pid);
        }
        let mut begin = 0;
        for feed in memchr::memchr_iter(b'\n', &chunk.data) {
            let data = chunk.data.get(begin..=feed).unwrap_or_default();
            let end = chunk.offset + feed as u64 + 1;
            match self.held.remove(&chunk.pid) {
                Some(mut held) => {
                    held.data.extend_from_slice(data);
                    take(Line { end, ..held.line(chunk.pid) });
                }
                None => take(Line { pid: chunk.pid, time: chunk.time, data, end }),
            }
            begin = feed + 1;
        }
        let rest = chunk.data.get(begin..).unwrap_or_default();
        if !rest.is_empty() {
            let held = self.held.entry(chunk.pid).or_insert_with(|| Held {
                time: chunk.time,
                begin: chunk.offset + begin as u64,
                end: 0,
                data: Vec::new(),
            });
            held.data.extend_from_slice(rest);
            held.end = chunk.end_offset();
            if held.data.len() > MAX_HELD {
                self.release(chunk.pid, &mut take);
            }
        }
        if chunk.last {
            self.release(chunk.pid, &mut take);
        }
    }

    /// Gives the unfinished line of a process to `take`.
    pub fn release(&mut self, pid: i32, mut take: impl FnMut(Line<'_>)) {
        if let Some(held) = self.held.remove(&pid) {
            take(held.line(pid));
        }
    }

    /// Gives all unfinished lines to `take`.
    pub fn finish(&mut self, mut take: impl FnMut(Line<'_>)) {
        let mut pids: Vec<i32> = self.held.keys().copied().collect();
        pids.sort_unstable();
        for pid in pids {
            self.release(pid, &mut take);
        }
    }

    /// The [`Chunk::offset`] where the unfinished line of a process begins.
    pub fn held_from(&self, pid: i32) -> Option<u64> {
        self.held.get(&pid).map(|held| held.begin)
    }
}

/// Puts prefixes before lines.
pub struct Prefixer {
    lines: Lines,
    writer: PrefixWriter,
}

struct PrefixWriter {
    time: TimeFormat,
    /// The process whose unfinished line is the last thing written.
    open_line: Option<i32>,
}

impl Prefixer {
    /// A prefixer for this strftime format in local time.
    ///
    /// # Errors
    /// [`BadFormat`] when the format has a directive that does not exist.
    pub fn new(format: &str) -> Result<Self, BadFormat> {
        Ok(Self::with(TimeFormat::new(format)?))
    }

    fn with(time: TimeFormat) -> Self {
        Self { lines: Lines::default(), writer: PrefixWriter { time, open_line: None } }
    }

    /// Appends the lines of `chunk` to `out`; an unfinished one at its end is held back until it is
    /// finished, or until its process has ended.
    pub fn push(&mut self, chunk: &Chunk, out: &mut Text) {
        let Self { lines, writer } = self;
        if chunk.missing > 0 {
            lines.release(chunk.pid, |line| writer.line(&line, out));
            let Chunk { pid, time, offset, missing, .. } = *chunk;
            writer.gap(pid, time, offset, missing, out);
        }
        lines.push(chunk, |line| writer.line(&line, out));
        if chunk.last && writer.open_line == Some(chunk.pid) {
            writer.end_line(out);
        }
    }

    /// Appends the unfinished lines. What comes next from the same process goes on in the same line.
    pub fn finish(&mut self, out: &mut Text) {
        let Self { lines, writer } = self;
        lines.finish(|line| writer.line(&line, out));
    }

    /// Appends a line of circusd's own that says how many bytes are missing.
    pub fn gap(&mut self, time: f64, missing: u64, out: &mut Text) {
        self.finish(out);
        self.writer.gap(std::process::id().cast_signed(), time, 0, missing, out);
    }

    /// The [`Chunk::offset`] where the unfinished line of a process begins, if one is held back.
    pub fn held_from(&self, pid: i32) -> Option<u64> {
        self.lines.held_from(pid)
    }
}

impl PrefixWriter {
    fn gap(&mut self, pid: i32, time: f64, end: u64, missing: u64, out: &mut Text) {
        self.end_line(out);
        self.line(&Line { pid, time, data: gap_line(missing).as_bytes(), end }, out);
    }

    fn line(&mut self, line: &Line<'_>, out: &mut Text) {
        if self.open_line != Some(line.pid) {
            // Another process' unfinished line must not run into this one.
            self.end_line(out);
            let shown = self.time.show(line.time).as_bytes();
            out.bytes.extend_from_slice(shown);
            out.bytes.extend_from_slice(format!(" [{}] | ", line.pid).as_bytes());
        }
        out.bytes.extend_from_slice(line.data);
        self.open_line = (!line.data.ends_with(b"\n")).then_some(line.pid);
        out.end_piece(line.end);
    }

    fn end_line(&mut self, out: &mut Text) {
        if self.open_line.take().is_some() {
            out.bytes.push(b'\n');
            out.extend_piece();
        }
    }
}

/// Python's `%f` is always six digits, jiff's as many as there are.
fn microseconds(format: &str) -> String {
    let mut translated = String::with_capacity(format.len());
    let mut rest = format.chars();
    while let Some(character) = rest.next() {
        translated.push(character);
        if character == '%' {
            match rest.next() {
                Some('f') => translated.push_str("6f"),
                Some(directive) => translated.push(directive),
                None => {}
            }
        }
    }
    translated
}

/// The time in words that do not depend on a language: `%c`, `%x` and `%X` are those of the C locale.
fn print(format: &str, time: &Zoned) -> Result<String, jiff::Error> {
    let config = Config::new().custom(PosixCustom::new());
    BrokenDownTime::from(time).to_string_with_config(&config, format)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(pid: i32, data: &str) -> Chunk {
        Chunk { pid, time: 0.25, data: data.as_bytes().to_vec(), ..Chunk::default() }
    }

    fn prefixer(format: &str) -> Prefixer {
        Prefixer::with(TimeFormat::in_zone(format, TimeZone::UTC).unwrap())
    }

    fn run(chunks: &[Chunk], finish: bool) -> String {
        let mut prefixer = prefixer("%H:%M:%S");
        let mut out = Text::default();
        for chunk in chunks {
            prefixer.push(chunk, &mut out);
        }
        if finish {
            prefixer.finish(&mut out);
        }
        assert_eq!(out.pieces.last().map_or(0, |piece| piece.end), out.bytes.len());
        String::from_utf8(out.bytes).unwrap()
    }

    #[test]
    fn every_line_gets_one_prefix() {
        let out = run(&[chunk(7, "one\n\ntwo\n")], false);
        assert_eq!(out, "00:00:00 [7] | one\n00:00:00 [7] | \n00:00:00 [7] | two\n");
    }

    #[test]
    fn a_line_in_parts_is_put_together() {
        let out = run(&[chunk(7, "par"), chunk(8, "x\n"), chunk(7, "tial\n")], false);
        assert_eq!(out, "00:00:00 [8] | x\n00:00:00 [7] | partial\n");
    }

    #[test]
    fn an_unfinished_line_is_written_when_asked_and_goes_on_afterwards() {
        let mut prefixer = prefixer("%S");
        let mut out = Text::default();
        prefixer.push(&chunk(7, "par"), &mut out);
        prefixer.finish(&mut out);
        prefixer.push(&chunk(7, "tial\n"), &mut out);
        assert_eq!(String::from_utf8(out.bytes).unwrap(), "00 [7] | partial\n");
    }

    #[test]
    fn another_process_does_not_run_into_an_unfinished_line() {
        let mut prefixer = prefixer("%S");
        let mut out = Text::default();
        prefixer.push(&chunk(7, "par"), &mut out);
        prefixer.finish(&mut out);
        prefixer.push(&chunk(8, "x\n"), &mut out);
        assert_eq!(String::from_utf8(out.bytes).unwrap(), "00 [7] | par\n00 [8] | x\n");
    }

    #[test]
    fn the_end_of_a_process_ends_its_line() {
        let out = run(&[chunk(7, "a\nno end"), Chunk::end(7, 0), chunk(8, "x\n")], false);
        assert_eq!(out, "00:00:00 [7] | a\n00:00:00 [7] | no end\n00:00:00 [8] | x\n");
    }

    #[test]
    fn what_is_missing_has_a_line_of_its_own() {
        let after = Chunk { missing: 12, ..chunk(7, "rest\n") };
        let out = run(&[chunk(7, "begin"), after], false);
        let gap = "circusd: 12 bytes of output are missing here";
        let lines: Vec<&str> = out.lines().map(|line| &line["00:00:00 [7] | ".len()..]).collect();
        assert_eq!(lines, ["begin", gap, "rest"]);
    }

    #[test]
    fn pieces_end_where_lines_do_and_know_how_far_the_output_is_in() {
        let mut prefixer = prefixer("T");
        let mut out = Text::default();
        let piece = |offset, data: &str| Chunk { offset, ..chunk(7, data) };
        prefixer.push(&piece(100, "ab\ncd"), &mut out);
        assert_eq!(prefixer.held_from(7), Some(103));
        // Five bytes of stderr lie between.
        prefixer.push(&piece(110, "ef\ng"), &mut out);
        assert_eq!(prefixer.held_from(7), Some(113));
        let pieces: Vec<_> = out.pieces.iter().map(|piece| (piece.end, piece.mark)).collect();
        assert_eq!(pieces, [(11, 103), (24, 113)]);
    }

    #[test]
    fn a_format_means_what_it_means_to_python() {
        let shown = |format: &str| {
            let mut prefixer = prefixer(format);
            let mut out = Text::default();
            let time = 86_400.003_673_553;
            prefixer.push(&Chunk { time, ..chunk(7, "x\n") }, &mut out);
            String::from_utf8(out.bytes).unwrap()
        };
        assert_eq!(shown("%S.%f"), "00.003673 [7] | x\n");
        assert_eq!(shown("%%f %c"), "%f Fri Jan  2 00:00:00 1970 [7] | x\n");
        assert_eq!(shown("%x %X"), "01/02/70 00:00:00 [7] | x\n");
    }

    #[test]
    fn a_bad_format_is_refused() {
        assert!(Prefixer::new("%Y %!").is_err());
    }
}
