//! How a command ends: the text of a failure and the exit code.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | nobody answered, the answer made no sense, or an argument cannot be right |
//! | 2 | the command line was not understood: no such command or option |
//! | 3 | circusd refused |
//!
//! The numbers are those of circusctl 0.17.2 as measured.

use crate::colour::Colour;
use std::fmt::Write as _;

/// The end of a program that prints one text. That nobody reads it any more is no failure.
#[cfg(any(feature = "plugins", feature = "stats"))]
pub fn end_with(text: &str) -> std::process::ExitCode {
    match crate::ui::out(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let report =
                CommandError::local("could not write to standard output").cause(error.to_string());
            crate::ui::err(&report.text(Colour::of_stderr()));
            std::process::ExitCode::from(report.kind.code())
        }
        _ => std::process::ExitCode::SUCCESS,
    }
}

/// Why a command failed, as far as a script needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing came of it on this side: bad arguments, no answer, an answer that makes no sense.
    Local,
    /// There is no such command or option.
    Usage,
    /// circusd answered with an error.
    Refused,
}

impl Kind {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Local => 1,
            Self::Usage => 2,
            Self::Refused => 3,
        }
    }
}

/// A failure as it is told to the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    /// Selects the exit code.
    pub kind: Kind,
    /// What happened, one sentence without `error:` and without a full stop.
    pub message: String,
    /// What led to it, outermost first.
    pub causes: Vec<String>,
    /// What the user can do.
    pub hints: Vec<String>,
}

impl CommandError {
    /// A failure with this text and nothing else.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), causes: Vec::new(), hints: Vec::new() }
    }

    /// A failure on this side, exit code 1.
    pub fn local(message: impl Into<String>) -> Self {
        Self::new(Kind::Local, message)
    }

    /// Adds a cause.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The lines for standard error.
    pub fn text(&self, colour: Colour) -> String {
        let mut text = format!("{} {}\n", colour.bad("error:"), self.message);
        for (head, lines) in [("caused by:", &self.causes), ("hint:", &self.hints)] {
            for line in lines {
                let _ = writeln!(text, "{} {line}", colour.note(head)); // To a String: cannot fail.
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_causes_before_its_hints() {
        let error = CommandError::local("no answer").hint("wait longer").cause("Timed out.");
        assert_eq!(
            error.text(Colour::Off),
            "error: no answer\ncaused by: Timed out.\nhint: wait longer\n"
        );
    }
}
