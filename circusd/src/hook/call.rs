//! What a hook is told: the point and what goes with it. Pure.

use super::point::HookPoint;
use protocol::signal::Signal;
use serde_json::{Map, Value, json};

/// What the original calls the state of a process that has ended by itself (`process_status`).
const UNEXISTING: i32 = 2;

/// One run of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookCall {
    /// Nothing goes with it: `before_start`, `after_start`, `before_spawn`, `before_stop`, `after_stop`.
    Plain(HookPoint),
    /// `after_spawn`.
    AfterSpawn {
        /// The new process.
        pid: i32,
    },
    /// `before_signal`.
    BeforeSignal {
        /// Who gets it.
        pid: i32,
        /// Which.
        signal: Signal,
    },
    /// `after_signal`.
    AfterSignal {
        /// Who got it.
        pid: i32,
        /// Which.
        signal: Signal,
    },
    /// `before_reap`.
    BeforeReap {
        /// Who has ended.
        pid: i32,
    },
    /// `after_reap`.
    AfterReap {
        /// Who has ended.
        pid: i32,
        /// Exit status, −signal, or unknown.
        exit_code: Option<i32>,
        /// It had been asked to end.
        asked: bool,
    },
    /// `extended_stats`.
    ExtendedStats {
        /// Whose figures.
        pid: i32,
        /// The figures, for the hook to change.
        stats: Value,
    },
}

impl HookCall {
    /// The hook.
    pub fn point(&self) -> HookPoint {
        match self {
            Self::Plain(point) => *point,
            Self::AfterSpawn { .. } => HookPoint::AfterSpawn,
            Self::BeforeSignal { .. } => HookPoint::BeforeSignal,
            Self::AfterSignal { .. } => HookPoint::AfterSignal,
            Self::BeforeReap { .. } => HookPoint::BeforeReap,
            Self::AfterReap { .. } => HookPoint::AfterReap,
            Self::ExtendedStats { .. } => HookPoint::ExtendedStats,
        }
    }

    /// What a Python function gets besides `watcher`, `arbiter` and `hook_name`: exactly the keywords of
    /// circus 0.17.2, because some hooks take no others. `time` is now, in seconds since the epoch.
    pub fn keywords(&self, time: f64) -> Map<String, Value> {
        let value = match self {
            Self::Plain(_) => json!({}),
            Self::AfterSpawn { pid } => json!({"pid": pid}),
            Self::BeforeSignal { pid, signal } | Self::AfterSignal { pid, signal } => {
                json!({"pid": pid, "signum": signal.number()})
            }
            Self::BeforeReap { pid } => json!({"process_pid": pid, "time": time}),
            Self::AfterReap { pid, exit_code, asked } => json!({
                "process_pid": pid,
                "time": time,
                "exit_code": exit_code,
                "process_status": (!asked).then_some(UNEXISTING),
            }),
            Self::ExtendedStats { pid, stats } => json!({"pid": pid, "stats": stats}),
        };
        match value {
            Value::Object(keywords) => keywords,
            _ => Map::new(),
        }
    }

    /// What a command gets in its environment for the same.
    pub fn variables(&self, time: f64) -> Vec<(String, String)> {
        let mut variables = vec![("CIRCUS_HOOK".to_owned(), self.point().as_str().to_owned())];
        for (key, value) in self.keywords(time) {
            let name = match key.as_str() {
                "stats" => continue, // It comes on standard input.
                "process_pid" => "PID".to_owned(),
                other => other.to_uppercase(),
            };
            if !value.is_null() {
                variables.push((format!("CIRCUS_{name}"), value.to_string()));
            }
        }
        variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_was_asked_to_end_has_no_status() {
        let call = |asked| HookCall::AfterReap { pid: 7, exit_code: Some(-15), asked };
        assert_eq!(call(true).keywords(1.0)["process_status"], Value::Null);
        assert_eq!(call(false).keywords(1.0)["process_status"], 2);
    }

    #[test]
    fn a_command_is_told_the_same_in_its_environment() {
        let call = HookCall::BeforeSignal { pid: 7, signal: Signal::TERM };
        let pairs =
            [("CIRCUS_HOOK", "before_signal"), ("CIRCUS_PID", "7"), ("CIRCUS_SIGNUM", "15")];
        assert_eq!(call.variables(1.0), pairs.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }
}
