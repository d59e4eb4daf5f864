//! How the latest processes of a watcher ended, and why the latest start failed. Bounded, and only told to
//! whoever asks `why`.

use super::failing::Failing;
use super::wid::Wid;
use std::collections::VecDeque;

/// Ends that are remembered.
const EXITS: usize = 8;

/// The end of a process.
#[derive(Debug, Clone, PartialEq)]
pub struct Exit {
    /// Its slot.
    pub wid: Wid,
    /// The process.
    pub pid: i32,
    /// When it was spawned, in seconds since the epoch.
    pub started: f64,
    /// When it ended, in seconds since the epoch.
    pub time: f64,
    /// Exit status, −signal, or unknown.
    pub exit_code: Option<i32>,
    /// What it printed last.
    pub lines: Vec<String>,
}

/// A start that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedStart {
    /// When, in seconds since the epoch.
    pub time: f64,
    /// Why.
    pub reason: String,
}

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// The latest end first.
    pub exits: VecDeque<Exit>,
    /// The latest failed start.
    pub failed_start: Option<FailedStart>,
    /// Starts that have failed in a row.
    pub failing: Failing,
}

impl History {
    /// Remembers an end.
    pub fn note(&mut self, exit: Exit) {
        self.exits.truncate(EXITS - 1);
        self.exits.push_front(exit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_ends_are_remembered() {
        let mut history = History::default();
        for pid in 1..=20 {
            let exit =
                Exit { wid: Wid(1), pid, started: 0.0, time: 0.0, exit_code: None, lines: vec![] };
            history.note(exit);
        }
        let pids: Vec<_> = history.exits.iter().map(|exit| exit.pid).collect();
        assert_eq!(pids, [20, 19, 18, 17, 16, 15, 14, 13]);
    }
}
