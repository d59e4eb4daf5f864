//! Commands that change what there is: `add`, `rm`, `set` and `reloadconfig`.

use super::dispatch::gone;
use super::operate::{Verb, refused, selected};
use crate::arbiter::handle::{AddError, ArbiterHandle, Roster};
use crate::arbiter::reload::ReloadError;
use crate::cause::chain;
use crate::config::model::WatcherConfig;
use crate::watcher::handle::{Operation, Retirement, SetError, WatcherGone};
use crate::watcher::setting;
use papa_spawn::child::Credentials;
use protocol::circus::command::{AddWatcher, Selection};
use protocol::circus::errno::Errno;
use protocol::circus::response::{Failure, Outcome};
use serde_json::{Map, Value, json};
use tokio::task;

/// `add`: a new watcher, started if asked for.
///
/// # Errors
/// It exists, cannot be made, or the owner of the endpoint does not allow it.
pub async fn add(arbiter: &ArbiterHandle, roster: &Roster, wanted: AddWatcher) -> Outcome {
    check_owner(roster, &wanted.options)?;
    check_code(roster, &wanted.options).await?;
    if roster.find(&wanted.name).is_some() {
        return Err(cannot(&AddError::Exists(wanted.name)));
    }
    let mut config = WatcherConfig::new(wanted.name, &wanted.cmd);
    config.args = wanted.args.unwrap_or_default();
    // `set` cannot change it, `add` can say it.
    config.use_papa = wanted.options.get("use_papa").and_then(Value::as_bool) == Some(true);
    setting::apply(&mut config, &wanted.options).map_err(|error| cannot(&error))?;
    take_in(arbiter, config, wanted.start, wanted.waiting).await
}

/// A new watcher that may be had, started if asked for; with `waiting` the reply says what was started.
///
/// # Errors
/// It exists or cannot be made.
pub async fn take_in(
    arbiter: &ArbiterHandle,
    config: WatcherConfig,
    start: bool,
    waiting: bool,
) -> Outcome {
    check_user(&config).await?;
    let watcher = arbiter.add(config).await.map_err(|error| match error {
        AddError::Busy(busy) => Failure::conflict(busy.0),
        other => cannot(&other),
    })?;
    if let Err(reason) = watcher.load_hooks().await {
        let ended = arbiter.remove(watcher, Retirement::Removed).await.map_err(refused)?;
        // A dropped sender means that the watcher has ended.
        let _ = ended.await;
        return Err(Failure::new(Errno::Command, reason));
    }
    let mut reply = Map::new();
    if start {
        let started = arbiter.one(watcher, Operation::Start, "watcher_start").await;
        let started = started.map_err(refused)?;
        if waiting {
            let (changes, _) = started.await.map_err(|_| gone(WatcherGone))?;
            reply.insert("started".into(), json!(changes.started));
            reply.insert("kept".into(), json!(changes.kept));
        }
    }
    Ok(reply)
}

/// `rm`: the watcher is gone at once; its processes are stopped unless they are to go on.
///
/// # Errors
/// No such watcher, or another operation is in the way.
pub async fn rm(
    arbiter: &ArbiterHandle,
    roster: &Roster,
    name: &str,
    nostop: bool,
    waiting: bool,
) -> Outcome {
    let watcher = roster.meant(name).ok_or_else(|| Failure::not_found(name))?;
    let how = if nostop { Retirement::Forgotten } else { Retirement::Removed };
    let ended = arbiter.remove(watcher.clone(), how).await.map_err(refused)?;
    if waiting {
        // A dropped sender means that the watcher has ended.
        let _ = ended.await;
    }
    Ok(Map::new())
}

/// `set`: all options or none, then whatever they call for.
///
/// # Errors
/// No such watcher, another operation is in the way, or an option cannot be used.
pub async fn set(
    arbiter: &ArbiterHandle,
    roster: &Roster,
    name: &str,
    mut options: Map<String, Value>,
    waiting: bool,
) -> Outcome {
    let watcher = roster.meant(name).ok_or_else(|| Failure::not_found(name))?;
    check_code(roster, &options).await?;
    let mut probe = WatcherConfig::new(String::new(), "");
    // Only users and groups are of interest here; the rest is checked where the configuration is.
    for key in ["uid", "gid"] {
        let Some(value) = options.get(key) else { continue };
        let only = Map::from_iter([(key.to_owned(), value.clone())]);
        setting::apply(&mut probe, &only).map_err(|error| cannot(&error))?;
    }
    if let Some(user) = check_user(&probe).await? {
        // Clients see the numbers from now on, as with the original.
        let numbers = [("uid", user.uid), ("gid", Some(user.gid))];
        for (key, number) in numbers {
            if let (Some(value), Some(number)) = (options.get_mut(key), number) {
                *value = json!(number);
            }
        }
    }
    let permit = arbiter.permit(watcher.clone(), "watcher_set_opt").await.map_err(refused)?;
    let ended = watcher.set(options, permit).await.map_err(|error| match error {
        SetError::Setting(error) => cannot(&error),
        SetError::Gone(error) => gone(error),
    })?;
    if waiting {
        ended.await.map_err(|_| gone(WatcherGone))?;
    }
    Ok(Map::new())
}

/// `reloadconfig`: the reply comes when everything has been checked, with `waiting` when it is done. With
/// `plan` it only says what would be done.
///
/// # Errors
/// The file cannot be used, and nothing was changed; or another operation is in the way.
pub async fn reload_config(arbiter: &ArbiterHandle, plan: bool, waiting: bool) -> Outcome {
    if plan {
        let plan = arbiter.reload_plan().await.map_err(not_reloaded)?;
        return Ok(Map::from_iter([("plan".to_owned(), plan.to_json())]));
    }
    begin_reload(arbiter, false, waiting).await
}

/// `restart` without a name: as `reloadconfig`, but what has not changed starts anew, too. Without a file that
/// is everything.
///
/// # Errors
/// The file cannot be used, and nothing was changed; or another operation is in the way.
pub async fn restart(arbiter: &ArbiterHandle, roster: &Roster, waiting: bool) -> Outcome {
    if roster.config.path.is_none() {
        return selected(arbiter, roster, &Selection::All, Verb::restart(), waiting).await;
    }
    begin_reload(arbiter, true, waiting).await
}

async fn begin_reload(arbiter: &ArbiterHandle, restart: bool, waiting: bool) -> Outcome {
    let mut reply = Map::new();
    let begun = arbiter.reload(restart).await.map_err(not_reloaded)?;
    let late = begun.plan.needs_restart();
    if !late.is_empty() {
        reply.insert("needs_restart".into(), json!(late));
    }
    if waiting {
        begun.ended.await.map_err(|_| gone(WatcherGone))?.map_err(not_reloaded)?;
    }
    Ok(reply)
}

/// The original has errno 6 with just `server error`.
fn not_reloaded(error: ReloadError) -> Failure {
    match error {
        ReloadError::Busy(busy) => Failure::conflict(busy.0),
        ReloadError::Gone(error) => gone(error),
        other => Failure::new(Errno::BadMsgData, chain(&other)),
    }
}

fn cannot(error: &dyn std::error::Error) -> Failure {
    Failure::new(Errno::Command, error.to_string())
}

/// The user to whom the endpoint belongs, if one is named and the endpoint is a file.
fn endpoint_owner(roster: &Roster) -> Option<&str> {
    let circus = &roster.config.circus;
    circus.endpoint_owner.as_deref().filter(|_| circus.endpoint.starts_with("ipc://"))
}

/// With `endpoint_owner` a watcher can only be added for that user, given in the same words.
fn check_owner(roster: &Roster, options: &Map<String, Value>) -> Result<(), Failure> {
    match endpoint_owner(roster) {
        Some(owner) if options.get("uid").and_then(Value::as_str) != Some(owner) => {
            Err(Failure::new(Errno::Message, "uid does not match endpoint_owner"))
        }
        _ => Ok(()),
    }
}

/// Hooks and stream classes run as circusd's user. Whoever is not that user cannot bring in any, and
/// nobody can when the configuration says so.
async fn check_code(roster: &Roster, options: &Map<String, Value>) -> Result<(), Failure> {
    if !options.iter().any(|(key, value)| is_code(key, value)) {
        return Ok(());
    }
    if !roster.config.circus.allow_remote_python {
        let reason = "hooks and stream classes cannot be set: allow_remote_python is off";
        return Err(Failure::new(Errno::Message, reason));
    }
    let Some(owner) = endpoint_owner(roster).map(str::to_owned) else { return Ok(()) };
    let own = nix::unistd::geteuid();
    let found = task::spawn_blocking(move || Credentials::resolve(Some(&owner), None))
        .await
        .map(Result::ok);
    let uid = found.ok().flatten().flatten().and_then(|credentials| credentials.uid);
    if uid == Some(own.as_raw()) {
        return Ok(());
    }
    let reason =
        "hooks and stream classes run as the user of circusd, so the endpoint_owner cannot set any";
    Err(Failure::new(Errno::Message, reason))
}

fn is_code(key: &str, value: &Value) -> bool {
    let is_dotted = |class: Option<&Value>| {
        class.and_then(Value::as_str).is_some_and(|class| class.contains('.'))
    };
    match key {
        "hooks.timeout" => false,
        "stdout_stream" | "stderr_stream" => is_dotted(value.get("class")),
        "stdout_stream.class" | "stderr_stream.class" => is_dotted(Some(value)),
        _ => key == "hooks" || key.starts_with("hooks."),
    }
}

/// Looks users and groups up now, so that a wrong name is the caller's error and not a failed spawn later.
async fn check_user(config: &WatcherConfig) -> Result<Option<Credentials>, Failure> {
    let (uid, gid) = (config.uid.clone(), config.gid.clone());
    if uid.is_none() && gid.is_none() {
        return Ok(None);
    }
    // The user database may be on the network.
    let found =
        task::spawn_blocking(move || Credentials::resolve(uid.as_deref(), gid.as_deref())).await;
    match found {
        Ok(Ok(user)) => Ok(user),
        Ok(Err(error)) => Err(cannot(&error)),
        Err(_) => Err(gone(WatcherGone)),
    }
}
