//! The events that are on their way to the wire, from whichever thread they come. Beyond [`MAX_EVENTS`] they are
//! dropped and counted. Replies take no detour: who makes one hands it to the client.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Events that wait for the wire at most.
const MAX_EVENTS: usize = 10_000;

/// A message for the wire.
#[derive(Debug)]
pub enum ToWire {
    /// Publish this event.
    Event {
        /// First frame.
        topic: String,
        /// Second frame.
        payload: Vec<u8>,
    },
    /// Send what is queued and end.
    Close,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<ToWire>,
    events: usize,
    dropped: u64,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
}

/// A handle on the queue; clones share it.
#[derive(Clone, Default)]
pub struct Outbox {
    shared: Arc<Shared>,
}

impl Outbox {
    /// Queues a message that must not be lost.
    pub fn send(&self, message: ToWire) {
        self.with_queue(|queue| queue.messages.push_back(message));
        self.shared.filled.notify_one();
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
        self.shared.filled.notify_one();
    }

    /// The message that has waited longest.
    pub(super) fn take(&self) -> Option<ToWire> {
        self.with_queue(|queue| {
            let message = queue.messages.pop_front();
            if let Some(ToWire::Event { .. }) = message {
                queue.events -= 1;
            }
            message
        })
    }

    /// How many events were dropped since the last call.
    pub(super) fn take_dropped(&self) -> u64 {
        self.with_queue(|queue| std::mem::take(&mut queue.dropped))
    }

    /// Waits until there is a message. Only one task may wait.
    pub(super) async fn filled(&self) {
        // A message that comes between the look and the wait has left its mark in the `Notify`.
        while self.with_queue(|queue| queue.messages.is_empty()) {
            self.shared.filled.notified().await;
        }
    }

    fn with_queue<T>(&self, action: impl FnOnce(&mut Queue) -> T) -> T {
        // A panic elsewhere cannot leave the queue half changed: every action is a single step.
        action(&mut self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_beyond_the_bound_are_dropped_and_counted() {
        let outbox = Outbox::default();
        for _ in 0..MAX_EVENTS + 3 {
            outbox.publish("watcher.x.spawn".into(), Vec::new());
        }
        outbox.send(ToWire::Close);
        outbox.filled().await;
        let count = std::iter::from_fn(|| outbox.take()).count();
        assert_eq!(count, MAX_EVENTS + 1, "the end is never dropped");
        assert_eq!((outbox.take_dropped(), outbox.take_dropped()), (3, 0));
        outbox.publish("watcher.x.spawn".into(), Vec::new());
        assert!(outbox.take().is_some(), "there is room again");
    }
}
