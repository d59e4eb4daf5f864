//! The built-in plugins by the names that ini files have for them.

use super::command_reloader::{self, CommandReloader};
use super::flapping;
use super::http_observer::{self, HttpObserver};
use super::interface::Plugin;
use super::options::{OptionError, Options};
use super::redis_observer::{self, RedisObserver};
use super::resource_watcher::{self, ResourceWatcher};
use super::statsd::emitter::StatsdEmitter;
use super::statsd::full_stats::FullStats;
use super::statsd::{self, observer};
use super::watchdog::{self, WatchDog};

/// A plugin that is part of this program.
pub struct Builtin {
    /// Its dotted names; the first is the documented one.
    pub names: &'static [&'static str],
    /// The options that it reads, in groups that several plugins share.
    pub options: &'static [&'static [&'static str]],
    build: fn(&Options) -> Result<Box<dyn Plugin>, OptionError>,
}

/// All of them.
pub const BUILTIN: &[Builtin] = &[
    Builtin {
        names: &["circus.plugins.flapping.Flapping"],
        options: &[flapping::rules::OPTIONS],
        build: |options| Ok(Box::new(flapping::plugin::Flapping::new(options)?)),
    },
    Builtin {
        names: &["circus.plugins.statsd.StatsdEmitter", "circus.plugins._statsd.StatsdEmitter"],
        options: &[statsd::OPTIONS],
        build: |options| Ok(Box::new(StatsdEmitter::new(options)?)),
    },
    Builtin {
        names: &["circus.plugins.statsd.FullStats", "circus.plugins._statsd.FullStats"],
        options: &[statsd::OPTIONS, observer::OPTIONS],
        build: |options| Ok(Box::new(FullStats::new(options)?)),
    },
    Builtin {
        names: &["circus.plugins.redis_observer.RedisObserver"],
        options: &[statsd::OPTIONS, observer::OPTIONS, redis_observer::OPTIONS],
        build: |options| Ok(Box::new(RedisObserver::new(options)?)),
    },
    Builtin {
        names: &["circus.plugins.http_observer.HttpObserver"],
        options: &[statsd::OPTIONS, observer::OPTIONS, http_observer::OPTIONS],
        build: |options| Ok(Box::new(HttpObserver::new(options)?)),
    },
    Builtin {
        names: &["circus.plugins.resource_watcher.ResourceWatcher"],
        options: &[statsd::OPTIONS, observer::OPTIONS, resource_watcher::OPTIONS],
        build: |options| Ok(Box::new(ResourceWatcher::new(options)?)),
    },
    Builtin {
        names: &["circus.plugins.watchdog.WatchDog"],
        options: &[watchdog::OPTIONS],
        build: |options| Ok(Box::new(WatchDog::new(options)?)),
    },
    Builtin {
        names: &["circus.plugins.command_reloader.CommandReloader"],
        options: &[command_reloader::OPTIONS],
        build: |options| Ok(Box::new(CommandReloader::new(options)?)),
    },
];

/// Whether a plugin is a program of its own: a path instead of a dotted name.
pub fn is_program(name: &str) -> bool {
    name.contains('/')
}

impl Builtin {
    /// The plugin of this name, if it is one of ours; `a.b:C` is the same as `a.b.C`.
    pub fn find(name: &str) -> Option<&'static Self> {
        let name = name.trim().replace(':', ".");
        BUILTIN.iter().find(|builtin| builtin.names.contains(&name.as_str()))
    }

    /// Reads the options; nothing else happens.
    ///
    /// # Errors
    /// [`OptionError`]: the first option that does not fit.
    pub fn build(&self, options: &Options) -> Result<Box<dyn Plugin>, OptionError> {
        (self.build)(options)
    }

    /// The names of all options that the plugin reads.
    pub fn option_names(&self) -> impl Iterator<Item = &'static str> {
        self.options.iter().flat_map(|group| group.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_plugin_and_no_name_is_there_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for builtin in BUILTIN {
            for name in builtin.names {
                assert!(seen.insert(name), "{name}");
                let found = Builtin::find(name).expect("found");
                assert_eq!(found.names, builtin.names);
            }
        }
        assert!(Builtin::find("circus.plugins.statsd:FullStats").is_some());
        assert!(Builtin::find("mypackage.MyPlugin").is_none());
        assert!(is_program("./mine") && !is_program("mypackage.MyPlugin"));
    }
}
