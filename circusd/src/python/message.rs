//! What circusd and a helper tell each other: JSON objects, one a line. Pure.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The longest line that is taken.
pub const LONGEST_LINE: usize = 16 * 1024 * 1024;

/// A line from a helper.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum FromHost {
    /// Everything has been imported, or something could not be.
    Loaded {
        /// What went wrong.
        error: Option<String>,
    },
    /// A hook has returned.
    Result {
        /// Which call.
        id: u64,
        /// It returned something true.
        ok: bool,
        /// The environment as it left it, if it changed it.
        env: Option<IndexMap<String, String>>,
        /// What else it assigned to its watcher.
        #[serde(default)]
        attributes: Map<String, Value>,
        /// `stats` as it left them.
        stats: Option<Value>,
    },
    /// A hook has raised.
    Failure {
        /// Which call.
        id: u64,
        /// The exception, in words.
        error: String,
        /// And where it came from.
        traceback: String,
    },
    /// A stream class has taken output.
    Credit {
        /// So much.
        bytes: usize,
    },
    /// A hook wants something of circusd.
    Request(HostRequest),
    /// A hook has logged something.
    Log {
        /// Python's name of the level.
        level: String,
        /// The text.
        message: String,
    },
}

/// Something that a hook wants.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct HostRequest {
    /// To be repeated in the reply.
    pub id: u64,
    /// What it wants.
    #[serde(flatten)]
    pub wish: Wish,
}

/// What a hook wants.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Wish {
    /// A command, as clients send it.
    Command {
        /// Its name.
        command: String,
        /// Its properties.
        properties: Map<String, Value>,
    },
    /// An event to be published.
    Event {
        /// The last part of the topic.
        event: String,
        /// Whose event.
        watcher: String,
        /// What goes with it.
        payload: Map<String, Value>,
    },
    /// What a watcher looks like now.
    Watcher {
        /// Its name.
        watcher: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> FromHost {
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn every_kind_of_line_is_understood() {
        let loaded = read(r#"{"type": "loaded", "error": null}"#);
        assert_eq!(loaded, FromHost::Loaded { error: None });
        let result = read(r#"{"type": "result", "id": 1, "ok": true}"#);
        assert!(matches!(result, FromHost::Result { id: 1, ok: true, env: None, .. }));
        let wishes = [
            (r#""command": "list", "properties": {}"#, "Command"),
            (r#""watcher": "web""#, "Watcher"),
            (r#""event": "mine", "watcher": "web", "payload": {"a": 1}"#, "Event"),
        ];
        for (fields, kind) in wishes {
            let line = format!(r#"{{"type": "request", "id": 2, {fields}}}"#);
            let FromHost::Request(request) = read(&line) else { panic!("a request") };
            assert!(format!("{:?}", request.wish).starts_with(kind), "{request:?}");
        }
    }
}
