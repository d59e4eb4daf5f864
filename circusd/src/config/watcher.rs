//! Reads `[watcher:NAME]`.
//!
//! What circus refuses to load is an error here too; what makes circus leave the one watcher out
//! refuses that watcher only.

use super::env::{EnvNames, EnvTable};
use super::ini::{Ini, strip};
use super::model::WatcherConfig;
use super::near_miss;
use super::problem::{Report, Severity};
use super::reader::SectionReader;
use super::{hook, stream, values};
use circusctl::plugin::flapping::rules::{OPTIONS, Settings};
use circusctl::plugin::options::Options;
use indexmap::IndexMap;
use protocol::circus::option::LIMITS;
use std::collections::BTreeMap;

/// What the name of such a section starts with.
pub(crate) const PREFIX: &str = "watcher:";

/// The keys that are read; all others are free options.
const KNOWN: &[&str] = &[
    "name",
    "cmd",
    "args",
    "numprocesses",
    "warmup_delay",
    "executable",
    "working_dir",
    "on_demand",
    "shell",
    "shell_args",
    "uid",
    "gid",
    "send_hup",
    "stop_signal",
    "stop_children",
    "max_retry",
    "graceful_timeout",
    "priority",
    "use_sockets",
    "singleton",
    "copy_env",
    "copy_path",
    "respawn",
    "autostart",
    "use_papa",
    "max_age",
    "max_age_variance",
    "close_child_stdin",
    "close_child_stdout",
    "close_child_stderr",
    "stdin_socket",
    "virtualenv",
    "virtualenv_py_ver",
];

/// Free keys that would shadow something circus builds from other keys.
const MISPLACED: &[(&str, &str)] =
    &[("rlimits", "write `rlimit_NAME = ...`"), ("hooks", "write `hooks.NAME = ...`")];

/// A free key that plugins read; circus checks its type.
pub(crate) const CHECK_FLAPPING: &str = "check_flapping";

/// What the free keys begin with that the plugin Flapping reads.
const FLAPPING: &str = "flapping.";

/// Reads the section; none if it is empty, refused or not of this kind. `use_papa` is what holds when the
/// section does not say.
pub(crate) fn read(
    ini: &Ini,
    section: &str,
    env: &EnvTable,
    global: &EnvNames,
    use_papa: bool,
    report: &mut Report,
) -> Option<WatcherConfig> {
    let section_name = section.strip_prefix(PREFIX)?;
    let mut keys = SectionReader::open(ini, section, report)?;
    let name = match keys.entries.get("name") {
        Some(entry) => entry.value.clone(),
        None => section_name.to_owned(),
    };
    // A wrong value is reported when all flags are read.
    let copy_env =
        keys.raw("copy_env", global).is_some_and(|text| values::boolean(&text) == Ok(true));
    let variables = env.of_watcher(&name, copy_env);
    let names = env.watcher_names(&variables);
    let base = WatcherConfig { env: variables, use_papa, ..WatcherConfig::new(name, "") };
    let config = read_keys(&mut keys, base, global, &names);
    if strip(&config.cmd).is_empty() {
        let message = "a watcher needs a command";
        match keys.entries.contains_key("cmd") {
            true => keys.key_problem(Severity::Error, "cmd", Some(String::new()), message),
            false => keys.section_problem(Severity::Error, "`cmd` is missing; a watcher needs one"),
        }
    }
    if !config.singleton && config.numprocesses == 0 {
        let message = "the watcher will not start any process";
        keys.key_problem(Severity::Warning, "numprocesses", Some("0".to_owned()), message);
    }
    check_flapping(&mut keys, &config);
    (!keys.is_refused()).then_some(config)
}

/// What the plugin Flapping will read of the section, if it runs; it goes on without what is wrong.
fn check_flapping(keys: &mut SectionReader<'_>, config: &WatcherConfig) {
    let own = |key: &str| key.strip_prefix(FLAPPING).map(str::to_owned);
    let given = config.free.iter().filter(|(key, _)| own(key).is_some());
    let options = Options::new(keys.section, given.map(|(key, text)| (key.clone(), text.clone())));
    if let Err(error) = Settings::read(&options, FLAPPING, Settings::default()) {
        let message = format!("{}; it is ignored", error.reason);
        keys.key_problem(Severity::Warning, &error.key, error.value, message);
    }
    for (key, name) in config.free.keys().filter_map(|key| Some((key, own(key)?))) {
        if !OPTIONS.contains(&name.as_str()) {
            let all = OPTIONS.join(", ");
            let message = format!("not an option of the plugin Flapping, which has {all}");
            keys.key_problem(Severity::Warning, key, None, message);
        }
    }
}

/// Reads all keys over the values of `base`.
///
/// `global` replaces `$(circus.env.X)` in typed values, `names` in text.
pub(crate) fn read_keys(
    keys: &mut SectionReader<'_>,
    base: WatcherConfig,
    global: &EnvNames,
    names: &EnvNames,
) -> WatcherConfig {
    let mut config = base;
    config.written = keys.entries.keys().cloned().collect();
    read_flags(keys, global, &mut config);
    read_numbers(keys, global, &mut config);
    read_texts(keys, names, &mut config);
    config.executable = keys.text("executable", global);
    config.rlimits = read_rlimits(keys, names);
    (config.hooks, config.hook_timeout) = hook::read(keys, names, config.hook_timeout);
    config.stdout_stream = stream::read(keys, "stdout_stream", names, config.stdout_stream);
    config.stderr_stream = stream::read(keys, "stderr_stream", names, config.stderr_stream);
    config.free = read_free(keys, global, names);
    check_together(keys, &config);
    config
}

fn read_flags(keys: &mut SectionReader<'_>, names: &EnvNames, config: &mut WatcherConfig) {
    for (key, flag) in [
        ("on_demand", &mut config.on_demand),
        ("shell", &mut config.shell),
        ("send_hup", &mut config.send_hup),
        ("stop_children", &mut config.stop_children),
        ("use_sockets", &mut config.use_sockets),
        ("singleton", &mut config.singleton),
        ("copy_env", &mut config.copy_env),
        ("copy_path", &mut config.copy_path),
        ("respawn", &mut config.respawn),
        ("autostart", &mut config.autostart),
        ("use_papa", &mut config.use_papa),
        ("close_child_stdin", &mut config.close_child_stdin),
        ("close_child_stdout", &mut config.close_child_stdout),
        ("close_child_stderr", &mut config.close_child_stderr),
    ] {
        *flag = keys.value(Severity::Error, key, names, *flag, values::boolean);
    }
}

fn read_numbers(keys: &mut SectionReader<'_>, names: &EnvNames, config: &mut WatcherConfig) {
    use Severity::{Error, Refused};
    config.numprocesses =
        keys.value(Error, "numprocesses", names, config.numprocesses, values::processes);
    for (key, number, severity) in [
        ("max_retry", &mut config.max_retry, Error),
        ("priority", &mut config.priority, Error),
        ("max_age", &mut config.max_age, Refused),
        ("max_age_variance", &mut config.max_age_variance, Refused),
    ] {
        *number = keys.value(severity, key, names, *number, values::integer);
    }
    let seconds = |text: &str| values::integer_as::<i32>(text, "at most 2147483647");
    if let Some(seconds) = keys.optional(Error, "warmup_delay", names, seconds) {
        config.warmup_delay = f64::from(seconds);
    }
    config.graceful_timeout =
        keys.value(Error, "graceful_timeout", names, config.graceful_timeout, values::float);
    config.stop_signal =
        keys.value(Error, "stop_signal", names, config.stop_signal, values::signal);
}

fn read_texts(keys: &SectionReader<'_>, names: &EnvNames, config: &mut WatcherConfig) {
    if let Some(cmd) = keys.raw("cmd", names) {
        config.cmd = cmd;
    }
    config.args = keys.raw("args", names).unwrap_or_default();
    config.working_dir = keys.text("working_dir", names);
    config.shell_args = keys.text("shell_args", names);
    config.uid = keys.text("uid", names);
    config.gid = keys.text("gid", names);
    config.stdin_socket = keys.text("stdin_socket", names).map(|name| name.to_lowercase());
    config.virtualenv = keys.text("virtualenv", names);
    config.virtualenv_py_ver = keys.text("virtualenv_py_ver", names);
}

fn with_prefix(keys: &SectionReader<'_>, prefix: &str) -> Vec<String> {
    keys.entries.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
}

fn read_rlimits(keys: &mut SectionReader<'_>, names: &EnvNames) -> BTreeMap<String, Option<i64>> {
    let mut limits = BTreeMap::new();
    for key in with_prefix(keys, "rlimit_") {
        let name = key["rlimit_".len()..].to_lowercase();
        if !LIMITS.contains(&name.as_str()) {
            let message = format!("not a resource limit; use one of {}", LIMITS.join(", "));
            keys.key_problem(Severity::Error, &key, None, message);
        } else if let Some(limit) =
            keys.optional(Severity::Error, &key, names, values::resource_limit)
        {
            // Two spellings of one limit: the first one wins, like everywhere.
            limits.entry(if name == "ofile" { "nofile".to_owned() } else { name }).or_insert(limit);
        }
    }
    limits
}

fn read_free(
    keys: &mut SectionReader<'_>,
    global: &EnvNames,
    names: &EnvNames,
) -> IndexMap<String, String> {
    let is_typed = |key: &str| {
        KNOWN.contains(&key)
            || ["rlimit_", "hooks.", "stdout_stream", "stderr_stream"]
                .iter()
                .any(|prefix| key.starts_with(prefix))
    };
    let unknown: Vec<(String, bool)> = keys
        .entries
        .iter()
        .filter(|(key, _)| !is_typed(key))
        .map(|(key, entry)| (key.clone(), entry.inherited))
        .collect();
    let mut free = IndexMap::new();
    for (key, inherited) in unknown {
        if let Some((_, advice)) = MISPLACED.iter().find(|(name, _)| *name == key) {
            keys.key_problem(Severity::Refused, &key, None, format!("not a known key; {advice}"));
        } else if key == "env" {
            let message = "has no effect; write a section [env:NAME]";
            keys.key_problem(Severity::Warning, &key, None, message);
        } else {
            if key == CHECK_FLAPPING {
                keys.value(Severity::Error, &key, global, true, values::boolean);
            } else if !inherited && let Some(known) = near_miss::nearest(&key, KNOWN) {
                let message = format!("not a known key; did you mean `{known}`?");
                keys.key_problem(Severity::Warning, &key, None, message);
            }
            free.insert(key.clone(), keys.raw(&key, names).unwrap_or_default());
        }
    }
    free
}

/// What is wrong only in combination.
fn check_together(keys: &mut SectionReader<'_>, config: &WatcherConfig) {
    let mut refuse = |key: &str, message: &str| {
        let value = keys.entries.get(key).map(|entry| entry.value.clone());
        keys.key_problem(Severity::Refused, key, value, message);
    };
    if config.singleton && config.numprocesses > 1 {
        refuse("numprocesses", "a singleton watcher cannot have more than one process");
    }
    if config.copy_path && !config.copy_env && config.written.contains("copy_path") {
        refuse("copy_path", "needs `copy_env = true`");
    }
    if config.virtualenv.is_some() && !config.copy_env {
        refuse("virtualenv", "needs `copy_env = true`");
    }
}
