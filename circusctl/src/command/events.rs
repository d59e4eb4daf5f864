//! `events`: what has happened lately, and what happens from now on, as sentences.

use crate::clock;
use crate::colour::Colour;
use protocol::signal::Signal;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// `events [-n N] [-f] [WATCHER...]`.
#[derive(Debug, clap::Args)]
pub struct Events {
    /// Show only events of these watchers; all without it
    #[arg(value_name = "WATCHER")]
    watchers: Vec<String>,
    /// How many of the latest events to show
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 20)]
    pub number: usize,
    /// Go on showing what happens, until interrupted
    #[arg(short, long)]
    pub follow: bool,
}

impl Events {
    /// The properties of a request for what comes from number `after` on.
    pub fn properties(after: Option<u64>, wait: Duration) -> Map<String, Value> {
        let mut properties = Map::new();
        if let Some(after) = after {
            properties.insert("after".into(), json!(after));
            properties.insert("wait".into(), json!(wait.as_secs_f64()));
        }
        properties
    }

    /// Whether an event is of a watcher that the user wants to see.
    pub fn wants(&self, event: &Value) -> bool {
        let topic = event.get("topic").and_then(Value::as_str).unwrap_or_default();
        // Topics carry names in lower case with blanks as underscores.
        let same = |name: &String| name.to_lowercase().replace(' ', "_") == parts(topic).0;
        self.watchers.is_empty() || self.watchers.iter().any(same)
    }

    /// The line of one event.
    pub fn render(event: &Value, colour: Colour) -> String {
        let topic = event.get("topic").and_then(Value::as_str).unwrap_or_default();
        let payload = event.get("payload").cloned().unwrap_or(Value::Null);
        let time = payload.get("time").and_then(Value::as_f64).unwrap_or(0.0);
        let (watcher, kind) = parts(topic);
        format!(
            "{} {watcher}: {}\n",
            colour.faint(&clock::local(time)),
            sentence(kind, &payload, colour)
        )
    }
}

/// The watcher and the kind in `watcher.NAME.KIND`; a name may contain dots.
fn parts(topic: &str) -> (&str, &str) {
    let rest = topic.strip_prefix("watcher.").unwrap_or(topic);
    rest.rsplit_once('.').unwrap_or((rest, ""))
}

fn sentence(kind: &str, payload: &Value, colour: Colour) -> String {
    let part = |key: &str| payload.get(key).map(Value::to_string).unwrap_or_default();
    let pid = part("process_pid");
    match kind {
        "spawn" => format!("process {pid} started"),
        "kill" => format!("process {pid} was told to end"),
        "reap" => match payload.get("exit_code").and_then(Value::as_i64) {
            Some(0) => format!("process {pid} ended"),
            Some(code) if code < 0 => {
                let signal = Signal::from_number(code.saturating_abs());
                let signal = signal.map_or_else(|| part("exit_code"), |signal| signal.to_string());
                format!("process {pid} ended by {}", colour.passing(&signal))
            }
            Some(code) => {
                format!("process {pid} ended with {}", colour.bad(&format!("exit code {code}")))
            }
            None => format!("process {pid} ended, nobody saw how"),
        },
        "start" => colour.good("started"),
        "stop" => colour.bad("stopped"),
        "reload" => "reloaded".into(),
        "updated" => "an option was set".into(),
        "add" => "added".into(),
        "remove" => "removed".into(),
        _ => {
            let mut rest = payload.clone();
            if let Some(keys) = rest.as_object_mut() {
                keys.remove("time");
            }
            format!("{kind} {rest}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(topic: &str, payload: Value) -> String {
        let line = Events::render(&json!({"topic": topic, "payload": payload}), Colour::Off);
        // The time is that of the user's zone.
        line.splitn(3, ' ').nth(2).map(str::to_owned).expect("a date, a time and a text")
    }

    #[test]
    fn events_are_sentences() {
        for (topic, payload, text) in [
            (
                "watcher.web.spawn",
                json!({"process_pid": 7, "time": 1.0}),
                "web: process 7 started\n",
            ),
            (
                "watcher.a.b.reap",
                json!({"process_pid": 7, "exit_code": -9}),
                "a.b: process 7 ended by SIGKILL\n",
            ),
            (
                "watcher.web.reap",
                json!({"process_pid": 7, "exit_code": 3}),
                "web: process 7 ended with exit code 3\n",
            ),
            (
                "watcher.web.hook_failure",
                json!({"name": "x", "time": 1}),
                "web: hook_failure {\"name\":\"x\"}\n",
            ),
        ] {
            assert_eq!(line(topic, payload), text);
        }
    }

    #[test]
    fn names_are_compared_as_topics_write_them() {
        let events = Events { watchers: vec!["My App".into()], number: 1, follow: false };
        assert!(events.wants(&json!({"topic": "watcher.my_app.stop"})));
        assert!(!events.wants(&json!({"topic": "watcher.other.stop"})));
    }
}
