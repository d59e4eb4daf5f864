//! From the words of `set` to typed values: pure.
//!
//! circusd wants numbers, booleans and objects, the command line has only text. The types per key
//! were measured on circusctl 0.17.2.

use crate::report::CommandError;
use crate::suggest;
use protocol::signal::Signal;
use serde_json::{Map, Value, json};

/// The options that `set` knows by a fixed name.
pub const OPTION_KEYS: [&str; OPTIONS.len()] = {
    let mut keys = [""; OPTIONS.len()];
    let mut at = 0;
    while at < keys.len() {
        keys[at] = OPTIONS[at].0;
        at += 1;
    }
    keys
};

/// The type of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Integer,
    Seconds,
    Boolean,
    Signal,
    Hooks,
    Environment,
    Text,
}

/// Options with a fixed name.
const OPTIONS: &[(&str, Type)] = &[
    ("args", Type::Text),
    ("close_child_stderr", Type::Boolean),
    ("close_child_stdin", Type::Boolean),
    ("close_child_stdout", Type::Boolean),
    ("cmd", Type::Text),
    ("copy_env", Type::Boolean),
    ("env", Type::Environment),
    ("gid", Type::Text),
    ("graceful_timeout", Type::Seconds),
    ("hooks", Type::Hooks),
    ("max_age", Type::Integer),
    ("max_age_variance", Type::Integer),
    ("max_retry", Type::Integer),
    ("numprocesses", Type::Integer),
    ("respawn", Type::Boolean),
    ("retry_in", Type::Seconds),
    ("send_hup", Type::Boolean),
    ("shell", Type::Boolean),
    ("singleton", Type::Boolean),
    ("stop_children", Type::Boolean),
    ("stop_signal", Type::Signal),
    ("uid", Type::Text),
    ("use_papa", Type::Boolean),
    ("warmup_delay", Type::Seconds),
    ("working_dir", Type::Text),
];

/// The hooks that a watcher can have.
const HOOKS: &[&str] = &[
    "after_reap",
    "after_signal",
    "after_spawn",
    "after_start",
    "after_stop",
    "before_reap",
    "before_signal",
    "before_spawn",
    "before_start",
    "before_stop",
    "extended_stats",
];

/// The value for an option, in the type that circusd wants. The key is in lower case.
///
/// # Errors
/// An unknown key, or a text that is no value of its type.
pub(super) fn parse(key: &str, text: &str) -> Result<Value, CommandError> {
    let misfit = |wanted: &str| {
        CommandError::local(format!("option `{key}` takes {wanted}, and `{text}` is none"))
    };
    Ok(match type_of(key)? {
        Type::Integer => json!(text.trim().parse::<i64>().map_err(|_| misfit("an integer"))?),
        Type::Seconds => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => json!(number),
            _ => return Err(misfit("a number of seconds")),
        },
        Type::Boolean => match text.to_lowercase().as_str() {
            "yes" | "true" | "on" | "1" => json!(true),
            "no" | "false" | "off" | "0" => json!(false),
            _ => return Err(misfit("a truth value (yes, true, on, 1, no, false, off, 0)")),
        },
        Type::Signal => {
            let signal = Signal::parse(text).map_err(|error| {
                CommandError::local(format!("option `{key}` needs a signal"))
                    .cause(error.to_string())
            })?;
            json!(signal.number())
        }
        Type::Hooks => {
            let mut hooks = Map::new();
            for entry in text.split(',') {
                let (name, function) = entry
                    .split_once(':')
                    .ok_or_else(|| misfit("hooks as NAME:FUNCTION,NAME:FUNCTION"))?;
                hooks.insert(known_hook(name)?.into(), json!(function));
            }
            Value::Object(hooks)
        }
        Type::Environment => {
            let mut variables = Map::new();
            for entry in text.split(',') {
                let (name, value) = entry
                    .split_once('=')
                    .ok_or_else(|| misfit("variables as NAME=VALUE,NAME=VALUE"))?;
                variables.insert(name.into(), json!(value));
            }
            Value::Object(variables)
        }
        Type::Text => json!(text),
    })
}

fn type_of(key: &str) -> Result<Type, CommandError> {
    if let Some((_, kind)) = OPTIONS.iter().find(|(name, _)| *name == key) {
        return Ok(*kind);
    }
    match key.split_once('.') {
        Some(("stdout_stream" | "stderr_stream", "max_bytes" | "backup_count")) => {
            Ok(Type::Integer)
        }
        Some(("stdout_stream" | "stderr_stream", _)) => Ok(Type::Text),
        Some(("hooks", name)) => known_hook(name).map(|_| Type::Text),
        _ if key.starts_with("rlimit_") => Ok(Type::Integer),
        _ => {
            let error = CommandError::local(format!("unknown key '{key}'"));
            Err(match suggest::nearest(key, OPTION_KEYS) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint("`circusctl options NAME` shows the options of a watcher"),
            })
        }
    }
}

fn known_hook(name: &str) -> Result<&str, CommandError> {
    if HOOKS.contains(&name) {
        return Ok(name);
    }
    Err(CommandError::local(format!("unknown hook `{name}`"))
        .hint(format!("the hooks are {}", HOOKS.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(key: &str, text: &str) -> String {
        parse(key, text).expect_err("must be refused").message
    }

    #[test]
    fn a_value_that_does_not_fit_names_option_and_text() {
        for (key, text) in [
            ("numprocesses", "abc"),
            ("numprocesses", "1.5"),
            ("graceful_timeout", "nan"),
            ("send_hup", "maybe"),
            ("hooks", "before_start"),
            ("env", "A"),
            ("rlimit_nofile", "x"),
            ("stdout_stream.max_bytes", "x"),
        ] {
            let message = refused(key, text);
            assert!(message.contains(&format!("`{key}`")), "{message}");
            assert!(message.contains(&format!("`{text}`")), "{message}");
        }
    }

    #[test]
    fn unknown_keys_and_hooks_are_refused_before_anything_is_sent() {
        assert_eq!(refused("foo", "1"), "unknown key 'foo'");
        assert_eq!(refused("foo.bar", "1"), "unknown key 'foo.bar'");
        assert_eq!(refused("hooks.nohook", "a.b"), "unknown hook `nohook`");
        assert_eq!(refused("hooks", "nohook:a.b"), "unknown hook `nohook`");
    }

    #[test]
    fn an_environment_is_written_as_it_is_shown() {
        assert_eq!(parse("env", "A=1,B=x=y").expect("fits"), json!({"A": "1", "B": "x=y"}));
    }
}
