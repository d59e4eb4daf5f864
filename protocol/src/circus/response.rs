//! Replies: `{"status": "ok", "time", ..., "id"}` or `{"status": "error", "reason", "tb", "time", "errno", "id"}`.

use super::errno::Errno;
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
    let object = match outcome {
        Ok(keys) => {
            // The keys of the command come last and may replace `status`, as `status NAME` does.
            let mut object = Map::new();
            object.insert("status".into(), json!("ok"));
            object.insert("time".into(), json!(time));
            object.extend(keys.iter().map(|(key, value)| (key.clone(), value.clone())));
            object.insert("id".into(), id.clone());
            Value::Object(object)
        }
        Err(failure) => json!({
            "status": "error",
            "reason": failure.reason,
            "tb": null,
            "time": time,
            "errno": u8::from(failure.errno),
            "id": id,
        }),
    };
    object.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

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
