//! Commands that only look.

use super::dispatch::gone;
use crate::arbiter::handle::Roster;
use crate::process::info::GONE;
use crate::process::sampler::Sampler;
use crate::watcher::handle::{ProcessView, WatcherHandle};
use protocol::circus::command::{StatsTarget, python_repr};
use protocol::circus::errno::Errno;
use protocol::circus::response::{Failure, Outcome};
use serde_json::{Map, Value, json};

fn find<'a>(roster: &'a Roster, name: &str) -> Result<&'a WatcherHandle, Failure> {
    roster.find(name).ok_or_else(|| Failure::not_found(name))
}

fn single(key: &str, value: Value) -> Map<String, Value> {
    let mut keys = Map::new();
    keys.insert(key.to_owned(), value);
    keys
}

/// `list`: names in lower case, or the pids of one watcher in spawn order.
///
/// # Errors
/// No such watcher.
pub async fn list(roster: &Roster, name: Option<&str>) -> Outcome {
    let Some(name) = name else {
        let mut names: Vec<&str> =
            roster.watchers.iter().map(|watcher| watcher.identity().key.as_str()).collect();
        names.sort_unstable();
        return Ok(single("watchers", json!(names)));
    };
    let snapshot = find(roster, name)?.inspect().await.map_err(gone)?;
    let pids: Vec<i32> = snapshot.processes.iter().map(|process| process.pid).collect();
    Ok(single("pids", json!(pids)))
}

/// `status`: the states by name, or that of one watcher in place of the reply's own status.
///
/// # Errors
/// No such watcher.
pub async fn status(roster: &Roster, name: Option<&str>) -> Outcome {
    if let Some(name) = name {
        let snapshot = find(roster, name)?.inspect().await.map_err(gone)?;
        return Ok(single("status", json!(snapshot.status.as_str())));
    }
    let mut statuses = Map::new();
    for watcher in &roster.watchers {
        let snapshot = watcher.inspect().await.map_err(gone)?;
        statuses.insert(watcher.identity().name.clone(), json!(snapshot.status.as_str()));
    }
    Ok(single("statuses", Value::Object(statuses)))
}

/// `numwatchers`.
pub fn numwatchers(roster: &Roster) -> Map<String, Value> {
    single("numwatchers", json!(roster.watchers.len()))
}

/// `numprocesses`.
///
/// # Errors
/// No such watcher.
pub async fn numprocesses(roster: &Roster, name: Option<&str>) -> Outcome {
    if let Some(name) = name {
        let snapshot = find(roster, name)?.inspect().await.map_err(gone)?;
        let mut keys = single("numprocesses", json!(snapshot.processes.len()));
        keys.insert("watcher_name".into(), json!(name));
        return Ok(keys);
    }
    let mut count = 0;
    for watcher in &roster.watchers {
        count += watcher.inspect().await.map_err(gone)?.processes.len();
    }
    Ok(single("numprocesses", json!(count)))
}

/// `options`: everything a watcher is set to.
///
/// # Errors
/// No such watcher.
pub async fn options(roster: &Roster, name: &str) -> Outcome {
    let options = find(roster, name)?.options().await.map_err(gone)?;
    Ok(single("options", Value::Object(options)))
}

/// `get`: some options.
///
/// # Errors
/// No such watcher, or no such option.
pub async fn get(roster: &Roster, name: &str, keys: &[String]) -> Outcome {
    let mut all = find(roster, name)?.options().await.map_err(gone)?;
    let mut wanted = Map::new();
    for key in keys {
        let Some(value) = all.remove(key).or_else(|| wanted.get(key).cloned()) else {
            let reason = format!("{} option not found", python_repr(key));
            return Err(Failure::new(Errno::Message, reason));
        };
        wanted.insert(key.clone(), value);
    }
    Ok(single("options", Value::Object(wanted)))
}

/// `globaloptions`: the endpoints and the check delay.
///
/// # Errors
/// No such option.
pub fn globaloptions(roster: &Roster, option: Option<&str>) -> Outcome {
    let circus = &roster.config.circus;
    let stats = circus.stats_endpoint.as_deref().unwrap_or("tcp://127.0.0.1:5557");
    let mut all = Map::new();
    all.insert("endpoint".into(), json!(circus.endpoint));
    all.insert("stats_endpoint".into(), json!(stats));
    all.insert("pubsub_endpoint".into(), json!(circus.pubsub_endpoint));
    all.insert("check_delay".into(), json!(circus.check_delay));
    all.insert("multicast_endpoint".into(), json!(circus.multicast_endpoint));
    if let Some(option) = option {
        let Some(value) = all.remove(option) else {
            let reason = format!("{} not an existing option", python_repr(option));
            return Err(Failure::new(Errno::Message, reason));
        };
        return Ok(single("options", Value::Object(single(option, value))));
    }
    Ok(single("options", Value::Object(all)))
}

/// `ipython`: there is no Python inside this daemon.
pub fn ipython() -> Map<String, Value> {
    let mut keys = single("shell", json!(false));
    keys.insert("msg".into(), json!("this circusd has no Python to look into"));
    keys
}

/// `listsockets`.
pub fn listsockets(roster: &Roster) -> Map<String, Value> {
    single("sockets", Value::Array(roster.sockets.now().listing()))
}

/// `stats`: memory and CPU of processes and their children; `extended` lets the hook of a watcher work on
/// its own.
///
/// # Errors
/// No such watcher or process.
pub async fn stats(
    roster: &Roster,
    sampler: &Sampler,
    target: StatsTarget,
    extended: bool,
) -> Outcome {
    match target {
        StatsTarget::All => {
            let mut groups = Vec::new();
            for watcher in &roster.watchers {
                let processes = watcher.inspect().await.map_err(gone)?.processes;
                groups.push((watcher.identity().name.clone(), processes));
            }
            let all: Vec<ProcessView> =
                groups.iter().flat_map(|(_, processes)| processes).copied().collect();
            let mut read = read(sampler, &all).await;
            let mut infos = Map::new();
            for (name, processes) in groups {
                let pids = processes.iter().map(|process| process.pid.to_string());
                let group: Map<String, Value> =
                    pids.filter_map(|pid| read.remove_entry(&pid)).collect();
                infos.insert(name, Value::Object(group));
            }
            Ok(single("infos", Value::Object(infos)))
        }
        StatsTarget::Watcher(name) => {
            let watcher = find(roster, &name)?;
            let processes = watcher.inspect().await.map_err(gone)?.processes;
            let mut infos = read(sampler, &processes).await;
            if extended {
                extend(watcher, &mut infos).await?;
            }
            let mut keys = single("name", json!(name));
            keys.insert("info".into(), Value::Object(infos));
            Ok(keys)
        }
        StatsTarget::Process { name, pid, given } => {
            let watcher = find(roster, &name)?;
            let processes = watcher.inspect().await.map_err(gone)?.processes;
            let Some(process) = processes.iter().find(|process| process.pid == pid) else {
                let shown = match &given {
                    Value::String(text) => python_repr(text),
                    other => other.to_string(),
                };
                let reason = format!("process {shown} not found in {}", python_repr(&name));
                return Err(Failure::new(Errno::Message, reason));
            };
            let mut infos = read(sampler, &[*process]).await;
            if extended {
                extend(watcher, &mut infos).await?;
            }
            let info = infos.remove(&pid.to_string());
            let mut keys = single("process", given);
            keys.insert("info".into(), info.unwrap_or_else(|| json!(GONE)));
            Ok(keys)
        }
    }
}

/// The info objects by pid. `age` counts from the spawn, and the slot is added.
async fn read(sampler: &Sampler, processes: &[ProcessView]) -> Map<String, Value> {
    let pids = processes.iter().map(|process| process.pid).collect();
    let reading = sampler.read(pids, true).await;
    let now = crate::event_bus::epoch_seconds();
    let mut infos = Map::new();
    for (process, info) in processes.iter().zip(reading) {
        let shown = match info {
            Some(mut info) => {
                info.insert("age".into(), json!((now - process.started).max(0.0)));
                info.insert("started".into(), json!(process.started));
                info.insert("wid".into(), json!(process.wid.0));
                Value::Object(info)
            }
            None => json!(GONE),
        };
        infos.insert(process.pid.to_string(), shown);
    }
    infos
}

/// Lets the `extended_stats` hook of a watcher work on these info objects.
async fn extend(watcher: &WatcherHandle, infos: &mut Map<String, Value>) -> Result<(), Failure> {
    let of_living = |(pid, info): (&String, &Value)| {
        Some((pid.parse::<i32>().ok()?, info.as_object()?.clone()))
    };
    let given = infos.iter().filter_map(of_living).collect();
    for (pid, info) in watcher.extend_stats(given).await.map_err(gone)? {
        infos.insert(pid.to_string(), Value::Object(info));
    }
    Ok(())
}

/// `dstats`: circusd itself.
///
/// # Errors
/// /proc cannot be read.
pub async fn dstats(sampler: &Sampler) -> Outcome {
    let pid = i32::try_from(std::process::id()).unwrap_or(0);
    let mut reading = sampler.read(vec![pid], false).await;
    let info = reading.pop().flatten().ok_or_else(|| Failure::new(Errno::Os, GONE))?;
    Ok(single("info", Value::Object(info)))
}
