//! How long to wait before a slot gets its next process.
//!
//! The first respawn after a death is immediate. A process that dies young again waits 100 ms, then 200,
//! 400 and so on up to a ceiling (`check_delay`, the pace of the original); one that has lived as long as
//! the current delay starts over. So a restart is seen at once and a crash loop never becomes a storm. For
//! programs that take long until they fail, such as plugins in Python, to die young is to die within a given
//! time: else their loop would never slow down.

use std::time::Duration;

/// The first delay of a crash loop.
const FIRST: Duration = Duration::from_millis(100);

/// The memory of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pacing {
    delay: Duration,
}

impl Pacing {
    /// Notes a death after `lived` and returns how long to wait. `ceiling` bounds the delay; it is at
    /// least 100 ms, because a `check_delay` of 0 must not mean a storm. Who has lived less than `young` has died
    /// young whatever the delay is.
    pub fn after_death(&mut self, lived: Duration, ceiling: Duration, young: Duration) -> Duration {
        let ceiling = ceiling.max(FIRST);
        if lived >= self.delay.max(young) {
            self.delay = FIRST;
            Duration::ZERO
        } else {
            let wait = self.delay;
            self.delay = (self.delay * 2).clamp(FIRST, ceiling);
            wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CEILING: Duration = Duration::from_secs(1);
    const NEVER: Duration = Duration::ZERO;

    #[test]
    fn a_crash_loop_backs_off_up_to_the_ceiling() {
        let mut pacing = Pacing::default();
        let waits: Vec<u128> = (0..7)
            .map(|_| pacing.after_death(Duration::ZERO, CEILING, NEVER).as_millis())
            .collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn a_process_that_lived_as_long_as_its_delay_starts_over() {
        let mut pacing = Pacing::default();
        for _ in 0..4 {
            pacing.after_death(Duration::ZERO, CEILING, NEVER);
        }
        assert_eq!(pacing.after_death(Duration::from_millis(800), CEILING, NEVER), Duration::ZERO);
        assert_eq!(pacing.after_death(Duration::ZERO, CEILING, NEVER), FIRST);
    }

    #[test]
    fn a_program_that_takes_long_to_fail_backs_off_all_the_same() {
        let (mut pacing, half) = (Pacing::default(), Duration::from_millis(500));
        let mut after = |lived| pacing.after_death(lived, CEILING, CEILING).as_millis();
        let waits: Vec<u128> = (0..7).map(|_| after(half)).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!((after(CEILING), after(half)), (0, 100));
    }
}
