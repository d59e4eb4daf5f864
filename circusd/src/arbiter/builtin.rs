//! The watchers that circusd adds by itself: circusd-stats, when statistics are switched on.
//!
//! They are ordinary watchers for every command. Decides what they are; starts nothing.

use crate::config::model::{CircusConfig, Config, WatcherConfig};
use crate::config::quote;
use crate::role::Role;
use std::ffi::OsString;
use std::path::PathBuf;
use tracing::error;

/// The watchers that `[circus]` asks for.
pub fn watchers(circus: &CircusConfig) -> Vec<WatcherConfig> {
    if !circus.statsd {
        return Vec::new();
    }
    match Role::CircusdStats.command() {
        Ok(command) => vec![stats(circus, command)],
        Err(error) => {
            error!("{error}; going on without statistics");
            Vec::new()
        }
    }
}

/// A running watcher of this name is one of ours and not one of the file.
pub fn is_own(name: &str, config: &Config) -> bool {
    let own = config.circus.statsd && name == Role::CircusdStats.name();
    own && !config.watchers.iter().any(|watcher| watcher.name.to_lowercase() == name)
}

/// The watcher that publishes statistics, run with this command.
fn stats(circus: &CircusConfig, (program, role): (PathBuf, Vec<OsString>)) -> WatcherConfig {
    let mut words: Vec<String> = vec![program.to_string_lossy().into_owned()];
    words.extend(role.iter().map(|word| word.to_string_lossy().into_owned()));
    let mut option = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    option("--endpoint", &circus.endpoint);
    option("--pubsub", &circus.pubsub_endpoint);
    if let Some(endpoint) = &circus.stats_endpoint {
        option("--statspoint", endpoint);
    }
    option("--interval", &circus.stats_interval.to_string());
    if circus.debug {
        option("--log-level", "DEBUG");
    } else if let Some(level) = &circus.loglevel {
        option("--log-level", level);
    }
    if let Some(output) = &circus.logoutput {
        option("--log-output", output);
    }
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    let mut watcher = WatcherConfig::new(Role::CircusdStats.name(), words.join(" "));
    watcher.singleton = true;
    watcher.copy_env = true;
    watcher.copy_path = true;
    if circus.debug {
        for stream in [&mut watcher.stdout_stream, &mut watcher.stderr_stream] {
            stream.insert("class".to_owned(), "StdoutStream".to_owned());
        }
    }
    watcher
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circusd_stats_is_run_as_the_section_says_and_only_when_switched_on() {
        let mut circus = CircusConfig::default();
        assert!(watchers(&circus).is_empty());
        circus.statsd = true;
        Role::stand_in();
        assert_eq!(watchers(&circus)[0].name, "circusd-stats");
        circus.stats_endpoint = Some("ipc:///tmp/a b".into());
        circus.loglevel = Some("error".into());
        circus.stats_interval = 0.5;
        let command = (PathBuf::from("/opt/circusd"), vec!["circusd-stats".into()]);
        let watcher = stats(&circus, command);
        assert_eq!(
            watcher.cmd,
            "/opt/circusd circusd-stats --endpoint tcp://127.0.0.1:5555 --pubsub \
             tcp://127.0.0.1:5556 --statspoint 'ipc:///tmp/a b' --interval 0.5 --log-level error"
        );
        assert!(watcher.singleton && watcher.copy_env && watcher.stdout_stream.is_empty());
        circus.debug = true;
        assert_eq!(watchers(&circus)[0].stderr_stream["class"], "StdoutStream");
    }
}
