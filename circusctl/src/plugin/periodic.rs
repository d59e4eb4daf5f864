//! A time that comes again and again.

use std::time::{Duration, Instant};

/// Times at a fixed distance, the first one a period after the beginning.
#[derive(Debug, Clone, Copy)]
pub struct Periodic {
    every: Duration,
    next: Instant,
}

impl Periodic {
    /// Counts from now.
    pub fn new(every: Duration, now: Instant) -> Self {
        Self { every, next: now + every }
    }

    /// The next time.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Whether the next time has come; if so, the one after it is next. Times that were missed, as while the
    /// machine slept, are not made up for.
    pub fn take(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next += self.every;
        if self.next <= now {
            self.next = now + self.every;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_keeps_its_beat_and_leaves_out_what_it_missed() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let mut periodic = Periodic::new(second, begin);
        assert!(!periodic.take(begin));
        assert!(periodic.take(begin + second + second / 4), "a little late");
        assert_eq!(periodic.next(), begin + 2 * second, "the beat is kept");
        assert!(periodic.take(begin + 9 * second));
        assert_eq!(periodic.next(), begin + 10 * second);
    }
}
