//! Publishing events without ever waiting, and remembering the latest.
//!
//! The bus hands events to the wire. When subscribers are slower than the daemon for so long that
//! the queue is full, events are dropped and counted; nothing here blocks its caller. The latest events stay
//! here for whoever comes too late to have subscribed.

use crate::controller::outbox::Outbox;
use protocol::circus::event::{Event, EventKind};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// Events that are remembered.
const REMEMBERED: usize = 256;

/// Bytes of theirs that are remembered at most, topics and payloads: hooks publish what they like.
const REMEMBERED_BYTES: usize = 1024 * 1024;

/// Seconds since the epoch, as events and replies carry them.
pub fn epoch_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// An event that is remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbered {
    /// Grows with every event.
    pub sequence: u64,
    /// Such as `watcher.web.spawn`.
    pub topic: String,
    /// The object that was published.
    pub payload: Value,
}

struct Memory {
    next: u64,
    /// Each with its size.
    events: VecDeque<(Numbered, usize)>,
    bytes: usize,
}

impl Memory {
    /// Remembers an event, and forgets the oldest ones that there is no room for.
    fn add(&mut self, topic: String, payload: Value, size: usize) {
        let event = Numbered { sequence: self.next, topic, payload };
        self.next += 1;
        self.bytes += size;
        self.events.push_back((event, size));
        // The latest one stays whatever its size, so that nobody waits for it in vain.
        while self.events.len() > 1
            && (self.events.len() > REMEMBERED || self.bytes > REMEMBERED_BYTES)
        {
            self.bytes -= self.events.pop_front().map_or(0, |(_, size)| size);
        }
    }
}

struct Shared {
    outbox: Outbox,
    memory: Mutex<Memory>,
    fresh: Notify,
}

/// A handle for publishing; clones share the queue.
#[derive(Clone)]
pub struct EventBus {
    shared: Arc<Shared>,
}

impl EventBus {
    /// A bus that publishes through this outbox.
    pub fn new(outbox: Outbox) -> Self {
        // A reader that goes on with the numbers of an earlier circusd must not wait for this one to
        // reach them; microseconds since the epoch are always ahead of one number for each event.
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let next = u64::try_from(epoch.as_micros()).unwrap_or(u64::MAX / 2);
        let memory = Mutex::new(Memory { next, events: VecDeque::new(), bytes: 0 });
        Self { shared: Arc::new(Shared { outbox, memory, fresh: Notify::new() }) }
    }

    /// Publishes what happened to `watcher` just now.
    pub fn publish(&self, watcher: &str, kind: EventKind) {
        self.publish_at(watcher, kind, epoch_seconds());
    }

    /// Publishes what happened to `watcher` at `time`, in seconds since the epoch.
    pub fn publish_at(&self, watcher: &str, kind: EventKind, time: f64) {
        let event = Event { watcher: watcher.to_owned(), kind, time };
        self.send(event.topic(), event.payload());
    }

    /// Publishes an event of the user's own, `watcher.NAME.TOPIC`, with this payload.
    pub fn publish_own(&self, watcher: &str, topic: &str, mut payload: Map<String, Value>) {
        payload.entry("time").or_insert_with(|| epoch_seconds().into());
        let name = watcher.to_lowercase().replace(' ', "_");
        self.send(format!("watcher.{name}.{topic}"), Value::Object(payload));
    }

    fn send(&self, topic: String, payload: Value) {
        let text = payload.to_string().into_bytes();
        let size = topic.len() + text.len();
        self.shared.outbox.publish(topic.clone(), text);
        self.with(|memory| memory.add(topic, payload, size));
        self.shared.fresh.notify_waiters();
    }

    /// The remembered events from number `after` on (all, without it), and the number of the next one.
    pub fn since(&self, after: Option<u64>) -> (Vec<Numbered>, u64) {
        self.with(|memory| {
            let wanted = |event: &&Numbered| after.is_none_or(|after| event.sequence >= after);
            let events = memory.events.iter().map(|(event, _)| event);
            (events.filter(wanted).cloned().collect(), memory.next)
        })
    }

    /// Waits until there is an event from number `after` on.
    pub async fn beyond(&self, after: u64) {
        loop {
            // Made before looking, so that nothing slips through between the two.
            let fresh = self.shared.fresh.notified();
            if self.with(|memory| memory.next > after && !memory.events.is_empty()) {
                return;
            }
            fresh.await;
        }
    }

    fn with<T>(&self, action: impl FnOnce(&mut Memory) -> T) -> T {
        // Never held while anything is waited for.
        action(&mut self.shared.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_latest_events_are_remembered_and_can_be_waited_for() {
        let bus = EventBus::new(Outbox::default());
        let (none, start) = bus.since(None);
        assert_eq!(none, []);
        for _ in 0..REMEMBERED + 10 {
            bus.publish("web", EventKind::Start);
        }
        let (all, next) = bus.since(None);
        assert_eq!((all.len(), next), (REMEMBERED, start + REMEMBERED as u64 + 10));
        bus.beyond(next - 1).await;
        let waiting = tokio::spawn({
            let bus = bus.clone();
            async move { bus.beyond(next).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        bus.publish("web", EventKind::Stop);
        waiting.await.unwrap();
        let (fresh, _) = bus.since(Some(next));
        assert_eq!(
            fresh.iter().map(|event| &event.topic[..]).collect::<Vec<_>>(),
            ["watcher.web.stop"]
        );
    }

    #[test]
    fn events_of_any_size_take_a_bounded_room() {
        let bus = EventBus::new(Outbox::default());
        let own = |size: usize| {
            let payload = Map::from_iter([("text".to_owned(), "x".repeat(size).into())]);
            bus.publish_own("web", "mine", payload);
        };
        (0..100).for_each(|_| own(REMEMBERED_BYTES / 10));
        assert_eq!(bus.since(None).0.len(), 9);
        own(2 * REMEMBERED_BYTES);
        assert_eq!(bus.since(None).0.len(), 1, "whoever waits for the latest gets it");
        own(1);
        assert_eq!(bus.since(None).0.len(), 1, "and it goes when another one comes");
        own(1);
        assert_eq!(bus.since(None).0.len(), 2);
    }
}
