//! Changes that have to settle before anything is done about them: a file that is being copied, or a release
//! of many files, changes more than once.
//!
//! ```text
//!            noticed                look: another state
//!   quiet ------------> settling <----------------------+
//!     ^                   |  +--------------------------+
//!     +-------------------+ look: the same state for a whole `time`
//! ```
//!
//! No clock and no I/O.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What changes, by name; `S` is its state.
#[derive(Debug)]
pub(super) struct Settling<S> {
    time: Duration,
    pending: BTreeMap<String, Pending<S>>,
}

#[derive(Debug)]
struct Pending<S> {
    state: S,
    due: Instant,
}

impl<S: PartialEq> Settling<S> {
    /// Whatever stays the same for so long has settled.
    pub(super) fn new(time: Duration) -> Self {
        Self { time, pending: BTreeMap::new() }
    }

    /// A change of `name` was noticed; this is its state now.
    pub(super) fn notice(&mut self, name: &str, state: S, now: Instant) {
        let due = now + self.time;
        self.pending.entry(name.to_owned()).or_insert(Pending { state, due });
    }

    /// When to look next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.due).min()
    }

    /// The names that it is time to look at.
    pub(super) fn due(&self, now: Instant) -> Vec<String> {
        let due = self.pending.iter().filter(|(_, pending)| pending.due <= now);
        due.map(|(name, _)| name.clone()).collect()
    }

    /// This is the state of `name` now; true if it has settled, and is no longer looked at then.
    pub(super) fn look(&mut self, name: &str, state: S, now: Instant) -> bool {
        let Some(pending) = self.pending.get_mut(name) else { return false };
        if pending.state == state {
            self.pending.remove(name);
            return true;
        }
        (pending.state, pending.due) = (state, now + self.time);
        false
    }

    /// Looks at it no more.
    pub(super) fn forget(&mut self, name: &str) {
        self.pending.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_changing_does_not_settle() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let mut settling = Settling::new(second);
        assert_eq!(settling.deadline(), None);
        settling.notice("a", 1, begin);
        settling.notice("a", 2, begin + second / 2);
        assert_eq!(settling.deadline(), Some(begin + second), "once is enough");
        assert!(settling.due(begin + second / 2).is_empty());
        assert_eq!(settling.due(begin + second), ["a"]);
        assert!(!settling.look("a", 2, begin + second));
        assert_eq!(settling.deadline(), Some(begin + 2 * second));
        assert!(settling.look("a", 2, begin + 2 * second));
        assert_eq!(settling.deadline(), None);
        settling.notice("a", 3, begin);
        settling.forget("a");
        assert!(!settling.look("a", 3, begin + second));
    }
}
