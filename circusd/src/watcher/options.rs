//! What the `options` and `get` commands show of a watcher.

use crate::config::model::WatcherConfig;
use crate::config::variables;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

/// All options of a watcher in alphabetical order, free-form ones among them, with the types
/// measured on circus 0.17.2.
///
/// `environment` is that of circusd: with `copy_env` the watcher's own lies over it.
pub fn of(
    config: &WatcherConfig,
    numprocesses: u32,
    environment: &[(String, String)],
) -> Map<String, Value> {
    let mut options = Map::new();
    let mut add = |key: &str, value: Value| {
        options.insert(key.to_owned(), value);
    };
    // A watcher from a file has empty texts where one made by `add` has null.
    let added = config.written.is_empty();
    add("args", if added && config.args.is_empty() { Value::Null } else { json!(config.args) });
    add("close_child_stderr", json!(config.close_child_stderr));
    add("close_child_stdin", json!(config.close_child_stdin));
    add("close_child_stdout", json!(config.close_child_stdout));
    add("cmd", json!(config.cmd));
    add("copy_env", json!(config.copy_env));
    // An environment that cannot be had is said at every start; here the file's own is shown.
    let env = variables(config, environment).unwrap_or_else(|_| config.env.clone());
    add("env", if added && env.is_empty() { Value::Null } else { json!(env) });
    add("executable", json!(config.executable));
    add("gid", id(config.gid.as_deref()));
    add("graceful_timeout", json!(config.graceful_timeout));
    add("max_age", json!(config.max_age));
    add("max_age_variance", json!(config.max_age_variance));
    add("max_retry", json!(config.max_retry));
    add("numprocesses", json!(numprocesses));
    add("on_demand", json!(config.on_demand));
    add("priority", json!(config.priority));
    add("respawn", json!(config.respawn));
    add("send_hup", json!(config.send_hup));
    add("shell", json!(config.shell));
    add("shell_args", json!(config.shell_args));
    add("singleton", json!(config.singleton));
    add("stderr_stream_conf", stream(&config.stderr_stream, added));
    add("stdout_stream_conf", stream(&config.stdout_stream, added));
    add("stop_children", json!(config.stop_children));
    add("stop_signal", json!(config.stop_signal.number()));
    add("uid", id(config.uid.as_deref()));
    add("use_papa", json!(config.use_papa));
    add("use_sockets", json!(config.use_sockets));
    add("warmup_delay", warmup(config.warmup_delay));
    add("working_dir", json!(config.working_dir.as_deref().unwrap_or(&cwd())));
    // The original shows none of these; whoever sets a hook wants to see it.
    for (name, hook) in &config.hooks {
        let flag = if hook.ignore_failure { ",true" } else { "" };
        add(&format!("hooks.{name}"), json!(format!("{}{flag}", hook.target)));
    }
    for (key, value) in &config.free {
        add(key, json!(value));
    }
    options.sort_keys();
    options
}

/// Processes without a working directory of their own start in circusd's.
fn cwd() -> String {
    std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default()
}

/// A number where it is one, as clients get it from the original.
fn id(text: Option<&str>) -> Value {
    match text {
        None => Value::Null,
        Some(text) => text.parse::<u32>().map_or_else(|_| json!(text), |number| json!(number)),
    }
}

/// Whole seconds from a file are an integer there.
fn warmup(seconds: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
    if seconds.fract() == 0.0 && seconds.abs() < 1e15 {
        json!(seconds as i64)
    } else {
        json!(seconds)
    }
}

fn stream(options: &IndexMap<String, String>, added: bool) -> Value {
    if added && options.is_empty() {
        return Value::Null;
    }
    let shown: Map<String, Value> = options
        .iter()
        .filter(|(key, _)| key.as_str() != "class")
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    Value::Object(shown)
}
