//! The events of an arbiter, without ZeroMQ.

use super::thread::Ended;
use crate::event_bus::{EventBus, Numbered};
use serde_json::{Map, Value};
use std::collections::VecDeque;

/// Something that has happened to a watcher or to one of its processes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// The topic that subscribers of the pubsub endpoint see, `watcher.NAME.ACTION`, with the name in lower case
    /// and `_` for blanks.
    pub topic: String,
    /// What belongs to it: `time`, and for processes `process_pid` and `exit_code`.
    pub payload: Map<String, Value>,
}

impl Event {
    /// Returns the name of the watcher as it stands in the topic.
    pub fn watcher(&self) -> &str {
        let rest = self.topic.strip_prefix("watcher.").unwrap_or(&self.topic);
        rest.rsplit_once('.').map_or(rest, |(name, _)| name)
    }

    /// Returns what has happened: `start`, `spawn`, `reap`, `kill`, `stop`, `reload`, `updated`, `add`,
    /// `remove`, `hook_success`, `hook_failure`, `lost`, or what a hook calls an event of its own.
    pub fn action(&self) -> &str {
        self.topic.rsplit_once('.').map_or("", |(_, action)| action)
    }

    /// Returns the process, for those about one.
    pub fn pid(&self) -> Option<i32> {
        self.payload.get("process_pid")?.as_i64()?.try_into().ok()
    }

    /// Returns how a process has ended, for `reap`: its exit status, or minus the signal that killed it.
    pub fn exit_code(&self) -> Option<i32> {
        self.payload.get("exit_code")?.as_i64()?.try_into().ok()
    }
}

impl From<Numbered> for Event {
    fn from(event: Numbered) -> Self {
        let payload = match event.payload {
            Value::Object(payload) => payload,
            // No event has another payload.
            other => Map::from_iter([("payload".to_owned(), other)]),
        };
        Self { topic: event.topic, payload }
    }
}

/// The events of an arbiter in their order; made by [`Arbiter::events`](super::Arbiter::events).
pub struct Events {
    bus: EventBus,
    ended: Ended,
    /// Taken and not yet asked for.
    waiting: VecDeque<Numbered>,
    /// The number of the next one to take; none before the first.
    next: Option<u64>,
    missed: u64,
}

impl Events {
    pub(super) fn new(bus: EventBus, ended: Ended) -> Self {
        Self { bus, ended, waiting: VecDeque::new(), next: None, missed: 0 }
    }

    /// Leaves out what has happened before.
    #[must_use]
    pub fn from_now_on(mut self) -> Self {
        self.next = Some(self.bus.since(None).1);
        self.waiting.clear();
        self
    }

    /// Returns the next event, waiting for it; `None` when the arbiter has ended and all were returned.
    ///
    /// May be given up and called again without losing one. The latest 256 events are kept: whoever falls
    /// further behind is told how many by [`missed`](Self::missed).
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event.into());
            }
            let over = self.ended.is_known();
            if self.take() {
                continue;
            }
            if over {
                return None;
            }
            tokio::select! {
                () = self.bus.beyond(self.next.unwrap_or_default()) => {}
                _ = self.ended.wait() => {}
            }
        }
    }

    /// Returns how many events were lost since this was last asked.
    pub fn missed(&mut self) -> u64 {
        std::mem::take(&mut self.missed)
    }

    /// Takes what there is.
    fn take(&mut self) -> bool {
        let (events, next) = self.bus.since(self.next);
        if let (Some(expected), Some(first)) = (self.next, events.first()) {
            self.missed += first.sequence.saturating_sub(expected);
        }
        self.next = Some(next);
        self.waiting = events.into();
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_by_its_topic() {
        let payload = serde_json::json!({"process_pid": 7, "exit_code": -15, "time": 1.0});
        let event =
            Event::from(Numbered { sequence: 1, topic: "watcher.a.b.reap".into(), payload });
        assert_eq!((event.watcher(), event.action()), ("a.b", "reap"));
        assert_eq!((event.pid(), event.exit_code()), (Some(7), Some(-15)));
    }
}
