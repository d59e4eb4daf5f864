//! The names that `$(circus.NAME)` knows when a process is started, and how their values are written.

use super::model::WatcherConfig;
use std::fmt::Display;
use std::path::Path;

/// What is only known at the start of a process.
pub(crate) struct Moment<'a> {
    /// The worker id.
    pub(crate) wid: u32,
    /// The directory the process starts in.
    pub(crate) working_dir: &'a Path,
}

/// The value of a setting or a free option; none if there is no such name.
///
/// Values look as circus writes them: `True`, `False` and `None` for what is not set.
pub(crate) fn setting(watcher: &WatcherConfig, moment: &Moment<'_>, name: &str) -> Option<String> {
    let w = watcher;
    if let Some((group, key)) = name.split_once('.')
        && let Some(value) = grouped(w, group, key)
    {
        return Some(value);
    }
    Some(match name {
        "wid" => moment.wid.to_string(),
        "working_dir" => moment.working_dir.to_string_lossy().into_owned(),
        "cmd" => w.cmd.clone(),
        "args" => w.args.clone(),
        "shell_args" => or_none(w.shell_args.as_ref()),
        "uid" => or_none(w.uid.as_ref()),
        "gid" => or_none(w.gid.as_ref()),
        "executable" => or_none(w.executable.as_ref()),
        "numprocesses" => w.numprocesses.to_string(),
        "warmup_delay" => w.warmup_delay.to_string(),
        "stop_signal" => w.stop_signal.number().to_string(),
        "max_retry" => w.max_retry.to_string(),
        // A float in circus, so 30 reads 30.0.
        "graceful_timeout" => format!("{:?}", w.graceful_timeout),
        "priority" => w.priority.to_string(),
        "max_age" => w.max_age.to_string(),
        "max_age_variance" => w.max_age_variance.to_string(),
        "shell" => flag(w.shell),
        "send_hup" => flag(w.send_hup),
        "stop_children" => flag(w.stop_children),
        "respawn" => flag(w.respawn),
        "use_sockets" | "use_fds" => flag(w.use_sockets),
        "copy_env" => flag(w.copy_env),
        "singleton" => flag(w.singleton),
        "on_demand" => flag(w.on_demand),
        "close_child_stdin" => flag(w.close_child_stdin),
        "close_child_stdout" => flag(w.close_child_stdout),
        "close_child_stderr" => flag(w.close_child_stderr),
        "use_papa" => flag(w.use_papa),
        _ => return by_lower_case(w.free.iter().map(|(key, value)| (key.as_str(), value)), name),
    })
}

fn grouped(w: &WatcherConfig, group: &str, key: &str) -> Option<String> {
    match group {
        "rlimits" => {
            let limit = w.rlimits.get(key)?;
            Some(limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string()))
        }
        "stdout_stream_conf" => by_lower_case(w.stdout_stream.iter(), key),
        "stderr_stream_conf" => by_lower_case(w.stderr_stream.iter(), key),
        _ => None,
    }
}

fn by_lower_case<K: AsRef<str>>(
    options: impl Iterator<Item = (K, impl AsRef<str>)>,
    name: &str,
) -> Option<String> {
    options
        .filter(|(key, _)| key.as_ref().to_lowercase() == name)
        .map(|(_, value)| value.as_ref().to_owned())
        .last()
}

fn flag(value: bool) -> String {
    if value { "True".to_owned() } else { "False".to_owned() }
}

fn or_none(value: Option<impl Display>) -> String {
    value.map_or_else(|| "None".to_owned(), |value| value.to_string())
}
