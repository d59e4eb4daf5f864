//! Worker ids: small numbers from 1 that name the slots of a watcher.

use std::fmt;

/// The slot of a process within its watcher, from 1. `$(circus.wid)` in a command stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wid(pub u32);

impl fmt::Display for Wid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The `count` lowest ids that are not in use.
pub fn lowest_free(count: usize, in_use: impl Fn(Wid) -> bool) -> Vec<Wid> {
    (1..=u32::MAX).map(Wid).filter(|wid| !in_use(*wid)).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled_first() {
        let used = [Wid(1), Wid(3)];
        assert_eq!(lowest_free(3, |wid| used.contains(&wid)), [Wid(2), Wid(4), Wid(5)]);
    }
}
