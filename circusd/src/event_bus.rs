//! Publishing events without ever waiting.
//!
//! The bus hands events to the wire thread. When subscribers are slower than the daemon for so long that
//! the queue is full, events are dropped and counted; nothing here blocks its caller.

use crate::controller::outbox::Outbox;
use protocol::circus::event::{Event, EventKind};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the epoch, as events and replies carry them.
pub fn epoch_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A handle for publishing; clones share the queue.
#[derive(Clone)]
pub struct EventBus {
    outbox: Outbox,
}

impl EventBus {
    /// A bus that publishes through this outbox.
    pub fn new(outbox: Outbox) -> Self {
        Self { outbox }
    }

    /// Publishes what happened to `watcher` just now.
    pub fn publish(&self, watcher: &str, kind: EventKind) {
        self.publish_at(watcher, kind, epoch_seconds());
    }

    /// Publishes what happened to `watcher` at `time`, in seconds since the epoch.
    pub fn publish_at(&self, watcher: &str, kind: EventKind, time: f64) {
        let event = Event { watcher: watcher.to_owned(), kind, time };
        self.outbox.publish(event.topic(), event.payload().to_string().into_bytes());
    }
}
