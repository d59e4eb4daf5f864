//! Standard output and standard error: the only place that writes to them.
//!
//! Every write is flushed, so that output into a pipe appears when it happens. Knows nothing about
//! what is written, but that names, reasons and output are chosen by others: they cannot command a terminal.

use std::io::{self, IsTerminal, Write};

/// Writes text to standard output: to a terminal what is [`harmless`], else as it is.
///
/// # Errors
/// What the operating system says. A reader that went away is [`io::ErrorKind::BrokenPipe`], which
/// callers treat as a quiet end.
pub fn out(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.is_terminal() {
        true => write(&mut stdout, &harmless(text)),
        false => write(&mut stdout, text),
    }
}

/// Writes text to standard error: to a terminal what is [`harmless`], else as it is.
///
/// A failure is ignored: there is nowhere left to report it.
pub fn err(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = match stderr.is_terminal() {
        true => write(&mut stderr, &harmless(text)),
        false => write(&mut stderr, text),
    };
}

/// Puts this line in the place of the one that the cursor is in, on the terminal that standard error is.
pub fn err_again(line: &str) {
    let _ = write(&mut io::stderr().lock(), &format!("\r\x1b[K{}", harmless(line)));
}

/// Whether a person looks at standard error, on a terminal that can go back to the start of a line.
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// What a terminal can be shown: colours stay, until the end of their line at most; everything else that commands a
/// terminal goes.
fn harmless(text: &str) -> String {
    text.split_inclusive('\n').map(harmless_line).collect()
}

fn harmless_line(text: &str) -> String {
    const RESET: &str = "\x1b[0m";
    let (mut rest, end) = match text.strip_suffix('\n') {
        Some(text) => (text, "\n"),
        None => (text, ""),
    };
    let mut out = String::new();
    let mut painted = false;
    while let Some(at) = rest.find(|c: char| c.is_control() && c != '\t') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let sequence = after.strip_prefix("\x1b[").and_then(|code| {
            let end = code.find(|c: char| !c.is_ascii_digit() && c != ';')?;
            code.get(end..)?.starts_with('m').then_some(end + 3)
        });
        let length = match sequence {
            Some(length) => {
                let sequence = after.get(..length).unwrap_or_default();
                painted = sequence != RESET;
                out.push_str(sequence);
                length
            }
            None => {
                out.push('·');
                after.chars().next().map_or(1, char::len_utf8)
            }
        };
        rest = after.get(length..).unwrap_or_default();
    }
    out + rest + if painted { RESET } else { "" } + end
}

fn write(stream: &mut impl Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_chose_cannot_command_the_terminal() {
        for (text, shown) in [
            ("web: \x1b[32mactive\x1b[0m\nb\n", "web: \x1b[32mactive\x1b[0m\nb\n"),
            ("a\x1b[1;31mred\tb\nc", "a\x1b[1;31mred\tb\x1b[0m\nc"),
            ("\x1b[2Jx\x07\r\x1b]0;t\x07\u{9b}2J\0", "·[2Jx···]0;t··2J·"),
            ("", ""),
        ] {
            assert_eq!(harmless(text), shown, "{text:?}");
        }
    }
}
