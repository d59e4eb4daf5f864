//! How late the event loop is: a timer that notes how long after its time it was served.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task;
use tokio::time::{self, Instant};

/// The time between two looks.
const PACE: Duration = Duration::from_secs(1);

/// Looks that are remembered: a minute, which is the longest usual time between two scrapes.
const REMEMBERED: usize = 60;

/// A handle on the measurement; clones share it.
#[derive(Clone, Default)]
pub struct LoopLag(Arc<Mutex<VecDeque<Duration>>>);

impl LoopLag {
    /// Starts to measure; ends with the runtime.
    pub fn measure() -> Self {
        let lag = Self::default();
        let own = lag.clone();
        task::spawn(async move {
            loop {
                let due = Instant::now() + PACE;
                time::sleep_until(due).await;
                own.note(due.elapsed());
            }
        });
        lag
    }

    /// The longest delay of the last minute.
    pub fn longest(&self) -> Duration {
        self.with(|seen| seen.iter().max().copied().unwrap_or_default())
    }

    fn note(&self, late: Duration) {
        self.with(|seen| {
            if seen.len() == REMEMBERED {
                seen.pop_front();
            }
            seen.push_back(late);
        });
    }

    fn with<T>(&self, action: impl FnOnce(&mut VecDeque<Duration>) -> T) -> T {
        // Every action is a single step, so a panic elsewhere cannot leave it half changed.
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_delay_is_forgotten_after_a_minute() {
        let lag = LoopLag::default();
        assert_eq!(lag.longest(), Duration::ZERO);
        lag.note(Duration::from_secs(7));
        for _ in 0..REMEMBERED - 1 {
            lag.note(Duration::from_millis(1));
        }
        assert_eq!(lag.longest(), Duration::from_secs(7));
        lag.note(Duration::from_millis(1));
        assert_eq!(lag.longest(), Duration::from_millis(1));
    }
}
