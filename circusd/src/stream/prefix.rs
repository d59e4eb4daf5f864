//! Line prefixes: `<time> [<pid>] | ` before every line of a process (`time_format`).
//!
//! Pieces are put together to lines per process, so that a line that arrives in parts gets one prefix and
//! lines of different processes do not mix. The time is that of the line's first piece.

use super::batch::Chunk;
use jiff::fmt::strtime::{BrokenDownTime, Config, PosixCustom};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::collections::HashMap;

/// The longest unfinished line that is held back, in bytes; a longer one is written in parts.
const MAX_HELD: usize = 256 * 1024;

/// Puts prefixes before lines.
pub struct Prefixer {
    format: String,
    zone: TimeZone,
    /// The prefix time of the last second, since lines come in bursts.
    cached: Option<(i64, String)>,
    /// The format shows parts of a second, so the cache is of no use.
    fractional: bool,
    held: HashMap<i32, Held>,
    /// The process whose unfinished line is the last thing written.
    open_line: Option<i32>,
}

struct Held {
    time: f64,
    data: Vec<u8>,
}

/// The `time_format` cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("time_format `{format}` is not a strftime format: {reason}")]
pub struct BadFormat {
    format: String,
    reason: String,
}

impl Prefixer {
    /// A prefixer for this strftime format in local time.
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
        Ok(Self {
            fractional: format.contains("%6f") || format.contains("%N") || format.contains("%."),
            format,
            zone,
            cached: None,
            held: HashMap::new(),
            open_line: None,
        })
    }

    /// Appends the lines of `chunk` to `out`; an unfinished one at its end is held back.
    pub fn push(&mut self, chunk: &Chunk, out: &mut Vec<u8>) {
        let mut rest = chunk.data.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end + 1);
            self.line(chunk, line, out);
            rest = after;
        }
        if !rest.is_empty() {
            let held = self
                .held
                .entry(chunk.pid)
                .or_insert_with(|| Held { time: chunk.time, data: Vec::new() });
            held.data.extend_from_slice(rest);
            if held.data.len() > MAX_HELD {
                self.flush(chunk.pid, out);
            }
        }
    }

    /// Appends the unfinished lines. What comes next from the same process goes on in the same line.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let mut pids: Vec<i32> = self.held.keys().copied().collect();
        pids.sort_unstable();
        for pid in pids {
            self.flush(pid, out);
        }
    }

    fn line(&mut self, chunk: &Chunk, line: &[u8], out: &mut Vec<u8>) {
        match self.held.remove(&chunk.pid) {
            Some(held) => {
                self.begin_line(chunk.pid, held.time, out);
                out.extend_from_slice(&held.data);
            }
            None => self.begin_line(chunk.pid, chunk.time, out),
        }
        out.extend_from_slice(line);
        self.open_line = None;
    }

    fn flush(&mut self, pid: i32, out: &mut Vec<u8>) {
        let Some(held) = self.held.remove(&pid) else { return };
        self.begin_line(pid, held.time, out);
        out.extend_from_slice(&held.data);
        self.open_line = Some(pid);
    }

    fn begin_line(&mut self, pid: i32, time: f64, out: &mut Vec<u8>) {
        match self.open_line {
            Some(open) if open == pid => return,
            // Another process' unfinished line must not run into this one.
            Some(_) => out.push(b'\n'),
            None => {}
        }
        let shown = self.time(time);
        out.extend_from_slice(format!("{shown} [{pid}] | ").as_bytes());
    }

    fn time(&mut self, time: f64) -> String {
        #[expect(clippy::cast_possible_truncation, reason = "seconds since the epoch fit")]
        let second = time.floor() as i64;
        if let Some((cached, shown)) = &self.cached
            && *cached == second
            && !self.fractional
        {
            return shown.clone();
        }
        #[expect(clippy::cast_possible_truncation, reason = "a fraction of a second fits")]
        let nanos = ((time - time.floor()) * 1e9) as i32;
        let stamp = Timestamp::new(second, nanos).unwrap_or(Timestamp::UNIX_EPOCH);
        let zoned = Zoned::new(stamp, self.zone.clone());
        // The format was tried when it was set.
        let shown = print(&self.format, &zoned).unwrap_or_default();
        self.cached = Some((second, shown.clone()));
        shown
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
        Chunk { pid, time: 0.25, data: data.as_bytes().to_vec() }
    }

    fn run(chunks: &[Chunk], finish: bool) -> String {
        let mut prefixer = Prefixer::in_zone("%H:%M:%S", TimeZone::UTC).unwrap();
        let mut out = Vec::new();
        for chunk in chunks {
            prefixer.push(chunk, &mut out);
        }
        if finish {
            prefixer.finish(&mut out);
        }
        String::from_utf8(out).unwrap()
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
        let mut prefixer = Prefixer::in_zone("%S", TimeZone::UTC).unwrap();
        let mut out = Vec::new();
        prefixer.push(&chunk(7, "par"), &mut out);
        prefixer.finish(&mut out);
        prefixer.push(&chunk(7, "tial\n"), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "00 [7] | partial\n");
    }

    #[test]
    fn another_process_does_not_run_into_an_unfinished_line() {
        let mut prefixer = Prefixer::in_zone("%S", TimeZone::UTC).unwrap();
        let mut out = Vec::new();
        prefixer.push(&chunk(7, "par"), &mut out);
        prefixer.finish(&mut out);
        prefixer.push(&chunk(8, "x\n"), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "00 [7] | par\n00 [8] | x\n");
    }

    #[test]
    fn a_format_means_what_it_means_to_python() {
        let shown = |format: &str| {
            let mut prefixer = Prefixer::in_zone(format, TimeZone::UTC).unwrap();
            let mut out = Vec::new();
            let time = 86_400.003_673_553;
            prefixer.push(&Chunk { pid: 7, time, data: b"x\n".to_vec() }, &mut out);
            String::from_utf8(out).unwrap()
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
