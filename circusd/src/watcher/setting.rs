//! What an option of `set` and `add` changes: from a checked value to the watcher's configuration.

use crate::config::hook::TIMEOUT;
use crate::config::model::{HookConfig, MOST_PROCESSES, WatcherConfig};
use indexmap::IndexMap;
use protocol::circus::option::words;
use protocol::signal::Signal;
use serde_json::{Map, Value};

/// What has to happen after an option has been changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects {
    /// Running processes do not have it yet.
    pub reload: bool,
    /// The number of processes.
    pub resize: bool,
    /// The stdout stream.
    pub stdout: bool,
    /// The stderr stream.
    pub stderr: bool,
}

/// An option has a value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// More than one process of a singleton.
    #[error("Singleton watcher has a single process")]
    Singleton,
    /// The original refuses it at creation.
    #[error("Cannot have 2 processes with a singleton  watcher")]
    TwoOfASingleton,
    /// The value does not fit.
    #[error("'{key}' cannot be {value}: {expected}")]
    Value {
        /// The option.
        key: String,
        /// What was given.
        value: String,
        /// What would fit.
        expected: &'static str,
    },
    /// A Python hook cannot be imported.
    #[error("{0}")]
    Hook(String),
    /// The options of a stream.
    #[error("{key}: {reason}")]
    Stream {
        /// `stdout_stream` or `stderr_stream`.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// Applies checked options, all or none.
///
/// # Errors
/// [`SettingError`]; `config` is as it was then.
pub fn apply(
    config: &mut WatcherConfig,
    options: &Map<String, Value>,
) -> Result<Effects, SettingError> {
    let mut changed = config.clone();
    let mut effects = Effects::default();
    for (key, value) in options {
        apply_one(&mut changed, key, value, &mut effects)?;
    }
    if changed.singleton && changed.numprocesses > 1 {
        return Err(if config.singleton && config.numprocesses <= 1 {
            SettingError::Singleton
        } else {
            SettingError::TwoOfASingleton
        });
    }
    *config = changed;
    Ok(effects)
}

fn apply_one(
    config: &mut WatcherConfig,
    key: &str,
    value: &Value,
    effects: &mut Effects,
) -> Result<(), SettingError> {
    let wrong =
        |expected| SettingError::Value { key: key.to_owned(), value: value.to_string(), expected };
    let integer = || value.as_i64().or(value.as_bool().map(i64::from)).ok_or(wrong("a number"));
    let seconds = || value.as_f64().ok_or(wrong("a number of seconds"));
    let flag = || value.as_bool().ok_or(wrong("true or false"));
    let text = || words(value).ok_or(wrong("text"));
    if let Some(option) = key.strip_prefix("stdout_stream.") {
        effects.stdout = true;
        config.stdout_stream.insert(option.to_owned(), shown(value));
        return Ok(());
    }
    if let Some(option) = key.strip_prefix("stderr_stream.") {
        effects.stderr = true;
        config.stderr_stream.insert(option.to_owned(), shown(value));
        return Ok(());
    }
    if let Some(hook) = key.strip_prefix("hooks.") {
        return set_hook(config, hook, value).ok_or(wrong("a dotted name or a command"));
    }
    if let Some(limit) = key.strip_prefix("rlimit_") {
        if value.as_i64().is_some_and(|limit| limit < -1) {
            return Err(wrong("0 or more, or -1 for no limit"));
        }
        config.rlimits.insert(limit.to_ascii_lowercase(), value.as_i64());
        effects.reload = true;
        return Ok(());
    }
    match key {
        "numprocesses" => {
            config.numprocesses = integer()?.max(0);
            if config.numprocesses > MOST_PROCESSES.into() {
                return Err(wrong("a number up to 4194304"));
            }
            effects.resize = true;
        }
        "warmup_delay" => config.warmup_delay = seconds()?,
        "graceful_timeout" => config.graceful_timeout = seconds()?,
        "max_retry" => config.max_retry = integer()?,
        "send_hup" => config.send_hup = flag()?,
        "stop_children" => config.stop_children = flag()?,
        "respawn" => config.respawn = flag()?,
        "singleton" => config.singleton = flag()?,
        "stop_signal" => {
            config.stop_signal = signal(value).ok_or(wrong("a signal"))?;
        }
        "stdout_stream" => {
            config.stdout_stream = stream_options(value);
            effects.stdout = true;
        }
        "stderr_stream" => {
            config.stderr_stream = stream_options(value);
            effects.stderr = true;
        }
        "hooks" => {
            let hooks = value.as_object().ok_or(wrong("an object"))?;
            for (name, target) in hooks {
                set_hook(config, name, target).ok_or(wrong("dotted names or commands"))?;
            }
        }
        // Accepted by the original, and without meaning there, too.
        "retry_in" => {}
        _ => {
            effects.reload = true;
            match key {
                "cmd" => {
                    config.cmd = text()?;
                    if config.cmd.trim().is_empty() {
                        return Err(wrong("a command"));
                    }
                }
                "args" => config.args = if value.is_null() { String::new() } else { text()? },
                "working_dir" => config.working_dir = optional(value),
                "uid" => config.uid = optional(value),
                "gid" => config.gid = optional(value),
                "shell" => config.shell = flag()?,
                "copy_env" => config.copy_env = flag()?,
                "close_child_stdin" => config.close_child_stdin = flag()?,
                "close_child_stdout" => config.close_child_stdout = flag()?,
                "close_child_stderr" => config.close_child_stderr = flag()?,
                "max_age" => config.max_age = integer()?,
                "max_age_variance" => config.max_age_variance = integer()?,
                "use_papa" => {
                    if flag()? != config.use_papa {
                        return Err(wrong("it stays as it is while the watcher exists"));
                    }
                    effects.reload = false;
                }
                // The whole environment, as with the original: nothing is copied or laid over it any more.
                "env" => {
                    config.env = stream_options(value);
                    config.copy_env = false;
                    config.virtualenv = None;
                    config.hook_env = None;
                }
                _ => return Err(wrong("set: the option is unknown")),
            }
        }
    }
    Ok(())
}

fn signal(value: &Value) -> Option<Signal> {
    match value {
        Value::Number(number) => Signal::from_number(number.as_i64()?),
        Value::String(text) => Signal::parse(text).ok(),
        _ => None,
    }
}

/// A value as the text that an ini file would have.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn optional(value: &Value) -> Option<String> {
    (!value.is_null()).then(|| shown(value)).filter(|text| !text.is_empty())
}

fn stream_options(value: &Value) -> IndexMap<String, String> {
    let object = value.as_object().into_iter().flatten();
    object.map(|(key, value)| (key.clone(), shown(value))).collect()
}

/// `"function"`, `"function,true"` or `["function", true]`; for `timeout` a number of seconds.
fn set_hook(config: &mut WatcherConfig, name: &str, value: &Value) -> Option<()> {
    if name == TIMEOUT {
        let seconds = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
        config.hook_timeout = seconds.filter(|seconds| *seconds >= 0.0)?;
        return Some(());
    }
    let hook = match value.as_array().map(Vec::as_slice) {
        Some([target]) => HookConfig::parse(target.as_str()?).0,
        Some([target, flag]) => HookConfig {
            target: target.as_str()?.trim().to_owned(),
            ignore_failure: flag.as_bool()?,
        },
        Some(_) => return None,
        None => match HookConfig::parse(value.as_str()?) {
            (hook, None) => hook,
            (_, Some(_)) => return None,
        },
    };
    config.hooks.insert(name.to_owned(), Some(hook).filter(|hook| !hook.target.is_empty())?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(config: &mut WatcherConfig, options: Value) -> Result<Effects, SettingError> {
        let Value::Object(options) = options else { panic!("an object") };
        apply(config, &options)
    }

    #[test]
    fn a_new_command_reloads_and_a_number_resizes() {
        let mut config = WatcherConfig::new("web", "sleep 1");
        let effects = set(&mut config, json!({"cmd": "sleep 2", "numprocesses": -3})).unwrap();
        assert!(effects.reload && effects.resize);
        assert_eq!((config.cmd.as_str(), config.numprocesses), ("sleep 2", 0));
    }

    #[test]
    fn a_new_environment_is_the_whole_one() {
        let mut config = WatcherConfig::new("web", "sleep 1");
        config.copy_env = true;
        config.virtualenv = Some("/venv".into());
        set(&mut config, json!({"env": {"A": "b"}})).unwrap();
        assert_eq!((config.copy_env, config.virtualenv), (false, None));
        assert_eq!(config.env.len(), 1);
    }

    #[test]
    fn what_needs_no_restart_is_only_stored() {
        let mut config = WatcherConfig::new("web", "sleep 1");
        let options = json!({"graceful_timeout": 1.5, "stop_signal": "INT", "max_retry": 1});
        assert_eq!(set(&mut config, options), Ok(Effects::default()));
        assert_eq!(config.stop_signal.number(), 2);
    }

    #[test]
    fn a_bad_option_leaves_everything_as_it_was() {
        let mut config = WatcherConfig::new("web", "sleep 1");
        config.singleton = true;
        let before = config.clone();
        let error = set(&mut config, json!({"cmd": "x", "numprocesses": 2})).unwrap_err();
        assert_eq!(error, SettingError::Singleton);
        assert_eq!(config, before);
    }

    #[test]
    fn a_command_that_is_none_is_refused_as_in_add() {
        let mut config = WatcherConfig::new("web", "sleep 1");
        let error = set(&mut config, json!({"cmd": " "})).unwrap_err();
        assert_eq!(error.to_string(), "'cmd' cannot be \" \": a command");
        assert_eq!(config.cmd, "sleep 1");
    }

    #[test]
    fn no_more_processes_are_wanted_than_there_are_pids() {
        let mut config = WatcherConfig::new("web", "sleep 1");
        set(&mut config, json!({"numprocesses": 4_194_304})).unwrap();
        let error = set(&mut config, json!({"numprocesses": 99_999_999_999_i64})).unwrap_err();
        assert!(error.to_string().ends_with("a number up to 4194304"), "{error}");
        assert_eq!(config.numprocesses, 4_194_304);
    }

    #[test]
    fn a_limit_below_none_is_refused_as_in_the_file() {
        let mut config = WatcherConfig::new("web", "sleep 1");
        set(&mut config, json!({"rlimit_nofile": -1, "rlimit_core": null})).unwrap();
        let error = set(&mut config, json!({"rlimit_nofile": -5})).unwrap_err();
        let expected = "'rlimit_nofile' cannot be -5: 0 or more, or -1 for no limit";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_hook_is_a_text_or_a_pair() {
        let mut config = WatcherConfig::new("web", "sleep 1");
        let options = json!({
            "hooks.before_start": "a.b,true",
            "hooks": {"after_stop": ["a.c", false], "before_stop": "/bin/check a,b"},
            "hooks.timeout": "2.5",
        });
        assert_eq!(set(&mut config, options), Ok(Effects::default()));
        let hook = |name: &str| {
            let hook = &config.hooks[name];
            (hook.target.as_str(), hook.ignore_failure)
        };
        assert_eq!(hook("before_start"), ("a.b", true));
        assert_eq!(hook("after_stop"), ("a.c", false));
        assert_eq!(hook("before_stop"), ("/bin/check a,b", false));
        assert!((config.hook_timeout - 2.5).abs() < f64::EPSILON);
        for bad in [json!(5), json!(""), json!("a.b,maybe"), json!(["a.b", "x"]), json!([])] {
            assert!(set(&mut config, json!({"hooks.before_start": bad})).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_class_of_a_stream_is_kept_when_an_option_changes() {
        let mut config = WatcherConfig::new("web", "sleep 1");
        config.stdout_stream.insert("class".into(), "FileStream".into());
        let effects = set(&mut config, json!({"stdout_stream.max_bytes": 10})).unwrap();
        assert!(effects.stdout);
        assert_eq!(config.stdout_stream["class"], "FileStream");
        assert_eq!(config.stdout_stream["max_bytes"], "10");
    }
}
