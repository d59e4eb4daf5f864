//! Settings that are read and kept but that this version does not act on yet.
//!
//! A setting that is silently without effect can cost somebody a night, so each one that is switched on is
//! named in the log. The list shrinks as the daemon grows.

use super::model::{Config, WatcherConfig};

/// One sentence for each setting that has no effect yet.
pub fn unserved(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    let circus = &config.circus;
    for (is_set, key) in [(circus.httpd, "httpd")] {
        if is_set {
            found.push(format!("[circus] {key} is not served by this version and has no effect"));
        }
    }
    for watcher in &config.watchers {
        found.extend(of_watcher(watcher));
    }
    found
}

fn of_watcher(watcher: &WatcherConfig) -> impl Iterator<Item = String> {
    let stdin = (watcher.stdin_socket.is_some() && watcher.use_papa)
        .then_some("stdin_socket together with use_papa");
    let name = watcher.name.clone();
    stdin.into_iter().map(move |key| {
        format!("[watcher:{name}] {key} is not served by this version and has no effect")
    })
}
