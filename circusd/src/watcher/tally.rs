//! How often the processes of one watcher were replaced, and why. Only counts; nothing is decided by it.

use super::wid::Wid;
use std::collections::BTreeMap;

/// How the predecessor of a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// By itself, with status 0.
    Exit,
    /// By itself, with another status.
    Failure,
    /// By a signal that was not ours.
    Signal,
    /// circusd asked it to: by command, for its age, or as its hooks said.
    Asked,
    /// The status is not known.
    Unknown,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Exit, Self::Failure, Self::Signal, Self::Asked, Self::Unknown];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Failure => "failure",
            Self::Signal => "signal",
            Self::Asked => "asked",
            Self::Unknown => "unknown",
        }
    }

    /// The cause behind an exit status, −signal or none.
    pub fn of(exit_code: Option<i32>, asked: bool) -> Self {
        match exit_code {
            _ if asked => Self::Asked,
            None => Self::Unknown,
            Some(0) => Self::Exit,
            Some(code) if code < 0 => Self::Signal,
            Some(_) => Self::Failure,
        }
    }
}

/// What was counted, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    restarts: [u64; Cause::ALL.len()],
    /// Bytes of output that were read.
    pub output: u64,
    /// Bytes of output that were lost before they could be written.
    pub dropped: u64,
}

impl Counted {
    /// Processes that were started in the place of one that ended so.
    pub fn restarts(&self, cause: Cause) -> u64 {
        self.restarts.get(cause as usize).copied().unwrap_or(0)
    }
}

/// The counter of one watcher.
#[derive(Debug, Default)]
pub struct Tally {
    counted: Counted,
    /// How the last process of a slot ended, until it has a successor.
    vacant: BTreeMap<Wid, Cause>,
}

impl Tally {
    /// A process has ended.
    pub fn ended(&mut self, wid: Wid, cause: Cause) {
        self.vacant.insert(wid, cause);
    }

    /// A process was started.
    pub fn spawned(&mut self, wid: Wid) {
        let predecessor = self.vacant.remove(&wid);
        if let Some(count) =
            predecessor.and_then(|cause| self.counted.restarts.get_mut(cause as usize))
        {
            *count += 1;
        }
    }

    /// What was counted, with these figures of output.
    pub fn counted(&self, output: u64, dropped: u64) -> Counted {
        Counted { output, dropped, ..self.counted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_counted_when_the_successor_has_started() {
        let mut tally = Tally::default();
        tally.spawned(Wid(1));
        tally.ended(Wid(1), Cause::of(Some(-9), false));
        assert_eq!(tally.counted(0, 0), Counted::default(), "the first one, and a vacancy");
        tally.spawned(Wid(1));
        tally.ended(Wid(1), Cause::of(Some(-15), true));
        tally.spawned(Wid(1));
        let counted = tally.counted(7, 3);
        assert_eq!((counted.output, counted.dropped), (7, 3));
        let all = Cause::ALL.map(|cause| counted.restarts(cause));
        assert_eq!(all, [0, 0, 1, 1, 0]);
    }

    #[test]
    fn statuses_have_their_causes() {
        assert_eq!(Cause::of(Some(0), false), Cause::Exit);
        assert_eq!(Cause::of(Some(3), false), Cause::Failure);
        assert_eq!(Cause::of(None, false), Cause::Unknown);
        for (number, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, number, "the number is the place in the table");
        }
    }
}
