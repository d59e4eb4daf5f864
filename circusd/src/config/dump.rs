//! A configuration as JSON, for `circusd --dump-config`.
//!
//! The shape is that of circus' own parsed configuration: numbers and booleans where circus has them,
//! keys without a default only if the file gives them.

use super::model::{CircusConfig, Config, HookConfig, PluginConfig, SocketConfig, WatcherConfig};
use super::{values, watcher};
use serde_json::{Map, Value, json};

/// Shows everything the configuration says.
pub fn dump(config: &Config) -> Value {
    let mut all = circus(&config.circus);
    all.insert("watchers".to_owned(), config.watchers.iter().map(watcher_value).collect());
    all.insert("plugins".to_owned(), config.plugins.iter().map(plugin).collect());
    all.insert("sockets".to_owned(), config.sockets.iter().map(socket).collect());
    Value::Object(all)
}

fn circus(circus: &CircusConfig) -> Map<String, Value> {
    object(json!({
        "check_delay": float(circus.check_delay),
        "endpoint": circus.endpoint,
        "endpoint_owner": circus.endpoint_owner,
        "pubsub_endpoint": circus.pubsub_endpoint,
        "multicast_endpoint": circus.multicast_endpoint,
        "stats_endpoint": circus.stats_endpoint,
        "statsd": circus.statsd,
        "umask": circus.umask,
        "warmup_delay": circus.warmup_delay,
        "httpd": circus.httpd,
        "httpd_host": circus.httpd_host,
        "httpd_port": circus.httpd_port,
        "debug": circus.debug,
        "debug_gc": circus.debug_gc,
        "pidfile": circus.pidfile,
        "loglevel": circus.loglevel,
        "logoutput": circus.logoutput,
        "loggerconfig": circus.loggerconfig,
        "fqdn_prefix": circus.fqdn_prefix,
        "papa_endpoint": circus.papa_endpoint,
    }))
}

fn watcher_value(w: &WatcherConfig) -> Value {
    let mut all = object(json!({
        "name": w.name,
        "cmd": w.cmd,
        "args": w.args,
        "numprocesses": w.numprocesses,
        "warmup_delay": whole(w.warmup_delay),
        "executable": w.executable,
        "working_dir": w.working_dir,
        "on_demand": w.on_demand,
        "shell": w.shell,
        "uid": w.uid,
        "gid": w.gid,
        "send_hup": w.send_hup,
        "stop_signal": w.stop_signal.number(),
        "stop_children": w.stop_children,
        "max_retry": w.max_retry,
        "graceful_timeout": whole(w.graceful_timeout),
        "rlimits": w.rlimits.iter().map(|(k, v)| (k.clone(), v.unwrap_or(-1).into()))
            .collect::<Map<_, _>>(),
        "stdout_stream": w.stdout_stream,
        "stderr_stream": w.stderr_stream,
        "priority": w.priority,
        "use_sockets": w.use_sockets,
        "singleton": w.singleton,
        "copy_env": w.copy_env,
        "copy_path": w.copy_path,
        "hooks": w.hooks.iter().map(|(k, v)| (k.clone(), hook(v))).collect::<Map<_, _>>(),
        "respawn": w.respawn,
        "autostart": w.autostart,
        "use_papa": w.use_papa,
        "env": w.env,
    }));
    for (key, value) in &w.free {
        let typed = match (key.as_str(), values::boolean(value)) {
            (watcher::CHECK_FLAPPING, Ok(flag)) => Value::Bool(flag),
            _ => Value::String(value.clone()),
        };
        all.insert(key.clone(), typed);
    }
    let text = |value: &Option<String>| value.clone().unwrap_or_default().into();
    for (key, value) in [
        ("graceful_timeout", float(w.graceful_timeout)),
        ("max_age", w.max_age.to_string().into()),
        ("max_age_variance", w.max_age_variance.to_string().into()),
        ("close_child_stdin", w.close_child_stdin.into()),
        ("close_child_stdout", w.close_child_stdout.into()),
        ("close_child_stderr", w.close_child_stderr.into()),
        ("shell_args", text(&w.shell_args)),
        ("working_dir", text(&w.working_dir)),
        ("uid", text(&w.uid)),
        ("gid", text(&w.gid)),
        ("stdin_socket", text(&w.stdin_socket)),
        ("virtualenv", text(&w.virtualenv)),
        ("virtualenv_py_ver", text(&w.virtualenv_py_ver)),
    ] {
        if w.written.contains(key) {
            all.insert(key.to_owned(), value);
        }
    }
    Value::Object(all)
}

fn hook(hook: &HookConfig) -> Value {
    json!([hook.target, hook.ignore_failure])
}

fn socket(socket: &SocketConfig) -> Value {
    let mut all = object(json!(socket.raw));
    all.insert("name".to_owned(), socket.name.clone().into());
    all.insert("replace".to_owned(), socket.replace.into());
    all.insert("so_reuseport".to_owned(), socket.so_reuseport.into());
    Value::Object(all)
}

fn plugin(plugin: &PluginConfig) -> Value {
    let mut all = object(json!(plugin.options));
    all.insert("name".to_owned(), plugin.name.clone().into());
    if plugin.options.contains_key("priority") {
        all.insert("priority".to_owned(), plugin.priority.into());
    }
    Value::Object(all)
}

/// A number with a fraction; JSON has no infinity.
fn float(number: f64) -> Value {
    if number.is_finite() { number.into() } else { json!({ "float": number.to_string() }) }
}

/// A number that circus keeps as an integer unless it has a fraction.
fn whole(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        #[expect(clippy::cast_possible_truncation, reason = "checked in the line above")]
        return (number as i64).into();
    }
    float(number)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
