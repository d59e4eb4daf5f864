//! A watcher as Python hooks see it.

use super::super::options;
use super::Task;
use serde_json::{Map, Value, json};

impl Task {
    /// Every attribute that hooks are known to use, in the types of circus 0.17.2.
    pub(in super::super) fn picture(&self) -> Value {
        let config = &self.config;
        let environment = &self.launcher.environment;
        let all = options::of(config, self.state.desired(), environment);
        let mut picture: Map<String, Value> = all
            .iter()
            .filter(|(key, _)| !config.free.contains_key(*key) && !key.starts_with("hooks."))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let processes: Vec<Value> = self
            .state
            .processes()
            .into_iter()
            .map(|(wid, pid)| {
                let worker = self.workers.get(&wid);
                json!({
                    "pid": pid,
                    "wid": wid.0,
                    "name": config.name,
                    "started": worker.map_or(0.0, |worker| worker.started),
                    "stopping": self.state.is_stopping(wid),
                })
            })
            .collect();
        let extra = json!({
            "name": config.name,
            "res_name": config.name.to_lowercase().replace(' ', "_"),
            "autostart": config.autostart,
            "copy_path": config.copy_path,
            "rlimits": config.rlimits,
            "virtualenv": config.virtualenv,
            "processes": processes,
            "_status": self.state.status().as_str(),
            "_options": config.free,
            "_all_options": all,
        });
        if let Value::Object(extra) = extra {
            picture.extend(extra);
        }
        if picture.get("env").is_none_or(Value::is_null) {
            picture.insert("env".to_owned(), json!({}));
        }
        Value::Object(picture)
    }
}
