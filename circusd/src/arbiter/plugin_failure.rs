//! When a plugin in Python ends with an error: finds out whether its class can be imported at all.
//!
//! What the plugin prints goes nowhere unless the file says otherwise, and one whose module is missing would be
//! started again and again. So the first failure is followed by an import of the class beside it: if that fails,
//! the log tells why in one sentence and the watcher is stopped; if not, the plugin is left to its restarts.

use super::handle::{ArbiterHandle, Roster};
use super::plugins;
use crate::config::model::{PluginConfig, WatcherConfig};
use crate::config::{SpawnContext, SpawnPlan, plan, quote};
use crate::event_bus::{EventBus, Numbered};
use crate::hook::command;
use crate::watcher::handle::Operation;
use circusctl::plugin::registry::{Builtin, is_program};
use indexmap::IndexMap;
use protocol::circus::event::topic_name;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time;
use tracing::{error, warn};

/// How long an import may take; a longer one is not the failure that was seen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an exception has to say, at most, in characters.
const LONGEST: usize = 1000;

/// Imports the class that is named first, and prints a JSON object with the exception if there is one. What
/// modules print goes nowhere.
const IMPORT: &str = r#"
import json, os, sys
out = os.dup(1)
nowhere = os.open(os.devnull, os.O_WRONLY)
os.dup2(nowhere, 1)
os.dup2(nowhere, 2)
said = {}
try:
    from circus import plugins
    module, _, name = sys.argv[1].replace(':', '.').rpartition('.')
    getattr(__import__(module, fromlist=[name]), name)
except BaseException as error:
    said['error'] = '%s: %s' % (type(error).__name__, error)
os.write(out, json.dumps(said).encode('ascii'))
"#;

/// Attends to plugins that fail, for as long as there is an arbiter.
pub async fn attend(
    arbiter: ArbiterHandle,
    bus: EventBus,
    environment: Arc<Vec<(String, String)>>,
) {
    let mut attention = Attention::default();
    let (_, mut next) = bus.since(None);
    loop {
        bus.beyond(next).await;
        let (events, after) = bus.since(Some(next));
        next = after;
        let failed = attention.failures(&events);
        if failed.is_empty() {
            continue;
        }
        let Ok(roster) = arbiter.roster().await else { return };
        for name in failed {
            look(&roster, &name, &environment, &mut attention.told).await;
            // What has happened meanwhile was the same failure.
            attention.seen.insert(name, bus.since(Some(u64::MAX)).1);
        }
    }
}

#[derive(Default)]
struct Attention {
    /// Failures of a plugin before this event are known.
    seen: BTreeMap<String, u64>,
    /// Plugins that fail for another reason than their import, which was told.
    told: BTreeSet<String>,
}

impl Attention {
    /// The plugins that have ended with an error, by their names in topics.
    fn failures(&self, events: &[Numbered]) -> BTreeSet<String> {
        let failed = events.iter().filter_map(|event| {
            let name = event.topic.strip_prefix("watcher.")?.strip_suffix(".reap")?;
            let code = event.payload.get("exit_code").and_then(Value::as_i64)?;
            let known = self.seen.get(name).is_some_and(|seen| event.sequence < *seen);
            (name.starts_with("plugin:") && code > 0 && !known).then(|| name.to_owned())
        });
        failed.collect()
    }
}

/// Finds out why the plugin has failed and tells it.
async fn look(
    roster: &Roster,
    topic: &str,
    environment: &[(String, String)],
    told: &mut BTreeSet<String>,
) {
    let config = &roster.config;
    let Some(plugin) = config.plugins.iter().find(|plugin| topic_name(&plugin.name) == topic)
    else {
        return;
    };
    let watcher = config.watchers.iter().find(|watcher| watcher.name == plugin.name);
    let (Some(watcher), Some(handle)) = (watcher, roster.find(&plugin.name)) else { return };
    if Builtin::find(&plugin.use_class).is_some() || is_program(&plugin.use_class) {
        return;
    }
    // Something may have cleaned up our package, which is put right by looking at it.
    plugins::package_directory().await;
    let PluginConfig { name, use_class, .. } = plugin;
    match import(watcher, use_class, environment).await {
        Some(reason) => {
            error!(
                "[{name}] use = {use_class}: cannot be imported, so it is stopped: {reason}; mend it and \
                 `circusctl start {name}`"
            );
            told.remove(topic);
            // Not as an operator would: the next circusd tries again. It fails only while circusd ends.
            let _ = handle.operate(Operation::Stop, None).await;
        }
        None if told.insert(topic.to_owned()) => warn!(
            "[{name}] {use_class} has ended with an error and is started again; \
             `stderr_stream.class = StdoutStream` in its section shows what it says"
        ),
        None => {}
    }
}

/// Why the class cannot be imported by the Python that runs the plugin; none if it can, or if that is not known.
async fn import(
    watcher: &WatcherConfig,
    class: &str,
    environment: &[(String, String)],
) -> Option<String> {
    // What another user can write is not for us to run.
    if watcher.uid.is_some() || watcher.gid.is_some() {
        return None;
    }
    let sockets = BTreeMap::new();
    let cwd = std::env::current_dir().ok()?;
    let context = SpawnContext { environment, sockets: &sockets, cwd: &cwd };
    let SpawnPlan { argv, env, working_dir, .. } = plan(watcher, 1, &context).ok()?;
    let words = [argv.first()?.as_str(), "-c", IMPORT, class].map(quote).join(" ");
    let mut variables: IndexMap<String, String> = env.into_iter().collect();
    // The plugin itself looks for modules in its own directory first.
    let path = variables.entry("PYTHONPATH".to_owned()).or_default();
    *path = format!("{}:{path}", working_dir.display());
    let label = format!("the import of {class}");
    // It reads nothing, and what it prints comes back only if there could be something to read.
    let input = json!({});
    let run = command::run(&words, variables.into_iter().collect(), Some(&input), &label);
    let answer = time::timeout(PATIENCE, run).await.ok()?;
    let said = answer.stats?;
    let error = said.get("error")?.as_str()?.replace('\n', " ");
    Some(error.chars().take(LONGEST).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sequence: u64, topic: &str, code: i64) -> Numbered {
        Numbered { sequence, topic: topic.to_owned(), payload: json!({"exit_code": code}) }
    }

    #[test]
    fn only_plugins_that_end_with_an_error_are_looked_at() {
        let events = [
            event(1, "watcher.plugin:a.reap", 1),
            event(2, "watcher.plugin:a.reap", 1),
            event(3, "watcher.plugin:b.reap", 0),
            event(4, "watcher.plugin:c.reap", -9),
            event(5, "watcher.web.reap", 1),
            event(6, "watcher.plugin:d.spawn", 1),
        ];
        let mut attention = Attention::default();
        assert_eq!(attention.failures(&events), BTreeSet::from(["plugin:a".to_owned()]));
        attention.seen.insert("plugin:a".to_owned(), 2);
        assert_eq!(attention.failures(&events).len(), 1, "the second is new");
        attention.seen.insert("plugin:a".to_owned(), 3);
        assert!(attention.failures(&events).is_empty());
    }
}
