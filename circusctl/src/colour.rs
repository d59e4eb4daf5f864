//! Colours: only for people at a terminal, never in what a script reads.

use std::io::IsTerminal;

/// Whether a text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Off,
    /// With escape sequences.
    On,
}

impl Colour {
    /// For standard output.
    pub fn of_stdout() -> Self {
        Self::of(std::io::stdout().is_terminal())
    }

    /// For standard error.
    pub fn of_stderr() -> Self {
        Self::of(std::io::stderr().is_terminal())
    }

    /// On a terminal, unless `NO_COLOR` is set or the terminal is a dumb one.
    fn of(terminal: bool) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if terminal && !dumb && !set("NO_COLOR") { Self::On } else { Self::Off }
    }

    /// What is well.
    pub fn good(self, text: &str) -> String {
        self.painted("32", text)
    }

    /// What is on its way.
    pub fn passing(self, text: &str) -> String {
        self.painted("33", text)
    }

    /// What has failed.
    pub fn bad(self, text: &str) -> String {
        self.painted("1;31", text)
    }

    /// What explains.
    pub fn note(self, text: &str) -> String {
        self.painted("36", text)
    }

    /// What may be overlooked.
    pub fn faint(self, text: &str) -> String {
        self.painted("2", text)
    }

    /// The state of a watcher.
    pub fn state(self, state: &str) -> String {
        match state {
            "active" => self.good(state),
            "starting" | "stopping" => self.passing(state),
            _ => self.bad(state),
        }
    }

    fn painted(self, code: &str, text: &str) -> String {
        match self {
            Self::Off => text.to_owned(),
            Self::On => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}
