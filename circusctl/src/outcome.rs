//! What comes of a run: results on standard output, and how it ends.

use crate::python_text;
use crate::report::{CommandError, Kind};
use crate::ui;
use serde_json::Value;
use std::io;

/// How results are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// The reply itself instead of a text.
    pub json: bool,
    /// With `json`: one key per line, sorted.
    pub prettify: bool,
}

/// How a run ends when it does not simply succeed.
#[derive(Debug)]
pub enum Ending {
    /// Nobody reads our output any more.
    ReaderGone,
    /// The failure has been shown already; only the exit code is missing.
    Told(Kind),
    /// The command failed.
    Failed(CommandError),
}

impl<E: Into<CommandError>> From<E> for Ending {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Writes a value as `--json` and `--prettify` want it.
///
/// # Errors
/// As [`print`].
pub fn print_json(output: Output, value: &Value) -> Result<(), Ending> {
    let text = match output.prettify {
        true => python_text::pretty_json(value),
        false => python_text::json(value),
    };
    print(&(text + "\n"))
}

/// Writes to standard output.
///
/// # Errors
/// Nobody reads it, or it cannot be written.
pub fn print(text: &str) -> Result<(), Ending> {
    ui::out(text).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ending::ReaderGone,
        _ => Ending::Failed(
            CommandError::local("could not write to standard output").cause(error.to_string()),
        ),
    })
}
