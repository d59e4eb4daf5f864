//! The points at which hooks run, and sets of them. Pure.

use crate::config::model::{HookConfig, WatcherConfig};
use indexmap::IndexMap;
use std::collections::BTreeMap;

/// A moment in the life of a watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookPoint {
    /// No hook of the user's: before a start everything that is in Python is imported.
    Load,
    /// Nor this: Python stream classes get to know that the watcher starts.
    Open,
    /// And that it has stopped.
    Close,
    /// Before anything of a start.
    BeforeStart,
    /// All processes are up.
    AfterStart,
    /// Before each process.
    BeforeSpawn,
    /// A process runs.
    AfterSpawn,
    /// Before the processes are asked to end.
    BeforeStop,
    /// None is left.
    AfterStop,
    /// Before a signal is sent.
    BeforeSignal,
    /// After it, sent or not.
    AfterSignal,
    /// A process has ended and is still in the table.
    BeforeReap,
    /// It is in the table no more.
    AfterReap,
    /// `stats` with `extended`.
    ExtendedStats,
}

const ALL: &[(HookPoint, &str)] = &[
    (HookPoint::BeforeStart, "before_start"),
    (HookPoint::AfterStart, "after_start"),
    (HookPoint::BeforeSpawn, "before_spawn"),
    (HookPoint::AfterSpawn, "after_spawn"),
    (HookPoint::BeforeStop, "before_stop"),
    (HookPoint::AfterStop, "after_stop"),
    (HookPoint::BeforeSignal, "before_signal"),
    (HookPoint::AfterSignal, "after_signal"),
    (HookPoint::BeforeReap, "before_reap"),
    (HookPoint::AfterReap, "after_reap"),
    (HookPoint::ExtendedStats, "extended_stats"),
];

impl HookPoint {
    /// The name in ini files and events; those that are not public have one for the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Open => "open",
            Self::Close => "close",
            public => ALL.iter().find(|(point, _)| *point == public).map_or("", |(_, name)| name),
        }
    }

    /// The point of this name.
    pub fn parse(name: &str) -> Option<Self> {
        ALL.iter().find(|(_, known)| *known == name).map(|(point, _)| *point)
    }

    /// Its failure counts as success whatever the flag says, as measured on circus 0.17.2: a broken
    /// `before_signal` must not make a process immortal.
    pub fn ignores_failure(self) -> bool {
        use HookPoint::{
            AfterReap, AfterSignal, AfterStop, BeforeReap, BeforeSignal, BeforeStop, ExtendedStats,
        };
        matches!(
            self,
            BeforeStop
                | AfterStop
                | BeforeSignal
                | AfterSignal
                | BeforeReap
                | AfterReap
                | ExtendedStats
        )
    }

    /// It is a hook of the user's, and subscribers are told of it.
    pub fn is_public(self) -> bool {
        !matches!(self, Self::Load | Self::Open | Self::Close)
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The points at which a watcher has hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HookPoints {
    present: u16,
    ignoring: u16,
}

impl HookPoints {
    /// Those of this watcher. Hooks with names that are no points are never run.
    pub fn of(config: &WatcherConfig) -> Self {
        let mut points = Self::default();
        for (name, hook) in &config.hooks {
            if let Some(point) = HookPoint::parse(name) {
                points.add(point, hook.ignore_failure);
            }
        }
        let streams = !streams_in_python(config).is_empty();
        if streams || !in_python(config).is_empty() {
            points.add(HookPoint::Load, false);
        }
        if streams {
            points.add(HookPoint::Open, true);
            points.add(HookPoint::Close, true);
        }
        points
    }

    /// Adds a hook; `ignore_failure` is its flag.
    pub fn add(&mut self, point: HookPoint, ignore_failure: bool) {
        self.present |= point.bit();
        if ignore_failure {
            self.ignoring |= point.bit();
        }
    }

    /// There is a hook.
    pub fn contains(self, point: HookPoint) -> bool {
        self.present & point.bit() != 0
    }

    /// Its failure counts as success.
    pub fn ignores_failure(self, point: HookPoint) -> bool {
        point.ignores_failure() || self.ignoring & point.bit() != 0
    }
}

/// The hooks that are Python functions: dotted names by hook.
pub fn in_python(config: &WatcherConfig) -> BTreeMap<String, String> {
    let known = |(name, hook): (&String, &HookConfig)| {
        let is_one = HookPoint::parse(name).is_some() && hook.is_python();
        is_one.then(|| (name.clone(), hook.target.clone()))
    };
    config.hooks.iter().filter_map(known).collect()
}

/// The streams that are Python classes: `stdout` or `stderr`, dotted name, and the other options.
pub fn streams_in_python(
    config: &WatcherConfig,
) -> Vec<(&'static str, String, IndexMap<String, String>)> {
    let streams = [("stdout", &config.stdout_stream), ("stderr", &config.stderr_stream)];
    let known = |(name, options): (&'static str, &IndexMap<String, String>)| {
        let class = options.get("class").filter(|class| class.contains('.'))?.clone();
        let mut options = options.clone();
        options.shift_remove("class");
        Some((name, class, options))
    };
    streams.into_iter().filter_map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_has_the_name_that_clients_know() {
        let mut names: Vec<_> = ALL.iter().map(|(_, name)| *name).collect();
        let mut known = protocol::circus::option::HOOKS.to_vec();
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(names, known);
        assert!(ALL.iter().all(|(point, name)| HookPoint::parse(name) == Some(*point)));
    }
}
