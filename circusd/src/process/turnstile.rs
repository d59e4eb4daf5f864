//! How many processes are started at a time, and turns for what comes in crowds.
//!
//! Each fork holds up the memory of the whole daemon for a moment, and each thread that forks competes with the
//! one that answers commands. A few at a time start a thousand processes as quickly as a thousand threads do,
//! and leave the daemon responsive. A start that hangs, as in a directory that does not answer, keeps its
//! thread but not its place.
//!
//! The event loop runs what is ready in the order in which it became so. When a thousand processes get a signal
//! or end at the same moment, each step of a command would come behind all of them. So they take turns: one of
//! the crowd is ready at a time, the others wait.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{self, JoinError};
use tokio::time::timeout;

/// Starts at a time, if there are as many processors as that leaves others to clients.
const PLACES: usize = 2;

/// How long one may take before the next one begins beside it. A usual one takes a millisecond.
const PATIENCE: Duration = Duration::from_millis(10);

/// Lets starts through a few at a time, in the order in which they were asked for.
#[derive(Debug, Clone)]
pub struct Turnstile {
    starts: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// A turn on the event loop.
#[must_use]
pub struct Turn {
    _place: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// Lets everybody else who is ready do something, and then the next of the crowd.
    pub async fn end(self) {
        task::yield_now().await;
    }
}

impl Default for Turnstile {
    fn default() -> Self {
        // A process that starts takes a processor, too. Where there are two of them, a second start at the same time
        // starts a thousand no sooner, and keeps commands waiting for a processor.
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        Self::with_places((processors / 2).clamp(1, PLACES))
    }
}

impl Turnstile {
    fn with_places(places: usize) -> Self {
        Self { starts: Arc::new(Semaphore::new(places)), turns: Arc::new(Semaphore::new(1)) }
    }

    /// Runs a start on a thread of its own, when it is its turn.
    ///
    /// # Errors
    /// The daemon is ending.
    pub async fn pass<T: Send + 'static>(
        &self,
        start: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // Nobody closes it, so there always is a place in the end.
        let place = self.starts.acquire().await;
        let mut started = task::spawn_blocking(start);
        if let Ok(done) = timeout(PATIENCE, &mut started).await {
            return done;
        }
        drop(place);
        started.await
    }

    /// Waits for a turn to do what takes the event loop a while and may be one of many.
    pub async fn turn(&self) -> Turn {
        // Nobody closes it.
        Turn { _place: Arc::clone(&self.turns).acquire_owned().await.ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn starts_that_hang_do_not_hold_up_others() {
        let turnstile = Turnstile::with_places(PLACES);
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
        let turnstile = Turnstile::with_places(PLACES);
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

    #[tokio::test]
    async fn a_crowd_is_not_ahead_of_who_comes_later() {
        let (turnstile, most) = (Turnstile::default(), 100);
        let done = Arc::new(Semaphore::new(0));
        let mut crowd = task::JoinSet::new();
        for _ in 0..most {
            let (turnstile, done) = (turnstile.clone(), Arc::clone(&done));
            crowd.spawn(async move {
                let turn = turnstile.turn().await;
                done.add_permits(1);
                turn.end().await;
            });
        }
        let steps = 5;
        for _ in 0..steps {
            task::yield_now().await;
        }
        let ahead = done.available_permits();
        assert!((1..=steps * 2).contains(&ahead), "{ahead} of the crowd were ahead");
        crowd.join_all().await;
        assert_eq!(done.available_permits(), most);
    }
}
