//! What a hook answers.

use indexmap::IndexMap;
use serde_json::{Map, Value};

/// What became of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It returned something true or false; nothing at all is false.
    Returned(bool),
    /// It raised, crashed, could not be run or took too long.
    Failed {
        /// What went wrong, in words.
        error: String,
    },
}

/// An outcome and what the hook changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What became of it.
    pub outcome: Outcome,
    /// What it did to the watcher.
    pub edits: Edits,
    /// `stats` as an `extended_stats` hook left it.
    pub stats: Option<Value>,
}

/// What a hook wrote to the attributes of its watcher.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Edits {
    /// The whole environment of processes from now on.
    pub env: Option<IndexMap<String, String>>,
    /// Other attributes.
    pub attributes: Map<String, Value>,
}

impl Answer {
    /// A hook that said yes or no and changed nothing.
    pub fn returned(yes: bool) -> Self {
        Self { outcome: Outcome::Returned(yes), edits: Edits::default(), stats: None }
    }

    /// A hook that failed.
    pub fn failed(error: impl Into<String>) -> Self {
        let outcome = Outcome::Failed { error: error.into() };
        Self { outcome, edits: Edits::default(), stats: None }
    }
}
