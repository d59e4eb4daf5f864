//! The watcher options that `set` and `add` take, and what their values must look like.
//!
//! The keys, rules and texts are those measured on circus 0.17.2. What an option does is the business of
//! circusd's watchers.

use super::command::python_repr;
use super::errno::Errno;
use super::response::Failure;
use crate::signal::Signal;
use serde_json::{Map, Value};

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Integer,
    Number,
    IntegerOrText,
    Flag,
    Signal,
    Environment,
    Hooks,
    Stream,
    /// Whatever the daemon can make of it.
    Any,
}

const OPTIONS: &[(&str, Rule)] = &[
    ("numprocesses", Rule::Integer),
    ("warmup_delay", Rule::Number),
    ("working_dir", Rule::Any),
    ("uid", Rule::IntegerOrText),
    ("gid", Rule::IntegerOrText),
    ("send_hup", Rule::Flag),
    ("stop_signal", Rule::Signal),
    ("stop_children", Rule::Flag),
    ("shell", Rule::Flag),
    ("env", Rule::Environment),
    ("cmd", Rule::Any),
    ("args", Rule::Any),
    ("copy_env", Rule::Flag),
    ("retry_in", Rule::Number),
    ("max_retry", Rule::Integer),
    ("graceful_timeout", Rule::Number),
    ("stdout_stream", Rule::Stream),
    ("stderr_stream", Rule::Stream),
    ("max_age", Rule::Integer),
    ("max_age_variance", Rule::Integer),
    ("respawn", Rule::Flag),
    ("singleton", Rule::Any),
    ("hooks", Rule::Hooks),
    ("close_child_stdin", Rule::Flag),
    ("close_child_stdout", Rule::Flag),
    ("close_child_stderr", Rule::Flag),
    ("use_papa", Rule::Any),
];

/// The hook points.
pub const HOOKS: &[&str] = &[
    "before_start",
    "after_start",
    "before_stop",
    "after_stop",
    "before_spawn",
    "after_spawn",
    "before_signal",
    "after_signal",
    "extended_stats",
    "before_reap",
    "after_reap",
];

/// Resource limits by the name behind `rlimit_` (getrlimit(2)).
pub const LIMITS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "ofile",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Text, or a list of words put together so that it splits into the same words again.
pub fn words(value: &Value) -> Option<String> {
    let list = match value {
        Value::String(text) => return Some(text.clone()),
        Value::Array(list) => list,
        _ => return None,
    };
    let quoted = |word: &Value| {
        let word = word.as_str().map_or_else(|| word.to_string(), str::to_owned);
        format!("'{}'", word.replace('\'', "'\"'\"'"))
    };
    Some(list.iter().map(quoted).collect::<Vec<_>>().join(" "))
}

/// Checks every option; the first that is wrong is told.
///
/// # Errors
/// errno 3 with the original's text.
pub fn check(options: &Map<String, Value>) -> Result<(), Failure> {
    options.iter().try_for_each(|(key, value)| check_one(key, value))
}

fn check_one(key: &str, value: &Value) -> Result<(), Failure> {
    if key == "hooks.timeout" {
        // No hook, but how long each may take; the original does not know it.
        let seconds = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
        let good = seconds.is_some_and(|seconds: f64| seconds >= 0.0);
        return if good { Ok(()) } else { Err(bad(format!("'{key}' isn't a number"))) };
    }
    if let Some(name) = key.strip_prefix("hooks.") {
        return known_hook(name).ok_or_else(|| bad(format!("Unknown hook {}", python_repr(name))));
    }
    if key.starts_with("stdout_stream.") || key.starts_with("stderr_stream.") {
        return Ok(());
    }
    if let Some(name) = key.strip_prefix("rlimit_") {
        return check_limit(key, name, value);
    }
    let Some((_, rule)) = OPTIONS.iter().find(|(known, _)| *known == key) else {
        return Err(bad(format!("unknown key {}", python_repr(key))));
    };
    let (good, wanted) = match rule {
        Rule::Any => return Ok(()),
        Rule::Environment => return check_environment(key, value),
        Rule::Hooks => return check_hooks(value),
        Rule::Stream => return check_stream(key, value),
        Rule::Integer => (value.is_i64() || value.is_boolean(), "an integer"),
        Rule::Signal => (is_signal(value), "an integer"),
        Rule::Number => (value.is_number(), "a number"),
        Rule::IntegerOrText => (value.is_i64() || value.is_string(), "an integer or string"),
        Rule::Flag => (value.is_boolean(), "a valid boolean"),
    };
    if good { Ok(()) } else { Err(bad(format!("'{key}' isn't {wanted}"))) }
}

/// A name is welcome, too; clients of the original send the number.
fn is_signal(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_i64().and_then(Signal::from_number).is_some(),
        Value::String(text) => Signal::parse(text).is_ok(),
        _ => false,
    }
}

fn check_limit(key: &str, name: &str, value: &Value) -> Result<(), Failure> {
    if !LIMITS.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(bad(format!("'{key}' isn't a valid rlimit setting")));
    }
    if value.is_i64() || value.is_null() {
        return Ok(());
    }
    Err(bad(format!("{} rlimit value isn't a valid int", shown(value))))
}

fn check_environment(key: &str, value: &Value) -> Result<(), Failure> {
    let Value::Object(variables) = value else {
        return Err(bad(format!("'{key}' isn't a valid object")));
    };
    match variables.iter().find(|(_, value)| !value.is_string()) {
        Some((name, _)) => Err(bad(format!("'{name}' isn't a string"))),
        None => Ok(()),
    }
}

fn check_hooks(value: &Value) -> Result<(), Failure> {
    let Value::Object(hooks) = value else {
        return Err(bad(format!("{} isn't a valid hook dict", shown(value))));
    };
    match hooks.keys().find(|name| known_hook(name).is_none()) {
        Some(name) => Err(bad(format!("Unknown hook {}", python_repr(name)))),
        None => Ok(()),
    }
}

fn check_stream(key: &str, value: &Value) -> Result<(), Failure> {
    let Value::Object(options) = value else {
        return Err(bad(format!("'{key}' isn't a valid object")));
    };
    if options.contains_key("class") {
        return Ok(());
    }
    Err(bad(format!("'{key}' must have a 'class' key")))
}

fn known_hook(name: &str) -> Option<()> {
    HOOKS.contains(&name).then_some(())
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => python_repr(text),
        other => other.to_string(),
    }
}

fn bad(reason: String) -> Failure {
    Failure::new(Errno::Message, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reason(options: Value) -> Option<String> {
        let Value::Object(options) = options else { panic!("an object") };
        check(&options).err().map(|failure| failure.reason)
    }

    #[test]
    fn good_options_pass() {
        let options = json!({
            "numprocesses": 2, "warmup_delay": 0.5, "uid": "nobody", "shell": false, "stop_signal": 15,
            "env": {"A": "b"}, "cmd": "sleep 1", "args": ["x"], "stdout_stream": {"class": "StdoutStream"},
            "stdout_stream.filename": "x", "hooks.before_start": "a.b", "hooks.timeout": 5, "rlimit_nofile": 10,
            "rlimit_core": null, "hooks": {"after_stop": "a.b"}
        });
        assert_eq!(reason(options), None);
    }

    #[test]
    fn wrong_options_get_the_words_of_the_original() {
        for (options, expected) in [
            (json!({"foo": 1}), "unknown key 'foo'"),
            (json!({"numprocesses": "2"}), "'numprocesses' isn't an integer"),
            (json!({"warmup_delay": "x"}), "'warmup_delay' isn't a number"),
            (json!({"uid": 1.5}), "'uid' isn't an integer or string"),
            (json!({"shell": 1}), "'shell' isn't a valid boolean"),
            (json!({"env": []}), "'env' isn't a valid object"),
            (json!({"env": {"A": 1}}), "'A' isn't a string"),
            (json!({"hooks.timeout": "soon"}), "'hooks.timeout' isn't a number"),
            (json!({"hooks": 1}), "1 isn't a valid hook dict"),
            (json!({"stdout_stream": 1}), "'stdout_stream' isn't a valid object"),
            (json!({"stdout_stream": {}}), "'stdout_stream' must have a 'class' key"),
            (json!({"rlimit_foo": 1}), "'rlimit_foo' isn't a valid rlimit setting"),
            (json!({"rlimit_nofile": "x"}), "'x' rlimit value isn't a valid int"),
        ] {
            assert_eq!(reason(options.clone()).as_deref(), Some(expected), "{options}");
        }
    }
}
