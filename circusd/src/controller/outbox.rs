//! What is on its way to the wire thread: replies and events, with an eventfd that wakes it.
//!
//! Replies are bounded by the number of requests in flight. Events are dropped and counted beyond
//! [`MAX_EVENTS`].

use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

/// Events that wait for the wire thread at most.
const MAX_EVENTS: usize = 10_000;

/// A message for the wire thread.
#[derive(Debug)]
pub enum ToWire {
    /// Send this reply to this client.
    Reply {
        /// The ROUTER's name for the client.
        client: Vec<u8>,
        /// The JSON text.
        body: Vec<u8>,
    },
    /// Publish this event.
    Event {
        /// First frame.
        topic: String,
        /// Second frame.
        payload: Vec<u8>,
    },
    /// The daemon has room for more requests again.
    ReadOn,
    /// Send what is queued and end.
    Close,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<ToWire>,
    events: usize,
    dropped: u64,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: EventFd,
}

/// A handle on the queue; clones share it.
#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
}

impl Outbox {
    /// An empty queue.
    ///
    /// # Errors
    /// No eventfd could be made.
    pub fn new() -> io::Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { shared: Arc::new(Shared { queue: Mutex::default(), wake }) })
    }

    /// Queues a message that must not be lost.
    pub fn send(&self, message: ToWire) {
        self.with_queue(|queue| queue.messages.push_back(message));
        self.wake();
    }

    /// Queues an event, or drops and counts it when too many wait.
    pub fn publish(&self, topic: String, payload: Vec<u8>) {
        self.with_queue(|queue| {
            if queue.events >= MAX_EVENTS {
                queue.dropped += 1;
                return;
            }
            queue.events += 1;
            queue.messages.push_back(ToWire::Event { topic, payload });
        });
        self.wake();
    }

    /// Takes everything that waits, and the number of events dropped since the last call.
    pub(super) fn take(&self) -> (VecDeque<ToWire>, u64) {
        // The counter of the eventfd only says that something came; its value is of no interest.
        let _ = self.shared.wake.read();
        self.with_queue(|queue| {
            queue.events = 0;
            (std::mem::take(&mut queue.messages), std::mem::take(&mut queue.dropped))
        })
    }

    /// The fd that is readable while something waits.
    pub(super) fn wake_fd(&self) -> RawFd {
        self.shared.wake.as_raw_fd()
    }

    fn wake(&self) {
        // Fails only when the counter is at its maximum, and then the reader is awake anyway.
        let _ = self.shared.wake.write(1);
    }

    fn with_queue<T>(&self, action: impl FnOnce(&mut Queue) -> T) -> T {
        // A panic elsewhere cannot leave the queue half changed: every action is a single step.
        action(&mut self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_beyond_the_bound_are_dropped_and_counted() {
        let outbox = Outbox::new().unwrap();
        for _ in 0..MAX_EVENTS + 3 {
            outbox.publish("watcher.x.spawn".into(), Vec::new());
        }
        outbox.send(ToWire::Reply { client: vec![1], body: vec![2] });
        let (messages, dropped) = outbox.take();
        assert_eq!(messages.len(), MAX_EVENTS + 1, "a reply is never dropped");
        assert_eq!(dropped, 3);
    }
}
