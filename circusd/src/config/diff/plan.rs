//! From two configurations to the steps between them.

use super::keys;
use crate::config::model::{CircusConfig, Config, SocketConfig, WatcherConfig};
use crate::config::spawn::sockets_named;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that differs, and what is done about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReloadPlan {
    /// By name.
    pub watchers: Vec<WatcherStep>,
    /// By name.
    pub sockets: Vec<SocketStep>,
    /// In the order of [`keys::CIRCUS_KEYS`].
    pub circus: Vec<CircusStep>,
}

/// One watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatcherStep {
    /// Its name, as the file or, for one that goes, as the running watcher has it.
    pub name: String,
    /// What is done.
    pub change: WatcherChange,
    /// The keys that differ.
    pub keys: Vec<String>,
    /// The sockets it uses that are closed or opened anew.
    pub sockets: Vec<String>,
}

/// What is done with a watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatcherChange {
    /// Made, and started unless `autostart` is off.
    Add,
    /// Stopped and forgotten.
    Remove {
        /// It was added by command and the file never had it.
        by_command: bool,
    },
    /// Stopped, made anew and started unless `autostart` is off.
    Replace {
        /// What runs under this name was added by command.
        by_command: bool,
    },
    /// Stopped and started again as it is, if it is running.
    Restart,
    /// Only the number of processes changes.
    Resize {
        /// The number in the file before.
        from: i64,
        /// The number in the file now.
        to: i64,
    },
}

/// One socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketStep {
    /// Its lower-case name.
    pub name: String,
    /// What is done.
    pub change: SocketChange,
    /// The keys that differ.
    pub keys: Vec<String>,
}

/// What is done with a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketChange {
    /// Opened.
    Open,
    /// Closed.
    Close,
    /// Closed and opened with its new settings.
    Reopen,
}

/// One key of `[circus]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircusStep {
    /// The key.
    pub key: String,
    /// When its new value holds.
    pub effect: Effect,
}

/// When a changed `[circus]` key takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// At once.
    Live,
    /// When circusd is started again.
    NeedsRestart,
    /// Never: the key does nothing.
    None,
}

impl Effect {
    /// The word in the plan.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "apply",
            Self::NeedsRestart => "restart circusd",
            Self::None => "none",
        }
    }
}

/// When a changed key of `[circus]` takes effect.
pub fn effect_of(key: &str) -> Effect {
    match key {
        "check_delay" | "warmup_delay" | "umask" | "loglevel" | "logoutput" | "loggerconfig"
        | "use_papa" => Effect::Live,
        "debug_gc" => Effect::None,
        _ => Effect::NeedsRestart,
    }
}

/// What is in force after a reload: of `new` the keys that hold at once, of `old` those that need a restart,
/// so that every reload says again that they wait.
pub fn in_force(old: &CircusConfig, new: &CircusConfig) -> CircusConfig {
    CircusConfig {
        check_delay: new.check_delay,
        warmup_delay: new.warmup_delay,
        umask: new.umask,
        debug_gc: new.debug_gc,
        loglevel: new.loglevel.clone(),
        logoutput: new.logoutput.clone(),
        loggerconfig: new.loggerconfig.clone(),
        use_papa: new.use_papa,
        ..old.clone()
    }
}

/// The steps from `old`, which is in force, to `new`.
///
/// `running` names the watchers that exist; those that `old` does not have were added by command. A watcher
/// that was removed by command is not in `old` and comes back.
pub fn diff(old: &Config, running: &[&str], new: &Config) -> ReloadPlan {
    let sockets = socket_steps(&old.sockets, &new.sockets);
    let going = going_sockets(&old.sockets, &sockets);
    ReloadPlan {
        watchers: watcher_steps(old, running, new, &going),
        sockets,
        circus: keys::of_circus(&old.circus, &new.circus)
            .into_iter()
            .map(|key| CircusStep { effect: effect_of(&key), key })
            .collect(),
    }
}

/// Stands for the key of a socket that changed while no circusd ran.
const HELD_OTHERWISE: &str = "its settings in the kernel";

fn socket_steps(old: &[SocketConfig], new: &[SocketConfig]) -> Vec<SocketStep> {
    let by_name = |sockets: &[SocketConfig]| -> BTreeMap<String, SocketConfig> {
        sockets.iter().map(|socket| (socket.name.clone(), socket.clone())).collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let step = |name: &String| {
        let (change, keys) = match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) => {
                let mut keys = keys::of_socket(old, new);
                if old.outdated && keys.is_empty() {
                    keys.push(HELD_OTHERWISE.to_owned());
                }
                (!keys.is_empty()).then_some((SocketChange::Reopen, keys))?
            }
            (None, _) => (SocketChange::Open, Vec::new()),
            (_, None) => (SocketChange::Close, Vec::new()),
        };
        Some(SocketStep { name: name.clone(), change, keys })
    };
    names.into_iter().filter_map(step).collect()
}

/// The sockets that exist and are closed or opened anew, with the side they are on.
fn going_sockets(old: &[SocketConfig], steps: &[SocketStep]) -> BTreeMap<String, bool> {
    let going = |socket: &&SocketConfig| steps.iter().any(|step| step.name == socket.name);
    old.iter().filter(going).map(|socket| (socket.name.clone(), socket.use_papa)).collect()
}

/// The sockets among `going` that the watcher's processes work with.
///
/// Those that its command names or that are its stdin. One that names none but gets all (`use_sockets`) or
/// waits for all (`on_demand`) may work with any.
fn sockets_used(watcher: &WatcherConfig, going: &BTreeMap<String, bool>) -> Vec<String> {
    let named = sockets_named(watcher);
    let any = named.is_empty() && (watcher.use_sockets || watcher.on_demand);
    let used = |(name, use_papa): &(&String, &bool)| {
        **use_papa == watcher.use_papa && (any || named.contains(*name))
    };
    going.iter().filter(used).map(|(name, _)| name.clone()).collect()
}

fn watcher_steps(
    old: &Config,
    running: &[&str],
    new: &Config,
    going: &BTreeMap<String, bool>,
) -> Vec<WatcherStep> {
    let by_key = |watchers: &[WatcherConfig]| -> BTreeMap<String, WatcherConfig> {
        watchers.iter().map(|watcher| (watcher.name.to_lowercase(), watcher.clone())).collect()
    };
    let (old, new) = (by_key(&old.watchers), by_key(&new.watchers));
    let running: BTreeMap<String, &str> =
        running.iter().map(|name| (name.to_lowercase(), *name)).collect();
    let keys: BTreeSet<&String> = running.keys().chain(new.keys()).collect();
    let step = |key: &String| match (running.get(key), old.get(key), new.get(key)) {
        (None, _, Some(new)) => Some(bare(&new.name, WatcherChange::Add)),
        (Some(_), None, Some(new)) => {
            Some(bare(&new.name, WatcherChange::Replace { by_command: true }))
        }
        (Some(_), Some(old), Some(new)) => change_of(old, new, going),
        (Some(name), old, None) => {
            Some(bare(name, WatcherChange::Remove { by_command: old.is_none() }))
        }
        (None, _, None) => None,
    };
    keys.into_iter().filter_map(step).collect()
}

fn bare(name: &str, change: WatcherChange) -> WatcherStep {
    WatcherStep { name: name.to_owned(), change, keys: Vec::new(), sockets: Vec::new() }
}

fn change_of(
    old: &WatcherConfig,
    new: &WatcherConfig,
    going: &BTreeMap<String, bool>,
) -> Option<WatcherStep> {
    let keys = keys::of_watcher(old, new);
    let sockets = sockets_used(old, going);
    let change = match (keys.as_slice(), sockets.is_empty()) {
        ([], true) => return None,
        ([], false) => WatcherChange::Restart,
        ([only], true) if only == "numprocesses" => {
            WatcherChange::Resize { from: old.numprocesses, to: new.numprocesses }
        }
        _ => WatcherChange::Replace { by_command: false },
    };
    Some(WatcherStep { name: new.name.clone(), change, keys, sockets })
}

impl ReloadPlan {
    /// Nothing differs.
    pub fn is_empty(&self) -> bool {
        self.watchers.is_empty() && self.sockets.is_empty() && self.circus.is_empty()
    }

    /// The changed keys of `[circus]` that hold only when circusd is started again.
    pub fn needs_restart(&self) -> Vec<&str> {
        let late = self.circus.iter().filter(|step| step.effect == Effect::NeedsRestart);
        late.map(|step| step.key.as_str()).collect()
    }

    /// The plan as clients get it.
    pub fn to_json(&self) -> Value {
        json!({
            "watchers": self.watchers.iter().map(WatcherStep::to_json).collect::<Vec<_>>(),
            "sockets": self.sockets.iter().map(SocketStep::to_json).collect::<Vec<_>>(),
            "circus": self.circus.iter().map(|step| json!({
                "key": step.key, "action": step.effect.as_str(),
            })).collect::<Vec<_>>(),
        })
    }
}

impl WatcherStep {
    fn to_json(&self) -> Value {
        let mut shown = Map::new();
        shown.insert("name".into(), json!(self.name));
        shown.insert("action".into(), json!(self.action()));
        if let WatcherChange::Resize { from, to } = self.change {
            shown.insert("from".into(), json!(from));
            shown.insert("to".into(), json!(to));
        }
        shown.insert("keys".into(), json!(self.keys));
        shown.insert("sockets".into(), json!(self.sockets));
        shown.insert("reason".into(), json!(self.reason()));
        Value::Object(shown)
    }

    /// One of `add`, `remove`, `restart` and `resize`.
    pub fn action(&self) -> &'static str {
        match self.change {
            WatcherChange::Add => "add",
            WatcherChange::Remove { .. } => "remove",
            WatcherChange::Replace { .. } | WatcherChange::Restart => "restart",
            WatcherChange::Resize { .. } => "resize",
        }
    }

    /// Why, for people.
    pub fn reason(&self) -> String {
        match self.change {
            WatcherChange::Add => "is new in the file".to_owned(),
            WatcherChange::Remove { by_command: false } => "is no longer in the file".to_owned(),
            WatcherChange::Remove { by_command: true } => {
                "was added by command and is not in the file".to_owned()
            }
            WatcherChange::Replace { by_command: true } => {
                "was added by command and is now in the file".to_owned()
            }
            WatcherChange::Resize { from, to } => {
                format!("numprocesses changed from {from} to {to}")
            }
            WatcherChange::Replace { by_command: false } | WatcherChange::Restart => {
                let keys =
                    (!self.keys.is_empty()).then(|| format!("changed: {}", self.keys.join(", ")));
                let sockets = (!self.sockets.is_empty())
                    .then(|| format!("uses changed sockets: {}", self.sockets.join(", ")));
                keys.into_iter().chain(sockets).collect::<Vec<_>>().join("; ")
            }
        }
    }
}

impl SocketStep {
    fn to_json(&self) -> Value {
        let action = match self.change {
            SocketChange::Open => "open",
            SocketChange::Close => "close",
            SocketChange::Reopen => "reopen",
        };
        json!({ "name": self.name, "action": action, "keys": self.keys })
    }
}
