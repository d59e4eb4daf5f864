//! Settings that are read and kept but that this version does not act on yet.
//!
//! A setting that is silently without effect can cost somebody a night, so each one that is switched on is
//! named in the log. The list shrinks as the daemon grows.

use super::model::{Config, WatcherConfig};

/// One sentence for each setting that has no effect yet.
pub fn unserved(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    let circus = &config.circus;
    for (is_set, key) in [
        (circus.statsd, "statsd"),
        (circus.httpd, "httpd"),
        (circus.loggerconfig.is_some(), "loggerconfig"),
        (circus.endpoint_owner.is_some(), "endpoint_owner"),
    ] {
        if is_set {
            found.push(format!("[circus] {key} is not served by this version and has no effect"));
        }
    }
    for plugin in &config.plugins {
        found.push(format!("[{}] is not run: this version has no plugins", plugin.name));
    }
    for watcher in &config.watchers {
        found.extend(of_watcher(watcher));
    }
    for socket in config.sockets.iter().filter(|socket| socket.so_reuseport && !socket.use_papa) {
        found.push(format!(
            "[socket:{}] so_reuseport: all processes share one socket in this version",
            socket.name
        ));
    }
    found
}

fn of_watcher(watcher: &WatcherConfig) -> impl Iterator<Item = String> {
    let hooks = (!watcher.hooks.is_empty()).then_some("hooks");
    let settings = [
        (watcher.on_demand, "on_demand"),
        (watcher.max_age > 0, "max_age"),
        (watcher.stop_children, "stop_children"),
        (watcher.shell && watcher.use_papa, "shell together with use_papa"),
    ];
    let names: Vec<&str> = settings
        .into_iter()
        .filter_map(|(is_set, key)| is_set.then_some(key))
        .chain(hooks)
        .collect();
    let name = watcher.name.clone();
    names.into_iter().map(move |key| {
        format!("[watcher:{name}] {key} is not served by this version and has no effect")
    })
}
