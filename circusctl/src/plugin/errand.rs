//! Work that has to wait for somebody, such as a request over the network, on a thread of its own, so that the
//! plugin goes on hearing events and ends when it is told to.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Errands under way, and their results.
pub struct Errands<T> {
    most: usize,
    under_way: usize,
    /// A result; none of one that panicked.
    results: Receiver<Option<T>>,
    send: SyncSender<Option<T>>,
    /// A byte here for each result.
    ready: UnixStream,
    wake: UnixStream,
}

impl<T: Send + 'static> Errands<T> {
    /// Room for so many at a time.
    ///
    /// # Errors
    /// When the process is out of fds.
    pub fn new(most: usize) -> io::Result<Self> {
        let (ready, wake) = UnixStream::pair()?;
        ready.set_nonblocking(true)?;
        let (send, results) = sync_channel(most);
        Ok(Self { most, under_way: 0, results, send, ready, wake })
    }

    /// Whether there is room for one more.
    pub fn has_room(&self) -> bool {
        self.under_way < self.most
    }

    /// Begins one. Its result comes with [`finished`](Self::finished), so it should have a time limit.
    ///
    /// # Errors
    /// No room for one more, or no more threads.
    pub fn begin(&mut self, errand: impl FnOnce() -> T + Send + 'static) -> io::Result<()> {
        if !self.has_room() {
            return Err(io::Error::other("too many requests without an answer"));
        }
        let (send, mut wake) = (self.send.clone(), self.wake.try_clone()?);
        thread::Builder::new().name("errand".to_owned()).spawn(move || {
            // The panic was printed; here it only must not cost its place.
            let result = catch_unwind(AssertUnwindSafe(errand)).ok();
            // Both have room for all; they fail when the plugin has ended.
            let _ = send.send(result);
            let _ = wake.write_all(&[1]);
        })?;
        self.under_way += 1;
        Ok(())
    }

    /// Readable when a result is there.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    /// The results that have come, in the order in which they came.
    pub fn finished(&mut self) -> Vec<T> {
        let mut bytes = [0; 64];
        while matches!((&self.ready).read(&mut bytes), Ok(count) if count > 0) {}
        let results: Vec<Option<T>> = self.results.try_iter().collect();
        self.under_way -= results.len();
        results.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier};

    /// Waits for the next results.
    fn wait<T: Send + 'static>(errands: &mut Errands<T>) -> Vec<T> {
        errands.ready.set_nonblocking(false).expect("settable");
        (&errands.ready).read_exact(&mut [0]).expect("a byte");
        errands.ready.set_nonblocking(true).expect("settable");
        errands.finished()
    }

    #[test]
    fn results_come_without_anybody_waiting_and_the_room_is_limited() {
        let mut errands = Errands::new(2).expect("a pair");
        let held = Arc::new(Barrier::new(2));
        let other = Arc::clone(&held);
        errands.begin(move || other.wait().is_leader()).expect("a thread");
        assert!(errands.finished().is_empty());
        errands.begin(|| true).expect("a thread");
        assert!(!errands.has_room() || errands.begin(|| true).is_err());
        assert_eq!(wait(&mut errands), [true]);
        held.wait();
        assert_eq!(wait(&mut errands).len(), 1);
        assert_eq!(errands.under_way, 0);
    }

    #[test]
    fn one_that_panics_gives_its_place_back() {
        let mut errands: Errands<u32> = Errands::new(1).expect("a pair");
        errands.begin(|| panic!("on purpose")).expect("a thread");
        assert!(wait(&mut errands).is_empty());
        errands.begin(|| 7).expect("there is room");
        assert_eq!(wait(&mut errands), [7]);
    }
}
