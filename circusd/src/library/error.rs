//! What can go wrong, for the program.

use crate::config::ConfigErrors;
use crate::serving::Lost;
use protocol::circus::response::Failure;
use std::error::Error;
use std::fmt;

/// Options that cannot be used. Printed, each is a line that names section, key and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionErrors {
    sentences: Vec<String>,
}

impl OptionErrors {
    pub(super) fn one(sentence: impl Into<String>) -> Self {
        Self { sentences: vec![sentence.into()] }
    }

    /// Returns one sentence for each problem; there is at least one.
    pub fn sentences(&self) -> &[String] {
        &self.sentences
    }
}

impl From<ConfigErrors> for OptionErrors {
    fn from(errors: ConfigErrors) -> Self {
        Self { sentences: errors.problems.iter().map(ToString::to_string).collect() }
    }
}

impl fmt::Display for OptionErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentences.join("\n"))
    }
}

impl Error for OptionErrors {}

/// An arbiter cannot be started, or has ended as it should not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArbiterError {
    /// The options of the arbiter, or of what it should run.
    #[error(transparent)]
    Options(#[from] OptionErrors),
    /// A watcher cannot be made, as when the directory of its log file is missing.
    #[error("failed to create watcher {name}")]
    Watcher {
        /// The watcher.
        name: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// An endpoint or a socket cannot be opened, the papa kernel not be reached, or the system has no room.
    #[error(transparent)]
    Start(Box<dyn Error + Send + Sync>),
    /// The arbiter has ended and nobody told it to: a fault of this crate.
    #[error(transparent)]
    Lost(Box<dyn Error + Send + Sync>),
}

impl ArbiterError {
    pub(super) fn lost() -> Self {
        Self::Lost(Box::new(Lost))
    }
}

/// A command was not carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The options of a new watcher.
    #[error(transparent)]
    Options(#[from] OptionErrors),
    /// The arbiter refuses: there is no such watcher, another operation is in the way, and the like.
    #[error("{reason}")]
    Refused {
        /// The sentence that a client of circusd would get.
        reason: String,
        /// The number beside it, as Circus has them: 3 for a message that makes no sense, 5 for a command that
        /// cannot be carried out.
        errno: u8,
    },
    /// The arbiter has ended.
    #[error("the arbiter has ended")]
    Ended,
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        Self::Refused { errno: failure.errno.into(), reason: failure.reason }
    }
}
