//! One look at the feed for scripts: text in the layout of the screen, or JSON.

use super::feed::{Feed, Received};
use super::history::Symbols;
use super::model::{Model, clean};
use super::rows::{self, Columns, Content};
use super::view::View;
use crate::report::CommandError;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// Rounds that make a look: CPU is measured between two.
const ROUNDS: u64 = 2;

/// After the first message so long is waited for watchers whose rounds are late.
const LAST_WAIT: Duration = Duration::from_secs(4);

/// What one look has seen.
pub struct Look {
    model: Model,
    payloads: Map<String, Value>,
}

impl Look {
    /// Receives until every watcher has been heard twice.
    ///
    /// # Errors
    /// Nothing comes within the time.
    pub fn take(feed: &Feed, endpoint: &str, patience: Duration) -> Result<Self, CommandError> {
        let begin = Instant::now();
        let mut look = Self { model: Model::default(), payloads: Map::new() };
        let mut first = None;
        while !look.model.has_rounds(ROUNDS) {
            let now = begin.elapsed();
            let end = first.map_or(patience, |first: Duration| first + LAST_WAIT);
            if now >= end {
                break;
            }
            if let Received::Messages(messages) = feed.receive(end - now)? {
                first = first.or(Some(begin.elapsed()));
                for (topic, payload) in messages {
                    look.model.take(&topic, &payload, begin.elapsed());
                    if let Ok(payload) = serde_json::from_slice(&payload) {
                        look.payloads.insert(topic, payload);
                    }
                }
            }
        }
        if look.model.begun {
            return Ok(look);
        }
        Err(CommandError::local(format!(
            "nothing is published at {endpoint} within {} s",
            patience.as_secs()
        ))
        .hint("is circusd running with `statsd = True`? --endpoint is its stats_endpoint"))
    }

    /// The list as text, without pictures.
    pub fn text(&self, view: &View, width: u16) -> String {
        let columns = Columns::for_width(width);
        let mut text = String::new();
        for row in rows::of(&self.model, view) {
            let cells = match row.content {
                Content::Title(name, ..) => vec![(0, name.to_owned())],
                content => columns.cells(&content, Symbols::Ascii),
            };
            let mut line = String::new();
            for (at, cell) in cells {
                let used = line.chars().count();
                line.push_str(&" ".repeat(usize::from(at).saturating_sub(used)));
                line.push_str(&cell);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// The last message of each topic, sorted into watchers and sockets.
    pub fn json(&self, view: &View) -> Value {
        let (mut watchers, mut sockets) = (Map::new(), Map::new());
        for (topic, payload) in &self.payloads {
            let Some(rest) = topic.strip_prefix("stat.") else { continue };
            let subtopic = payload.get("subtopic").and_then(Value::as_i64);
            let name = match subtopic {
                Some(number) => rest.strip_suffix(&format!(".{number}")).unwrap_or(rest),
                None => rest,
            };
            if !view.lets_through(name) || !self.is_there(name, subtopic) {
                continue;
            }
            let (group, members) = match name {
                "sockets" => (&mut sockets, "sockets"),
                name => {
                    let watcher = watchers.entry(clean(name)).or_insert_with(|| json!({}));
                    let Value::Object(watcher) = watcher else { continue };
                    (watcher, "processes")
                }
            };
            match subtopic {
                None => drop(group.insert("summary".to_owned(), payload.clone())),
                Some(number) => {
                    let entry = group.entry(members).or_insert_with(|| json!({}));
                    if let Value::Object(entry) = entry {
                        entry.insert(number.to_string(), payload.clone());
                    }
                }
            }
        }
        json!({"watchers": watchers, "sockets": sockets})
    }

    /// A process that ended between the rounds is left out.
    fn is_there(&self, name: &str, subtopic: Option<i64>) -> bool {
        let Some(watcher) = self.model.watchers.get(name) else { return true };
        let pid = subtopic.and_then(|pid| i32::try_from(pid).ok());
        pid.is_none_or(|pid| watcher.processes.contains_key(&pid))
    }
}
