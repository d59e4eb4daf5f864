//! `listen`: the events of circusd, one line each.

use crate::subscriber::Published;
use serde_json::{Value, json};

/// `listen [TOPIC...]`.
#[derive(Debug, clap::Args)]
pub struct Listen {
    /// Show only events whose topic begins so, such as `watcher.web.`; all without it
    pub topic: Vec<String>,
}

impl Listen {
    /// The line of one event.
    pub fn render(event: &Published) -> String {
        format!("{}: {}\n", event.topic, event.payload)
    }

    /// The same for `--json`. A payload that is no JSON stays a text.
    pub fn json(event: &Published) -> Value {
        let payload = serde_json::from_str(&event.payload);
        let payload = payload.unwrap_or_else(|_| Value::String(event.payload.clone()));
        json!({"topic": event.topic, "payload": payload})
    }
}
