//! Replies: `{"status": "ok", "time", ..., "id"}` or `{"status": "error", "reason", "tb", "time", "errno", "id"}`.

use super::errno::Errno;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

/// A refusal, before it is addressed to a client.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// The number that clients match on.
    pub errno: Errno,
    /// The text that people read.
    pub reason: String,
}

impl Failure {
    /// A refusal with this number and text.
    pub fn new(errno: Errno, reason: impl Into<String>) -> Self {
        Self { errno, reason: reason.into() }
    }

    /// `program NAME not found`, errno 3.
    pub fn not_found(name: &str) -> Self {
        Self::new(Errno::Message, format!("program {name} not found"))
    }

    /// `message invalid 'NAME' is missing`, errno 3.
    pub fn missing(property: &str) -> Self {
        Self::new(Errno::Message, format!("message invalid '{property}' is missing"))
    }

    /// `arbiter is already running COMMAND command`, errno 5.
    pub fn conflict(running: &str) -> Self {
        Self::new(Errno::Command, format!("arbiter is already running {running} command"))
    }
}

/// The outcome of a request: the keys of the reply besides `status`, `time` and `id`, or a refusal.
pub type Outcome = Result<Map<String, Value>, Failure>;

/// Prints the reply to the request with this id. `time` is the epoch time in seconds.
pub fn to_bytes(id: &Value, time: f64, outcome: &Outcome) -> Vec<u8> {
    let printed = match outcome {
        Ok(keys) => serde_json::to_vec(&Reply { id, time, keys }),
        Err(failure) => serde_json::to_vec(&json!({
            "status": "error",
            "reason": failure.reason,
            "tb": null,
            "time": time,
            "errno": u8::from(failure.errno),
            "id": id,
        })),
    };
    // Printing into memory fails only for maps whose keys are no texts, and there are none.
    printed.unwrap_or_default()
}

/// A reply that is no refusal, printed without a copy: that of `stats` can be large.
struct Reply<'a> {
    id: &'a Value,
    time: f64,
    keys: &'a Map<String, Value>,
}

impl Serialize for Reply<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        // The keys of the command may replace these, as `status NAME` does with `status`.
        let (status, time) = (json!("ok"), json!(self.time));
        for (key, value) in [("status", &status), ("time", &time)] {
            object.serialize_entry(key, self.keys.get(key).unwrap_or(value))?;
        }
        let rest = self.keys.iter().filter(|(key, _)| !["status", "time", "id"].contains(&&***key));
        for (key, value) in rest {
            object.serialize_entry(key, value)?;
        }
        object.serialize_entry("id", self.id)?;
        object.end()
    }
}

/// A reply as a client reads it, with all its keys in the order they came.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    keys: Map<String, Value>,
}

/// The message is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadResponse {
    /// Not JSON at all.
    #[error("not JSON")]
    NotJson,
    /// JSON, but without a `status`, which every reply has.
    #[error("not a JSON object with a `status`")]
    NoStatus,
}

impl Response {
    /// Reads one message.
    ///
    /// # Errors
    /// [`BadResponse`] when the bytes are not a JSON object that has a text as `status`.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadResponse> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(keys)) if keys.get("status").is_some_and(Value::is_string) => {
                Ok(Self { keys })
            }
            Ok(_) => Err(BadResponse::NoStatus),
            Err(_) => Err(BadResponse::NotJson),
        }
    }

    /// One key of the reply.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key)
    }

    /// `status`: `ok`, `error`, or the state of a watcher.
    pub fn status(&self) -> &str {
        self.get("status").and_then(Value::as_str).unwrap_or_default()
    }

    /// The reason of a refusal; none in a reply that is no refusal.
    pub fn failure(&self) -> Option<Failure> {
        if self.status() != "error" {
            return None;
        }
        let number = self.get("errno").and_then(Value::as_u64).and_then(|n| u8::try_from(n).ok());
        let reason = self.get("reason").and_then(Value::as_str);
        Some(Failure::new(
            number.map_or(Errno::NotSpecified, Errno::from),
            reason.unwrap_or("circusd gave no reason"),
        ))
    }

    /// All keys.
    pub fn into_value(self) -> Value {
        Value::Object(self.keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_circusd_prints_a_client_reads() {
        let bytes = to_bytes(&json!("x"), 1.5, &Err(Failure::not_found("web")));
        let response = Response::parse(&bytes).expect("own output is a reply");
        assert_eq!(response.failure(), Some(Failure::not_found("web")));
        assert_eq!(response.get("id"), Some(&json!("x")));
    }

    #[test]
    fn messages_that_are_no_replies_are_told_apart() {
        assert_eq!(Response::parse(b"<html>"), Err(BadResponse::NotJson));
        for text in ["[]", "3", "{}", r#"{"status": 3}"#] {
            assert_eq!(Response::parse(text.as_bytes()), Err(BadResponse::NoStatus), "{text}");
        }
    }

    #[test]
    fn an_error_has_exactly_the_keys_that_clients_know() {
        let bytes = to_bytes(&json!("x"), 1.5, &Err(Failure::not_found("web")));
        let value: Value = serde_json::from_slice(&bytes).expect("own output is JSON");
        let expected = json!({"status": "error", "reason": "program web not found", "tb": null,
            "time": 1.5, "errno": 3, "id": "x"});
        assert_eq!(value, expected);
    }

    #[test]
    fn a_command_may_replace_the_status() {
        let mut keys = Map::new();
        keys.insert("status".into(), json!("active"));
        let bytes = to_bytes(&Value::Null, 0.0, &Ok(keys));
        let value: Value = serde_json::from_slice(&bytes).expect("own output is JSON");
        assert_eq!(value, json!({"status": "active", "time": 0.0, "id": null}));
    }
}
