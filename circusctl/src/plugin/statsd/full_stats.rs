//! `circus.plugins.statsd.FullStats`: what every watcher uses, as gauges.

use super::metric::Value;
use super::observer::Observer;
use crate::plugin::circus::Circus;
use crate::plugin::interface::Plugin;
use crate::plugin::options::{OptionError, Options};
use crate::plugin::size::bytes;
use serde_json::{Value as Json, json};
use std::time::Instant;
use tracing::warn;

/// The plugin.
pub struct FullStats {
    observer: Observer,
}

impl FullStats {
    /// Reads the options.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn new(options: &Options) -> Result<Self, OptionError> {
        Ok(Self { observer: Observer::new(options, "app")? })
    }
}

impl Plugin for FullStats {
    fn deadline(&self) -> Option<Instant> {
        self.observer.deadline()
    }

    fn tick(&mut self, circus: &mut Circus, now: Instant) {
        if !self.observer.is_due(now) {
            return;
        }
        let statsd = &mut self.observer.statsd;
        match circus.call("stats", json!({})) {
            Ok(reply) => {
                for (bucket, value) in gauges(&reply) {
                    statsd.send(&bucket, value);
                }
            }
            Err(error) => {
                warn!("{error}");
                statsd.increment("_stats.error");
            }
        }
    }
}

/// The gauges for a reply to `stats`, watcher by watcher; plugins are left out.
fn gauges(reply: &Json) -> Vec<(String, Value)> {
    let infos = reply.get("infos").and_then(Json::as_object);
    let watchers = infos.into_iter().flatten().filter(|(name, _)| !name.starts_with("plugin:"));
    watchers.flat_map(|(name, stats)| of_watcher(name, stats)).collect()
}

fn of_watcher(name: &str, stats: &Json) -> Vec<(String, Value)> {
    let entries = || stats.as_object().into_iter().flatten();
    // A process that has just ended has a text in place of its figures.
    let processes: Vec<&Json> = entries().map(|(_, info)| info).filter(|i| i.is_object()).collect();
    let named = |what: &str, value| (format!("_stats.{name}.{what}"), value);
    let mut gauges = Vec::new();
    if let Some(count) = stats.get("spawn_count").and_then(Json::as_u64) {
        gauges.push(named("spawn_count", Value::Whole(count)));
    }
    gauges.push(named("watchers_num", Value::Whole(processes.len() as u64)));
    let known = |key: &str| {
        processes.iter().filter_map(|info| info.get(key)?.as_f64()).collect::<Vec<f64>>()
    };
    for (what, key) in [("cpu", "cpu"), ("mem_pct", "mem")] {
        // What could not be read is `N/A`, and counts for nothing.
        let figures = known(key);
        if let Some(most) = figures.iter().copied().reduce(f64::max) {
            gauges.push(named(&format!("{what}_max"), Value::Float(most)));
            gauges.push(named(&format!("{what}_sum"), Value::Float(figures.iter().sum())));
        }
    }
    let sizes = processes.iter().filter_map(|info| bytes(info.get("mem_info1")?.as_str()?));
    let sizes: Vec<u64> = sizes.collect();
    if let Some(most) = sizes.iter().copied().max() {
        gauges.push(named("mem_max", Value::Whole(most)));
        gauges.push(named("mem_sum", Value::Whole(sizes.iter().sum())));
    }
    gauges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_watcher_but_plugins_is_told_with_its_most_and_its_sum() {
        let process = |cpu, mem, size| json!({"cpu": cpu, "mem": mem, "mem_info1": size});
        let reply = json!({"status": "ok", "infos": {
            "My App": {"1": process(json!(1.5), json!(0.25), "1.49M"),
                       "2": process(json!(10.0), json!(0.5), "512B"), "3": "No such process (stopped?)"},
            "off": {},
            "plugin:x": {"9": process(json!(1.0), json!(1.0), "1K")},
        }});
        let told: Vec<_> =
            gauges(&reply).iter().map(|(name, value)| format!("{name}:{value}")).collect();
        assert_eq!(
            told,
            [
                "_stats.My App.watchers_num:2|g",
                "_stats.My App.cpu_max:10.0|g",
                "_stats.My App.cpu_sum:11.5|g",
                "_stats.My App.mem_pct_max:0.5|g",
                "_stats.My App.mem_pct_sum:0.75|g",
                "_stats.My App.mem_max:1562378|g",
                "_stats.My App.mem_sum:1562890|g",
                "_stats.off.watchers_num:0|g",
            ]
        );
    }

    #[test]
    fn what_could_not_be_read_is_left_out() {
        let reply = json!({"infos": {"w": {"spawn_count": 4,
            "1": {"cpu": "N/A", "mem": "N/A", "mem_info1": "N/A"}}}});
        let told: Vec<_> =
            gauges(&reply).iter().map(|(name, value)| format!("{name}:{value}")).collect();
        assert_eq!(told, ["_stats.w.spawn_count:4|g", "_stats.w.watchers_num:1|g"]);
        assert!(gauges(&json!({"status": "ok"})).is_empty());
    }
}
