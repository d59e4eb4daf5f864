//! Commands that only look.

use super::dispatch::gone;
use crate::arbiter::handle::Roster;
use crate::process::sampler::{Freshness, GONE, Sampler, Subject};
use crate::watcher::handle::{ProcessView, Snapshot, WatcherHandle};
use crate::watcher::tally::Cause;
use protocol::circus::command::{StatsTarget, python_repr};
use protocol::circus::errno::Errno;
use protocol::circus::response::{Failure, Outcome};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time;

/// How long the kernel may take to tell its pid.
const KERNEL_PATIENCE: Duration = Duration::from_secs(1);

fn find<'a>(roster: &'a Roster, name: &str) -> Result<&'a WatcherHandle, Failure> {
    roster.meant(name).ok_or_else(|| Failure::not_found(name))
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
        // One that has been removed since the roster was read is not there any more.
        let Ok(snapshot) = watcher.inspect().await else { continue };
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
        count += watcher.inspect().await.map_or(0, |snapshot| snapshot.processes.len());
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
    freshness: Freshness,
    extended: bool,
) -> Outcome {
    match target {
        StatsTarget::All => {
            let (mut names, mut groups) = (Vec::new(), Vec::new());
            for watcher in &roster.watchers {
                let Ok(group) = subjects(watcher).await else { continue };
                names.push(watcher.identity().name.clone());
                groups.push(group);
            }
            let infos = sampler.groups(groups, freshness).await.into_iter().map(Value::Object);
            Ok(single("infos", Value::Object(names.into_iter().zip(infos).collect())))
        }
        StatsTarget::Watcher(name) => {
            let watcher = find(roster, &name)?;
            let group = subjects(watcher).await?;
            let mut infos = sampler.groups(vec![group], freshness).await.pop().unwrap_or_default();
            if extended {
                extend(watcher, &mut infos).await?;
            }
            let mut keys = single("name", json!(name));
            keys.insert("info".into(), Value::Object(infos));
            Ok(keys)
        }
        StatsTarget::Process { name, pid, given } => {
            let watcher = find(roster, &name)?;
            let mut group = subjects(watcher).await?;
            group.retain(|subject| subject.pid == pid);
            if group.is_empty() {
                let shown = match &given {
                    Value::String(text) => python_repr(text),
                    other => other.to_string(),
                };
                let reason = format!("process {shown} not found in {}", python_repr(&name));
                return Err(Failure::new(Errno::Message, reason));
            }
            let mut infos = sampler.groups(vec![group], freshness).await.pop().unwrap_or_default();
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

async fn subjects(watcher: &WatcherHandle) -> Result<Vec<Subject>, Failure> {
    let processes = watcher.inspect().await.map_err(gone)?.processes;
    let subject = |process: ProcessView| {
        let ProcessView { wid, pid, started } = process;
        Subject { pid, wid: wid.0, started }
    };
    Ok(processes.into_iter().map(subject).collect())
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

/// `dstats`: circusd itself, and beyond the original the pid of its kernel, which circusd-stats measures.
///
/// # Errors
/// /proc cannot be read.
pub async fn dstats(roster: &Roster, sampler: &Sampler) -> Outcome {
    let info = sampler.own().await.ok_or_else(|| Failure::new(Errno::Os, GONE))?;
    let mut keys = single("info", info);
    if let Some(kernel) = &roster.kernel
        && let Ok(Some(facts)) = time::timeout(KERNEL_PATIENCE, kernel.facts()).await
    {
        keys.insert("kernel".into(), json!(facts.pid));
    }
    Ok(keys)
}

/// `counters`: what is counted about each watcher, for circus-top.
///
/// # Errors
/// The daemon is ending.
pub async fn counters(roster: &Roster) -> Outcome {
    let mut counters = Map::new();
    for watcher in &roster.watchers {
        let Snapshot { status, desired, processes, counted, .. } =
            watcher.inspect().await.map_err(gone)?;
        let restarts = Cause::ALL.map(|cause| (cause.name().to_owned(), counted.restarts(cause)));
        let restarts: Map<String, Value> =
            restarts.into_iter().map(|(cause, count)| (cause, json!(count))).collect();
        let told = json!({
            "status": status.as_str(),
            "running": processes.len(),
            "wanted": desired,
            "restarts": restarts,
            "output_bytes": counted.output,
            "dropped_bytes": counted.dropped,
        });
        counters.insert(watcher.identity().name.clone(), told);
    }
    Ok(single("counters", Value::Object(counters)))
}
