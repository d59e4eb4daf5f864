//! What is to be remembered of a watcher beyond the ini file: what operators changed while circusd ran, and
//! what its processes were started with. Pure: notes and configurations in, notes and configurations out.
//!
//! A note is one word of printable ASCII, so that every kernel can keep it as a value (`papa::journal`). It
//! holds only what differs from the file, each with a fingerprint of what the file said at the time: when
//! the file says something else later, the file wins. Whoever may talk to the kernel, which is its own user
//! and root, can read it; an environment that was changed with `set` is in it.

use super::wid::Wid;
use crate::config::model::WatcherConfig;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The version of the format. A note of another version is not used.
const VERSION: u64 = 1;

/// The fields that decide what a process is started with.
const DEFINITION: &[&str] = &[
    "cmd",
    "args",
    "env",
    "copy_env",
    "copy_path",
    "working_dir",
    "shell",
    "shell_args",
    "uid",
    "gid",
    "rlimits",
    "use_sockets",
    "close_child_stdin",
    "close_child_stdout",
    "close_child_stderr",
    "stdin_socket",
    "virtualenv",
    "virtualenv_py_ver",
];

/// The field whose change says that a watcher runs, or does not, whatever `autostart` says.
const RUNS: &str = "autostart";

/// Its value for [`Runs::Begun`].
const BEGUN: &str = "begun";

/// Whether a watcher is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// It is stopped.
    No,
    /// It runs, or is to.
    Yes,
    /// It does not respawn, and its processes have been started: what has ended is done.
    Begun,
}

/// Where a watcher comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The ini file.
    File,
    /// `add`. The file may have a section of that name, which was removed before: its fingerprint.
    Added(Option<u64>),
    /// It was removed, and its section, if there is one, had this fingerprint.
    Removed {
        /// Of the section.
        section: Option<u64>,
        /// Its processes were to go on.
        nostop: bool,
    },
}

/// One field that differs from the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Fingerprint of what the file says; none when it says nothing.
    was: Option<u64>,
    /// What holds instead; none when the field is gone.
    now: Option<Value>,
}

/// How the processes are stopped when nothing else is known about the watcher any more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ending {
    /// Number of the signal that asks.
    pub signal: i32,
    /// Seconds until SIGKILL.
    pub grace: f64,
    /// The signal goes to their children, too.
    pub children: bool,
}

/// What is noted of one watcher.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// The name as the user wrote it.
    pub name: String,
    /// The endpoint of the circusd that wrote it. Several may share a kernel.
    pub owner: String,
    /// Where the watcher comes from.
    pub origin: Origin,
    /// What differs from the file, by field.
    pub changes: BTreeMap<String, Change>,
    /// Fingerprint of what processes are started with.
    pub definition: u64,
    /// Slots whose process was started with something else.
    pub stale: BTreeSet<Wid>,
    /// How to stop it.
    pub ending: Ending,
}

/// A note cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not written by us, or damaged.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// Written by another circusd.
    #[error("it has format {0}, this circusd knows format {VERSION}")]
    Version(u64),
}

/// A configuration with what was noted laid over it.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// The result.
    pub config: WatcherConfig,
    /// It is to run.
    pub runs: Runs,
    /// Fields that hold as they were noted.
    pub kept: Vec<String>,
    /// Fields for which the file says something else than at the time, so that the file holds.
    pub overruled: Vec<String>,
}

impl From<bool> for Runs {
    fn from(runs: bool) -> Self {
        if runs { Self::Yes } else { Self::No }
    }
}

/// A number that stands for a configuration, the same in every version of circusd that has its fields.
pub fn section(config: &WatcherConfig) -> u64 {
    fingerprint(&Value::Object(flat(config)))
}

/// A number that stands for what processes are started with.
pub fn definition(config: &WatcherConfig) -> u64 {
    let all = Value::Object(fields(config));
    let chosen: Vec<&Value> = DEFINITION.iter().filter_map(|field| all.get(field)).collect();
    fingerprint(&json!(chosen))
}

/// How the processes of this watcher are stopped.
pub fn ending(config: &WatcherConfig) -> Ending {
    let grace = if config.graceful_timeout.is_finite() { config.graceful_timeout } else { 1e9 };
    Ending { signal: config.stop_signal.number(), grace, children: config.stop_children }
}

/// What differs between the file and what holds now.
pub fn changes(file: &WatcherConfig, now: &WatcherConfig, runs: Runs) -> BTreeMap<String, Change> {
    let (file, mut now) = (flat(file), flat(now));
    let runs = match runs {
        Runs::No => json!(false),
        Runs::Yes => json!(true),
        Runs::Begun => json!(BEGUN),
    };
    now.insert(RUNS.to_owned(), runs);
    let names: BTreeSet<&String> = file.keys().chain(now.keys()).collect();
    let differing = names.into_iter().filter(|name| file.get(*name) != now.get(*name));
    differing
        .map(|name| {
            let was = file.get(name).map(fingerprint);
            (name.clone(), Change { was, now: now.get(name).cloned() })
        })
        .collect()
}

/// Lays what was noted over what the file says now.
pub fn merge(file: &WatcherConfig, changes: &BTreeMap<String, Change>) -> Merged {
    let said = flat(file);
    let mut all = fields(file);
    let mut merged = Merged {
        config: file.clone(),
        runs: Runs::from(file.autostart),
        kept: Vec::new(),
        overruled: Vec::new(),
    };
    for (name, change) in changes {
        if said.get(name).map(fingerprint) != change.was {
            merged.overruled.push(name.clone());
        } else if name == RUNS {
            merged.runs = match &change.now {
                Some(Value::Bool(runs)) => Runs::from(*runs),
                Some(Value::String(text)) if text == BEGUN => Runs::Begun,
                _ => merged.runs,
            };
            merged.kept.push(name.clone());
        } else if let Some(changed) = with(&all, name, change.now.as_ref()) {
            // A value that this version cannot use is left out by itself.
            match serde_json::from_value(Value::Object(changed.clone())) {
                Ok(config) => {
                    merged.config = config;
                    all = changed;
                    merged.kept.push(name.clone());
                }
                Err(_) => merged.overruled.push(name.clone()),
            }
        }
    }
    merged.config.written.clone_from(&file.written);
    merged
}

/// The fields with one of them changed; none when there is no such field.
fn with(all: &Map<String, Value>, name: &str, now: Option<&Value>) -> Option<Map<String, Value>> {
    let mut all = all.clone();
    let (field, key) = name.split_once('.').unwrap_or((name, ""));
    match (all.get_mut(field)?, now) {
        (Value::Object(map), Some(now)) if name.contains('.') => {
            map.insert(key.to_owned(), now.clone());
        }
        (Value::Object(map), None) if name.contains('.') => {
            map.shift_remove(key);
        }
        (value, now) => *value = now.cloned().unwrap_or_default(),
    }
    Some(all)
}

fn fields(config: &WatcherConfig) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        // A struct with named fields and text keys always becomes an object.
        _ => Map::new(),
    }
}

/// The fields that are set, with each entry of a map (`env.PATH`) as a field of its own.
fn flat(config: &WatcherConfig) -> Map<String, Value> {
    let mut flat = Map::new();
    for (field, value) in fields(config) {
        match value {
            Value::Object(map) => {
                flat.extend(map.into_iter().map(|(key, value)| (format!("{field}.{key}"), value)));
            }
            Value::Null => {}
            value if field != "name" => {
                flat.insert(field, value);
            }
            _ => {}
        }
    }
    flat
}

/// FNV-1a, because the number must be the same in the next version.
fn fingerprint(value: &Value) -> u64 {
    let text = value.to_string();
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Note {
    /// Nothing is noted that the file does not say.
    pub fn says_nothing(&self) -> bool {
        self.origin == Origin::File && self.changes.is_empty()
    }

    /// The note as one word.
    pub fn encode(&self) -> Vec<u8> {
        let mut all = Map::new();
        all.insert("v".into(), json!(VERSION));
        all.insert("n".into(), json!(self.name));
        all.insert("o".into(), json!(self.owner));
        let (kind, section) = match self.origin {
            Origin::File => ("file", None),
            Origin::Added(section) => ("added", section),
            Origin::Removed { section, nostop: false } => ("removed", section),
            Origin::Removed { section, nostop: true } => ("left", section),
        };
        all.insert("k".into(), json!(kind));
        if let Some(section) = section {
            all.insert("s".into(), json!(section));
        }
        if !self.changes.is_empty() {
            let change = |(name, change): (&String, &Change)| {
                let mut pair = vec![json!(change.was)];
                pair.extend(change.now.clone());
                (name.clone(), Value::Array(pair))
            };
            all.insert("c".into(), Value::Object(self.changes.iter().map(change).collect()));
        }
        all.insert("d".into(), json!(self.definition));
        if !self.stale.is_empty() {
            let wids: Vec<u32> = self.stale.iter().map(|wid| wid.0).collect();
            all.insert("w".into(), json!(wids));
        }
        let Ending { signal, grace, children } = self.ending;
        all.insert("e".into(), json!([signal, grace, children]));
        one_word(&Value::Object(all).to_string())
    }

    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn decode(word: &[u8]) -> Result<Self, NoteError> {
        let unreadable = |what: &str| NoteError::Unreadable(what.to_owned());
        let all: Map<String, Value> = serde_json::from_slice(word)
            .map_err(|error| NoteError::Unreadable(error.to_string()))?;
        match all.get("v").and_then(Value::as_u64) {
            Some(VERSION) => {}
            Some(other) => return Err(NoteError::Version(other)),
            None => return Err(unreadable("it has no version")),
        }
        let text = |key: &str| {
            let text = all.get(key).and_then(Value::as_str).map(str::to_owned);
            text.ok_or_else(|| NoteError::Unreadable(format!("`{key}` is missing")))
        };
        let section = all.get("s").and_then(Value::as_u64);
        let origin = match text("k")?.as_str() {
            "file" => Origin::File,
            "added" => Origin::Added(section),
            "removed" => Origin::Removed { section, nostop: false },
            "left" => Origin::Removed { section, nostop: true },
            _ => return Err(unreadable("its kind is unknown")),
        };
        let mut changes = BTreeMap::new();
        for (name, pair) in all.get("c").and_then(Value::as_object).into_iter().flatten() {
            let Some([was, now @ ..]) = pair.as_array().map(Vec::as_slice) else {
                return Err(unreadable("a change is no pair"));
            };
            let change = Change { was: was.as_u64(), now: now.first().cloned() };
            changes.insert(name.clone(), change);
        }
        let wids = all.get("w").and_then(Value::as_array).into_iter().flatten();
        let wid = |value: &Value| value.as_u64().and_then(|wid| u32::try_from(wid).ok()).map(Wid);
        let Some([signal, grace, children]) =
            all.get("e").and_then(Value::as_array).map(Vec::as_slice)
        else {
            return Err(unreadable("`e` is missing"));
        };
        let number = signal.as_i64().and_then(|number| i32::try_from(number).ok());
        let (Some(signal), Some(grace), Some(children)) =
            (number, grace.as_f64(), children.as_bool())
        else {
            return Err(unreadable("`e` is no ending"));
        };
        Ok(Self {
            name: text("n")?,
            owner: text("o")?,
            origin,
            changes,
            definition: all.get("d").and_then(Value::as_u64).unwrap_or_default(),
            stale: wids.filter_map(wid).collect(),
            ending: Ending { signal, grace, children },
        })
    }
}

/// JSON without blanks, quotes of the line protocol or bytes beyond ASCII. What is replaced can only stand
/// inside a text, where an escape (a backslash, u and four digits) means the same.
fn one_word(json: &str) -> Vec<u8> {
    let mut word = Vec::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii_alphanumeric() || "{}[]:,\"\\-+._/".contains(character) {
            word.push(character as u8);
            continue;
        }
        let mut units = [0; 2];
        for unit in character.encode_utf16(&mut units) {
            word.extend(format!("\\u{unit:04x}").bytes());
        }
    }
    word
}

#[cfg(test)]
#[path = "intent_tests.rs"]
mod tests;
