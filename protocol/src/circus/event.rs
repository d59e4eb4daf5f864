//! Events on the PUB socket: topic `watcher.NAME.EVENT` and a JSON object that has `time`.

use serde_json::{Map, Value, json};

/// What happened to a watcher or to one of its processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// A stopped watcher has been started.
    Start,
    /// A watcher has been stopped.
    Stop,
    /// A process was started, or taken over from the kernel.
    Spawn {
        /// The new process.
        pid: i32,
    },
    /// circusd sent a stop signal to a process.
    Kill {
        /// The process.
        pid: i32,
    },
    /// A process has ended and was collected.
    Reap {
        /// The process.
        pid: i32,
        /// Exit status, −signal, or unknown.
        exit_code: Option<i32>,
    },
    /// A graceful reload has ended.
    Reload,
    /// An option was set.
    Updated,
    /// A watcher was added by command.
    Add,
    /// A watcher was removed by command.
    Remove,
    /// A hook has returned, whatever it said.
    HookSuccess {
        /// The hook point, `before_start`.
        name: String,
    },
    /// A hook has failed: it raised, crashed, or took too long.
    HookFailure {
        /// The hook point, `before_start`.
        name: String,
        /// What went wrong.
        error: String,
    },
    /// The papa kernel is gone, and the processes that it hosted have lost their output. They are stopped and
    /// started again in a new one. The original has no such event.
    Lost,
}

/// A watcher's name as it stands in topics.
pub fn topic_name(watcher: &str) -> String {
    watcher.to_lowercase().replace(' ', "_")
}

/// One event of one watcher.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The watcher's name as the user wrote it.
    pub watcher: String,
    /// What happened.
    pub kind: EventKind,
    /// When, in seconds since the epoch.
    pub time: f64,
}

impl Event {
    /// The topic: the name in lower case with blanks as underscores, as measured on circus 0.17.2.
    pub fn topic(&self) -> String {
        let name = topic_name(&self.watcher);
        let kind = match self.kind {
            EventKind::Start => "start",
            EventKind::Stop => "stop",
            EventKind::Spawn { .. } => "spawn",
            EventKind::Kill { .. } => "kill",
            EventKind::Reap { .. } => "reap",
            EventKind::Reload => "reload",
            EventKind::Updated => "updated",
            EventKind::Add => "add",
            EventKind::Remove => "remove",
            EventKind::HookSuccess { .. } => "hook_success",
            EventKind::HookFailure { .. } => "hook_failure",
            EventKind::Lost => "lost",
        };
        format!("watcher.{name}.{kind}")
    }

    /// The payload.
    pub fn payload(&self) -> Value {
        let mut keys = Map::new();
        match &self.kind {
            EventKind::Spawn { pid } | EventKind::Kill { pid } => {
                keys.insert("process_pid".into(), json!(pid));
            }
            EventKind::Reap { pid, exit_code } => {
                keys.insert("process_pid".into(), json!(pid));
                keys.insert("exit_code".into(), json!(exit_code));
            }
            EventKind::HookSuccess { name } => {
                keys.insert("name".into(), json!(name));
            }
            EventKind::HookFailure { name, error } => {
                keys.insert("name".into(), json!(name));
                keys.insert("error".into(), json!(error));
            }
            EventKind::Start
            | EventKind::Stop
            | EventKind::Reload
            | EventKind::Updated
            | EventKind::Add
            | EventKind::Remove
            | EventKind::Lost => {}
        }
        keys.insert("time".into(), json!(self.time));
        Value::Object(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_lower_case_without_blanks() {
        let event =
            Event { watcher: "My App".into(), kind: EventKind::Spawn { pid: 7 }, time: 2.0 };
        assert_eq!(event.topic(), "watcher.my_app.spawn");
        assert_eq!(event.payload(), json!({"process_pid": 7, "time": 2.0}));
    }
}
