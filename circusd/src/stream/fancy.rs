//! `FancyStdoutStream`: output goes to circusd's own stdout, each line in colour and with time and pid.

use super::batch::{Chunk, gap_line};
use super::console::Console;
use super::options::Options;
use super::prefix::{Line, Lines, TimeFormat};
use super::sink::{Sink, StreamError};
use indexmap::IndexMap;
use std::io;

/// The colours by the names that the option knows, in the order of their codes from 1 on.
const COLOURS: [&str; 7] = ["red", "green", "yellow", "blue", "magenta", "cyan", "white"];

/// Puts every non-empty line on stdout, in colour.
pub struct FancyStdoutStream {
    console: Console<io::Stdout>,
    lines: Lines,
    painter: Painter,
}

/// Turns lines to coloured ones.
struct Painter {
    time: TimeFormat,
    /// The digit of the colour in the escape sequence.
    colour: usize,
}

impl FancyStdoutStream {
    /// Makes the stream. A colour that is missing or unknown is replaced by one at random.
    ///
    /// # Errors
    /// [`StreamError`] names the option.
    pub fn from_options(options: &IndexMap<String, String>) -> Result<Self, StreamError> {
        let options = Options(options);
        let format = options.0.get("time_format").map_or("%Y-%m-%d %H:%M:%S", String::as_str);
        let time = TimeFormat::new(format)
            .map_err(|_| options.bad("time_format", "a strftime format such as %H:%M:%S"))?;
        let chosen = COLOURS.iter().position(|name| options.text("color") == Some(name));
        let colour = chosen.unwrap_or_else(|| fastrand::usize(..COLOURS.len())) + 1;
        let painter = Painter { time, colour };
        Ok(Self { console: Console::to(io::stdout()), lines: Lines::default(), painter })
    }
}

impl Painter {
    fn paint(&mut self, line: &Line<'_>, out: &mut Vec<u8>) {
        let Line { pid, time, data, .. } = *line;
        let data = data.strip_suffix(b"\n").unwrap_or(data);
        if data.is_empty() {
            return;
        }
        let shown = self.time.show(time);
        out.extend_from_slice(format!("\x1b[0;3{};40m{shown} [{pid}] | ", self.colour).as_bytes());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\x1b[0m\n");
    }
}

impl Sink for FancyStdoutStream {
    fn write(&mut self, chunks: &[Chunk], finish: bool) -> io::Result<()> {
        let Self { console, lines, painter } = self;
        for chunk in chunks {
            let Some(out) = console.room(chunk.data.len()) else { continue };
            if chunk.missing > 0 {
                let gap = gap_line(chunk.missing);
                let Chunk { pid, time, offset: end, .. } = *chunk;
                painter.paint(&Line { pid, time, data: gap.as_bytes(), end }, out);
            }
            lines.push(chunk, |line| painter.paint(&line, out));
        }
        if finish && let Some(out) = console.room(0) {
            lines.finish(|line| painter.paint(&line, out));
        }
        console.flush()
    }

    fn close(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_but_an_empty_one_is_painted() {
        let mut painter = Painter { time: TimeFormat::new("TT").unwrap(), colour: 2 };
        let mut out = Vec::new();
        let mut lines = Lines::default();
        let chunk = Chunk { pid: 7, data: b"x\n\ny".to_vec(), ..Chunk::default() };
        for chunk in [chunk, Chunk::end(7, 0)] {
            lines.push(&chunk, |line| painter.paint(&line, &mut out));
        }
        let expected = "\x1b[0;32;40mTT [7] | x\x1b[0m\n\x1b[0;32;40mTT [7] | y\x1b[0m\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn an_unknown_colour_is_replaced() {
        let options = IndexMap::from([("color".to_owned(), "pink".to_owned())]);
        let stream = FancyStdoutStream::from_options(&options).unwrap();
        assert!((1..=7).contains(&stream.painter.colour));
    }
}
