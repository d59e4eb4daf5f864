//! Reads `[plugin:NAME]` and makes the watcher that runs it.
//!
//! A plugin section holds the options of the plugin and those of its watcher side by side.

use super::env::{EnvNames, EnvTable};
use super::ini::Ini;
use super::model::{PluginConfig, WatcherConfig};
use super::problem::{Problem, Report, Severity};
use super::reader::SectionReader;
use super::{near_miss, values, watcher};
use circusctl::plugin::options::Options;
use circusctl::plugin::registry::Builtin;
use indexmap::IndexMap;
use std::path::Path;

/// What the name of such a section starts with.
pub(crate) const PREFIX: &str = "plugin:";

/// The priority of a plugin's watcher when none is given.
const PRIORITY: i64 = 1;

/// Reads the section; none if it is empty or refused.
pub(crate) fn read(
    ini: &Ini,
    section: &str,
    env: &EnvTable,
    names: &EnvNames,
    report: &mut Report,
) -> Option<PluginConfig> {
    section.strip_prefix(PREFIX)?;
    let mut keys = SectionReader::open(ini, section, report)?;
    keys.entries.shift_remove("name");
    let priority = keys.value(Severity::Error, "priority", names, PRIORITY, values::integer);
    let use_class = keys.text("use", names).unwrap_or_default();
    if use_class.is_empty() {
        let message = "is missing; say which class the plugin is, `use = package.module.Class`";
        keys.key_problem(Severity::Error, "use", None, message);
    }
    let options = keys.entries.keys().cloned().collect::<Vec<_>>();
    let options: IndexMap<String, String> = options
        .into_iter()
        .map(|key| {
            let value = keys.raw(&key, names).unwrap_or_default();
            (key, value)
        })
        .collect();
    if let Some(builtin) = Builtin::find(&use_class) {
        check(&mut keys, builtin, &options);
    }
    let base = base(section, false);
    // Read now so that what is wrong is said at load; `watcher` reads the same keys again later. The
    // plugin may give a key such as `shell` a meaning of its own.
    keys.be_lenient();
    let copy_env = watcher::read_keys(&mut keys, base, names, names).copy_env;
    let env = env.of_watcher(section, copy_env);
    let config = PluginConfig { name: section.to_owned(), use_class, priority, options, env };
    (!keys.is_refused()).then_some(config)
}

/// Lets a built-in plugin read its options, so that what is wrong is said now.
fn check(keys: &mut SectionReader<'_>, builtin: &Builtin, options: &IndexMap<String, String>) {
    let values = options.iter().map(|(key, value)| (key.clone(), value.clone()));
    if let Err(error) = builtin.build(&Options::new(keys.section, values)) {
        keys.key_problem(Severity::Refused, &error.key, error.value, error.reason);
    }
    let known: Vec<&str> = builtin.option_names().collect();
    for key in options.keys().filter(|key| !known.contains(&key.as_str())) {
        if let Some(meant) = near_miss::nearest(key, &known) {
            let message = format!("not an option of this plugin; did you mean `{meant}`?");
            keys.key_problem(Severity::Warning, key, None, message);
        }
    }
}

/// The watcher that runs the plugin with this command line.
///
/// With `debug` its output is not thrown away. A plugin with `active = false` is not started.
///
/// # Errors
/// The problems of the options, if they do not come from `load`, which has checked them.
pub fn watcher(
    plugin: &PluginConfig,
    cmd: impl Into<String>,
    debug: bool,
) -> Result<WatcherConfig, Vec<Problem>> {
    let mut report = Report::default();
    let mut keys =
        SectionReader::of_options(&plugin.name, Path::new(""), &plugin.options, &mut report);
    keys.be_lenient();
    // They are the plugin's own, or say what is run, which is decided here.
    for key in ["use", "cmd", "args", "executable", "shell", "shell_args"] {
        keys.entries.shift_remove(key);
    }
    let none = EnvNames::default();
    let mut config = watcher::read_keys(&mut keys, base(&plugin.name, debug), &none, &none);
    config.cmd = cmd.into();
    config.env.clone_from(&plugin.env);
    if let Some(active) = plugin.options.get("active") {
        config.autostart &= values::boolean(active).unwrap_or(true);
    }
    let problems: Vec<Problem> = report.errors.into_iter().chain(report.refused).collect();
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

fn base(name: &str, debug: bool) -> WatcherConfig {
    let mut base = WatcherConfig::new(name, "");
    base.singleton = true;
    base.copy_env = true;
    base.copy_path = true;
    base.priority = PRIORITY;
    base.close_child_stdout = !debug;
    base.close_child_stderr = !debug;
    if debug {
        for stream in [&mut base.stdout_stream, &mut base.stderr_stream] {
            stream.insert("class".to_owned(), "StdoutStream".to_owned());
        }
    }
    base
}
