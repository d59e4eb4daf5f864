//! What circusd publishes, as plugins see it.

use serde_json::Value;

/// What the topics of all events of watchers begin with.
pub const PREFIX: &str = "watcher.";

/// Something that has happened to a watcher or to one of its processes.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The watcher's name as it stands in topics: in lower case, with `_` for blanks. circusd finds a watcher
    /// by it as well as by its own name.
    pub watcher: String,
    /// `spawn`, `reap`, `kill`, `start`, `stop`, `updated`, `reload`, ...
    pub action: String,
    /// The message: an object, or null if it was no JSON.
    pub message: Value,
}

impl Event {
    /// Reads the two frames of an event; none if the topic is of another kind.
    ///
    /// Actions have no dot and names may have some, so the last dot divides them.
    pub fn parse(topic: &[u8], message: &[u8]) -> Option<Self> {
        let topic = String::from_utf8_lossy(topic);
        let (watcher, action) = topic.strip_prefix(PREFIX)?.rsplit_once('.')?;
        let message = serde_json::from_slice(message).unwrap_or_default();
        Some(Self { watcher: watcher.to_owned(), action: action.to_owned(), message })
    }

    /// The process that the event is about, if it is about one.
    pub fn pid(&self) -> Option<i32> {
        i32::try_from(self.message.get("process_pid")?.as_i64()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_dots_and_an_action_has_none() {
        let event =
            Event::parse(b"watcher.plugin:a.b.spawn", br#"{"process_pid": 7, "time": 1.5}"#);
        let event = event.expect("an event");
        assert_eq!((event.watcher.as_str(), event.action.as_str()), ("plugin:a.b", "spawn"));
        assert_eq!(event.pid(), Some(7));
    }

    #[test]
    fn other_topics_are_no_events_and_odd_messages_are_null() {
        for topic in ["stat.web.7", "watcher.web", "watcher", ""] {
            assert_eq!(Event::parse(topic.as_bytes(), b"{}"), None, "{topic}");
        }
        let event = Event::parse(b"watcher.web.stop", b"{").expect("an event");
        assert_eq!((event.message.clone(), event.pid()), (Value::Null, None));
    }
}
