//! The recorded sessions as they stand in `tests/golden/zmq`, and what of them is meant to differ.

use circus_e2e::env::free_port;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What stands for the scratch directory.
const DIRECTORY: &str = "@DIR@";

/// Turns the fixed ports and the directory of the recordings into those of one run.
pub(crate) struct Places {
    directory: String,
    ports: BTreeMap<u16, u16>,
}

impl Places {
    /// Places in this directory; ports are drawn when they are first seen.
    pub(crate) fn new(directory: String) -> Self {
        Self { directory, ports: BTreeMap::new() }
    }

    /// This run's port for a recorded one.
    pub(crate) fn port(&mut self, recorded: u16) -> u16 {
        *self.ports.entry(recorded).or_insert_with(free_port)
    }

    /// A text with this run's places.
    pub(crate) fn translate(&mut self, text: &str) -> String {
        let text = text.replace(DIRECTORY, &self.directory);
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let (before, from) = rest.split_at(start);
            let end = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
            let (digits, after) = from.split_at(end);
            out.push_str(before);
            // All ports of the recordings, and nothing else in them, look like this.
            match digits.parse::<u16>() {
                Ok(port) if (21_000..22_000).contains(&port) => {
                    out.push_str(&self.port(port).to_string())
                }
                _ => out.push_str(digits),
            }
            rest = after;
        }
        out + rest
    }
}

/// One recorded line.
pub(crate) type Line = Map<String, Value>;

/// The folder of the recordings.
pub(crate) fn folder() -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/zmq")
}

/// The lines of a file, for this run.
pub(crate) fn lines(file: &str, places: &mut Places) -> Vec<Line> {
    let path = folder().join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // Python writes a token that is no JSON.
    let text = places.translate(&text.replace("\": NaN", "\": \"NaN\""));
    // Processes inherit the nice value, which was 0 where this was recorded.
    let text = text.replace("\"nice\": 0", &format!("\"nice\": {}", own_nice()));
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a recorded line is an object"))
        .collect()
}

/// The nice value of this process, as proc_pid_stat(5) shows it.
fn own_nice() -> i32 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc is mounted");
    let (_, fields) = stat.rsplit_once(')').expect("the name stands in parentheses");
    // The 19th field; the first two are before the end of the name.
    let nice = fields.split_whitespace().nth(16).expect("there are 50 fields");
    nice.parse().expect("a number")
}

/// The session that a line belongs to; none for an observation from outside.
pub(crate) fn session_of(line: &Line) -> Option<&str> {
    line.get("session").and_then(Value::as_str)
}

/// A case that we mean to answer otherwise: a line of `tests/golden/zmq-ours.jsonl`.
pub(crate) struct Deviation {
    line: Line,
}

impl Deviation {
    /// Those of one session.
    pub(crate) fn of_session(session: &str, places: &mut Places) -> Vec<Self> {
        Self::all(places).into_iter().filter(|found| found.text("session") == session).collect()
    }

    /// All of them.
    pub(crate) fn all(places: &mut Places) -> Vec<Self> {
        lines("../zmq-ours.jsonl", places).into_iter().map(|line| Self { line }).collect()
    }

    /// The case.
    pub(crate) fn case(&self) -> &str {
        self.text("case")
    }

    /// Its entry in `docs/differences.md`.
    pub(crate) fn entry(&self) -> &str {
        self.text("entry")
    }

    /// What we answer.
    pub(crate) fn reply(&self) -> Option<&Value> {
        self.line.get("reply")
    }

    /// The topics that we publish, without `watcher.`.
    pub(crate) fn events(&self) -> Option<Vec<String>> {
        let text = self.line.get("events")?.as_str()?;
        Some(text.split_whitespace().map(|topic| format!("watcher.{topic}")).collect())
    }

    /// We publish the recorded events, and a `reap` for each process that was killed.
    pub(crate) fn has_more_reaps(&self) -> bool {
        self.flag("more_reaps")
    }

    /// At least the recorded events come, in any order.
    pub(crate) fn is_in_any_order(&self) -> bool {
        self.flag("any_order")
    }

    /// The request is not sent, because with us the session would go on otherwise.
    pub(crate) fn is_not_sent(&self) -> bool {
        self.flag("not_sent")
    }

    /// Properties to send instead of the recorded ones; the reply must be the recorded one.
    pub(crate) fn properties(&self) -> Option<&Map<String, Value>> {
        self.line.get("send").and_then(Value::as_object)
    }

    fn flag(&self, key: &str) -> bool {
        self.line.get(key).is_some_and(|value| value == true)
    }

    fn text(&self, key: &str) -> &str {
        self.line
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("{key} is missing: {:?}", self.line))
    }
}
