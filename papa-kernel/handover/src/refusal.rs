//! Why something is not done, in the words that are read by whoever asked for it.
//!
//! Nothing in the kernel decides by the reason, it is only told: to a client after `Error: `, or on the
//! terminal. So it is made where it is known what failed, and carried as a text.

use std::error::Error;
use std::fmt;
use std::io;

use papa_spawn::errno::errno_text;

/// The reason, one sentence without its full stop.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal(String);

impl Refusal {
    /// The reason in these words.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The system has refused a step: `Could not STEP - [Errno ...] ...`.
    pub fn to(step: &str) -> impl Fn(io::Error) -> Self + '_ {
        move |source| Self(format!("Could not {step} - {}", errno_text(&source)))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What has gone wrong below says so by itself.
impl<E: Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}
