//! What can be wrong with a configuration, each with the place where it was written.
//!
//! The readers collect problems in a [`Report`] and go on, so that one run shows them all. Nothing is
//! printed here.

use std::fmt;
use std::path::PathBuf;

/// The longest piece of a value that is repeated in a message, in characters.
const SHOWN: usize = 80;

/// One thing that is wrong, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named; empty when there is none.
    pub file: PathBuf,
    /// Counted from 1; none when the whole file is meant.
    pub line: Option<usize>,
    /// The section as in the header, `watcher:web`.
    pub section: Option<String>,
    /// The key inside the section.
    pub key: Option<String>,
    /// The value after replacement of `$(circus.env.X)`.
    pub value: Option<String>,
    /// What is wrong and what to do, without a full stop.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.as_os_str().is_empty() {
            write!(f, "{}", self.file.display())?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        if let Some(section) = &self.section {
            write!(f, "[{}] ", shown(section))?;
        }
        match (&self.key, &self.value) {
            (Some(key), Some(value)) if value.is_empty() => write!(f, "{} = \"\": ", shown(key))?,
            (Some(key), Some(value)) => write!(f, "{} = {}: ", shown(key), shown(value))?,
            (Some(key), None) => write!(f, "{}: ", shown(key))?,
            (None, _) => {}
        }
        f.write_str(&self.message)
    }
}

/// Makes a value fit one line: control characters escaped, long text cut.
pub(crate) fn shown(text: &str) -> String {
    let mut line = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == SHOWN {
            line.push_str("...");
            break;
        }
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// Something odd that does not keep the file from being used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub Problem);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Everything that keeps a configuration from being used; one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// Never empty, in the order of discovery.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// How much harm a problem does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// Nothing of the file is used.
    Error,
    /// Only the watcher, socket or plugin is left out.
    Refused,
    /// Nothing is left out.
    Warning,
}

/// What the readers have found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) errors: Vec<Problem>,
    pub(crate) refused: Vec<Problem>,
    pub(crate) warnings: Vec<Warning>,
}

impl Report {
    /// Files a problem under its severity.
    pub(crate) fn add(&mut self, severity: Severity, problem: Problem) {
        match severity {
            Severity::Error => self.errors.push(problem),
            Severity::Refused => self.refused.push(problem),
            Severity::Warning => self.warnings.push(Warning(problem)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_with_its_place() {
        let problem = Problem {
            file: "circus.ini".into(),
            line: Some(12),
            section: Some("watcher:web".into()),
            key: Some("stop_signal".into()),
            value: Some("FOO\nBAR".into()),
            message: "not a signal".into(),
        };
        assert_eq!(
            problem.to_string(),
            "circus.ini:12: [watcher:web] stop_signal = FOO\\nBAR: not a signal"
        );
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(shown(&"x".repeat(500)).chars().count(), SHOWN + 3);
    }
}
