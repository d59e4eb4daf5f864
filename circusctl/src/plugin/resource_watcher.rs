//! `circus.plugins.resource_watcher.ResourceWatcher`: restarts a watcher whose processes use too much, or too
//! little, for too long.
//!
//! [`limits`] decides, without I/O, which limits are passed and when that has happened often enough. Processes
//! that cannot be measured count for nothing, and a watcher without processes is left alone: a limit from
//! below must not start what somebody has stopped.

mod limits;

use self::limits::{Breach, Counts, Limits, Memory, Usage};
use super::circus::{CallError, Circus};
use super::interface::{Plugin, PluginError};
use super::options::{self, OptionError, Options};
use super::size;
use super::statsd::observer::Observer;
use crate::client;
use protocol::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;
use tracing::{info, warn};

/// The options that are read besides those of every observer.
pub const OPTIONS: &[&str] = &[
    "child_signal",
    "health_threshold",
    "max_count",
    "max_cpu",
    "max_mem",
    "min_cpu",
    "min_mem",
    "process_children",
    "service",
    "watcher",
];

/// The plugin.
pub struct ResourceWatcher {
    observer: Observer,
    watcher: String,
    /// The watcher was named by the option that was renamed.
    by_old_name: bool,
    limits: Limits,
    max_count: u32,
    /// What to send to a child that passes a limit; none when children are not looked at.
    child_signal: Option<Signal>,
    counts: Counts,
    /// Those of each child, by its pid.
    children: BTreeMap<i32, Counts>,
}

/// A process of the watcher, as `stats` tells of it.
struct Process {
    pid: i32,
    usage: Usage,
    children: Vec<(i32, Usage)>,
}

impl ResourceWatcher {
    /// Reads the options.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn new(options: &Options) -> Result<Self, OptionError> {
        let by_old_name = options.get("watcher").is_none() && options.get("service").is_some();
        let key = if by_old_name { "service" } else { "watcher" };
        let watcher = options.required(key, "name the watcher to look at, `watcher = NAME`")?;
        let not_zero = |limit: f64| (limit != 0.0).then_some(limit);
        let limits = Limits {
            max_cpu: not_zero(options.value("max_cpu", 90.0, options::number)?),
            min_cpu: options.optional("min_cpu", options::number)?,
            max_mem: options
                .value("max_mem", Memory::Percent(90.0), memory)
                .map(|limit| (!limit.is_zero()).then_some(limit))?,
            min_mem: options.optional("min_mem", memory)?,
            health: not_zero(options.value("health_threshold", 75.0, options::number)?),
        };
        let children = options.value("process_children", false, options::boolean)?;
        let signal = options.value("child_signal", Signal::TERM, signal)?;
        Ok(Self {
            observer: Observer::new(options, "app")?,
            watcher: watcher.trim().to_owned(),
            by_old_name,
            limits,
            max_count: options.value("max_count", 3, options::count)?,
            child_signal: children.then_some(signal),
            counts: Counts::default(),
            children: BTreeMap::new(),
        })
    }

    fn increment(&mut self, what: &str) {
        self.observer.statsd.increment(&format!("_resource_watcher.{}.{what}", self.watcher));
    }

    fn tell(&mut self, breaches: &[Breach]) {
        for breach in breaches {
            self.increment(breach.metric());
        }
    }

    fn judge_watcher(&mut self, circus: &mut Circus, processes: &[Process]) {
        let usages: Vec<Usage> = processes.iter().map(|process| process.usage).collect();
        let breaches = self.limits.breaches(&usages);
        self.tell(&breaches);
        if self.counts.add(&breaches, self.max_count) {
            self.increment("restarting");
            info!("{}: {} for too long, restarting it", self.watcher, words(&breaches));
            circus.cast("restart", json!({"name": self.watcher}));
        }
    }

    fn judge_children(&mut self, circus: &mut Circus, processes: &[Process], signal: Signal) {
        let mut before = std::mem::take(&mut self.children);
        for process in processes {
            for (child, usage) in &process.children {
                let breaches = self.limits.breaches(std::slice::from_ref(usage));
                self.tell(&breaches);
                let mut counts = before.remove(child).unwrap_or_default();
                if counts.add(&breaches, self.max_count) {
                    self.increment("restarting");
                    let (watcher, words) = (&self.watcher, words(&breaches));
                    info!(
                        "{watcher}: process {child}, a child: {words} for too long, {signal} is sent"
                    );
                    let order = json!({"name": watcher, "pid": process.pid, "childpid": child,
                        "signum": signal.number()});
                    circus.cast("signal", order);
                }
                self.children.insert(*child, counts);
            }
        }
    }
}

impl Plugin for ResourceWatcher {
    fn start(&mut self, _: &mut Circus) -> Result<(), PluginError> {
        if self.by_old_name {
            warn!("the option `service` is called `watcher` now");
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.observer.deadline()
    }

    fn tick(&mut self, circus: &mut Circus, now: Instant) {
        if !self.observer.is_due(now) {
            return;
        }
        match circus.call("stats", json!({"name": self.watcher})) {
            Ok(reply) => {
                let processes = processes(&reply);
                self.judge_watcher(circus, &processes);
                if let Some(signal) = self.child_signal {
                    self.judge_children(circus, &processes, signal);
                }
            }
            // On the way out.
            Err(CallError::Unreached(client::CallError::Interrupted)) => {}
            Err(error) => {
                warn!("{}: {error}", self.watcher);
                self.increment("error");
            }
        }
    }
}

/// The processes in a reply to `stats`. One that has just ended has a text in place of its figures.
fn processes(reply: &Value) -> Vec<Process> {
    let info = reply.get("info").and_then(Value::as_object).into_iter().flatten();
    let read = |(pid, stats): (&String, &Value)| {
        stats.is_object().then_some(())?;
        let children = stats.get("children").and_then(Value::as_array).into_iter().flatten();
        let children = children.filter_map(|child| {
            let pid = child.get("pid")?.as_i64()?;
            Some((i32::try_from(pid).ok()?, usage(child)))
        });
        Some(Process { pid: pid.parse().ok()?, usage: usage(stats), children: children.collect() })
    };
    info.filter_map(read).collect()
}

/// What could not be read is the text `N/A`.
fn usage(stats: &Value) -> Usage {
    let figure = |key: &str| stats.get(key).and_then(Value::as_f64);
    let bytes = stats.get("mem_info1").and_then(Value::as_str).and_then(size::bytes);
    Usage { cpu: figure("cpu"), share: figure("mem"), bytes }
}

fn words(breaches: &[Breach]) -> String {
    breaches.iter().map(|breach| breach.metric()).collect::<Vec<_>>().join(", ")
}

/// A share of the machine's memory in percent, or with a unit an amount.
fn memory(text: &str) -> Result<Memory, String> {
    let percent = text.parse::<f64>().ok().filter(|percent| percent.is_finite());
    percent
        .map(Memory::Percent)
        .or_else(|| size::bytes(text).map(Memory::Bytes))
        .ok_or_else(|| "neither a percentage nor a size; write one such as 90 or 512M".to_owned())
}

fn signal(text: &str) -> Result<Signal, String> {
    Signal::parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(values: &[(&str, &str)]) -> Result<ResourceWatcher, OptionError> {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        ResourceWatcher::new(&Options::new("plugin:rw", values))
    }

    #[test]
    fn limits_have_the_documented_defaults_and_zero_is_off() {
        let usual = plugin(&[("watcher", "web")]).expect("options");
        let expected = Limits {
            max_cpu: Some(90.0),
            min_cpu: None,
            max_mem: Some(Memory::Percent(90.0)),
            min_mem: None,
            health: Some(75.0),
        };
        assert_eq!(usual.limits, expected);
        assert_eq!((usual.max_count, usual.child_signal), (3, None));
        let off = [("max_cpu", "0"), ("max_mem", "0"), ("health_threshold", "0"), ("min_cpu", "0")];
        let off = plugin(&[&[("service", "web")], off.as_slice()].concat()).expect("options");
        assert_eq!(off.limits, Limits { min_cpu: Some(0.0), ..Limits::default() });
        assert!(off.by_old_name);
        let sized =
            [("watcher", "w"), ("max_mem", "10M"), ("min_mem", "1.5"), ("process_children", "1")];
        let sized = plugin(&sized).expect("options");
        assert_eq!(sized.limits.max_mem, Some(Memory::Bytes(10 << 20)));
        assert_eq!(sized.limits.min_mem, Some(Memory::Percent(1.5)));
        assert_eq!(sized.child_signal, Some(Signal::TERM));
    }

    #[test]
    fn a_reply_is_read_with_its_children_and_without_what_has_gone() {
        let reply = json!({"info": {
            "7": {"cpu": 12.5, "mem": 0.5, "mem_info1": "1.50M", "children": [
                {"pid": 8, "cpu": "N/A", "mem": 1.0, "mem_info1": "N/A", "children": []},
            ]},
            "9": "No such process (stopped?)",
        }});
        let read = processes(&reply);
        assert_eq!(read.len(), 1);
        let expected = Usage { cpu: Some(12.5), share: Some(0.5), bytes: Some(3 << 19) };
        assert_eq!((read[0].pid, read[0].usage), (7, expected));
        let child = Usage { cpu: None, share: Some(1.0), bytes: None };
        assert_eq!(read[0].children, [(8, child)]);
        assert!(processes(&json!({"info": {}})).is_empty());
    }

    #[test]
    fn wrong_options_are_one_sentence() {
        let error = plugin(&[]).err().expect("refused").to_string();
        assert_eq!(
            error,
            "[plugin:rw] watcher is missing; name the watcher to look at, `watcher = NAME`"
        );
        for (key, value, reason) in [
            ("max_cpu", "much", "not a number; write one such as 90 or 1.5"),
            ("min_mem", "1 x", "neither a percentage nor a size; write one such as 90 or 512M"),
            (
                "process_children",
                "x",
                "not a boolean; use yes, true, on or 1, or no, false, off or 0",
            ),
            ("max_count", "x", "not a count; write a whole number from 0 on"),
        ] {
            let error = plugin(&[("watcher", "w"), (key, value)]).err().expect("refused");
            assert_eq!(error.to_string(), format!("[plugin:rw] {key} = {value}: {reason}"));
        }
        let error = plugin(&[("watcher", "w"), ("child_signal", "x")]).err().expect("refused");
        assert!(error.to_string().contains("is not a signal; use a name"), "{error}");
    }
}
