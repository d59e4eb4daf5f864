//! Standard output and standard error: the only place that writes to them.
//!
//! Every write is flushed, so that output into a pipe appears when it happens. Knows nothing about
//! what is written.

use std::io::{self, IsTerminal, Write};

/// Writes text to standard output as it is.
///
/// # Errors
/// What the operating system says. A reader that went away is [`io::ErrorKind::BrokenPipe`], which
/// callers treat as a quiet end.
pub fn out(text: &str) -> io::Result<()> {
    write(&mut io::stdout().lock(), text)
}

/// Writes text to standard error as it is.
///
/// A failure is ignored: there is nowhere left to report it.
pub fn err(text: &str) {
    let _ = write(&mut io::stderr().lock(), text);
}

/// Whether a person looks at standard error, on a terminal that can go back to the start of a line.
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

fn write(stream: &mut impl Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.flush()
}
