//! How many processes are started at a time.
//!
//! Each fork holds up the memory of the whole daemon for a moment, and each thread that forks competes with the
//! one that answers commands. A few at a time start a thousand processes as quickly as a thousand threads do,
//! and leave the daemon responsive. A start that hangs, as in a directory that does not answer, keeps its
//! thread but not its place.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::{self, JoinError};
use tokio::time::timeout;

/// Starts at a time.
const PLACES: usize = 2;

/// How long one may take before the next one begins beside it. A usual one takes a millisecond.
const PATIENCE: Duration = Duration::from_millis(20);

/// Lets starts through a few at a time, in the order in which they were asked for.
#[derive(Debug, Clone)]
pub struct Turnstile(Arc<Semaphore>);

impl Default for Turnstile {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PLACES)))
    }
}

impl Turnstile {
    /// Runs a start on a thread of its own, when it is its turn.
    ///
    /// # Errors
    /// The daemon is ending.
    pub async fn pass<T: Send + 'static>(
        &self,
        start: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // Nobody closes it, so there always is a place in the end.
        let place = self.0.acquire().await;
        let mut started = task::spawn_blocking(start);
        if let Ok(done) = timeout(PATIENCE, &mut started).await {
            return done;
        }
        drop(place);
        started.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[tokio::test]
    async fn starts_that_hang_do_not_hold_up_others() {
        let turnstile = Turnstile::default();
        let mut hung = Vec::new();
        for _ in 0..PLACES * 2 {
            let (release, wait) = mpsc::channel::<()>();
            let turnstile = turnstile.clone();
            let start = async move { turnstile.pass(move || wait.recv()).await };
            hung.push((release, task::spawn(start)));
        }
        assert_eq!(turnstile.pass(|| 7).await.ok(), Some(7));
        for (release, start) in hung {
            release.send(()).unwrap();
            assert!(start.await.unwrap().unwrap().is_ok());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_run_at_a_time_than_there_are_places() {
        let turnstile = Turnstile::default();
        let (running, most) = (Arc::new(Semaphore::new(PLACES)), 50);
        let mut starts = Vec::new();
        for _ in 0..most {
            let (turnstile, running) = (turnstile.clone(), Arc::clone(&running));
            starts.push(task::spawn(async move {
                let start = move || {
                    let place = running.try_acquire_owned();
                    thread::yield_now();
                    place.is_ok()
                };
                turnstile.pass(start).await
            }));
        }
        for start in starts {
            assert!(start.await.unwrap().unwrap());
        }
    }
}
