//! The watchers that run the plugins of the file: each `[plugin:NAME]` becomes one of the same name.
//!
//! They are ordinary watchers for every command, and for `reloadconfig`. Decides which program runs a plugin and
//! with which words; starts nothing.

use crate::config::model::{CircusConfig, Config, PluginConfig, WatcherConfig};
use crate::config::{self, quote};
use crate::python::{interpreter, package};
use crate::role::Role;
use circusctl::plugin::config_text;
use circusctl::plugin::invocation::Invocation;
use circusctl::plugin::registry::{Builtin, is_program};
use protocol::signal::Signal;
use tracing::warn;

/// What is run when there is no Python to be found; the start of the watcher then says so.
const USUAL_PYTHON: &str = "python3";

/// Where plugins are started.
pub struct Place<'a> {
    /// `[circus]` as it is in force.
    pub circus: &'a CircusConfig,
    /// circusd's own environment.
    pub environment: &'a [(String, String)],
    /// The directory of the configuration.
    pub folder: &'a str,
}

/// Adds the watchers of all plugins to a configuration.
pub async fn add_watchers(config: &mut Config, place: &Place<'_>) {
    let in_python = |plugin: &PluginConfig| {
        Builtin::find(&plugin.use_class).is_none() && !is_program(&plugin.use_class)
    };
    let package = match config.plugins.iter().any(in_python) {
        true => package_directory().await,
        false => None,
    };
    for plugin in &config.plugins {
        match watcher(plugin, place, package.as_deref()) {
            Ok(watcher) => config.watchers.push(watcher),
            // The file was checked, so this is about a file that was not loaded as one.
            Err(reason) => warn!("Failed to create watcher {}: {reason}", plugin.name),
        }
    }
    config.watchers.sort_by(|a, b| a.name.cmp(&b.name));
}

/// Where the package `circus` is for a Python that has none; none, and a warning, if it cannot be had.
pub(super) async fn package_directory() -> Option<String> {
    package::directory("plugins in Python need a circus that is installed").await
}

fn watcher(
    plugin: &PluginConfig,
    place: &Place<'_>,
    package: Option<&str>,
) -> Result<WatcherConfig, String> {
    let mut watcher =
        config::plugin_watcher(plugin, "", place.circus.debug).map_err(|problems| {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        })?;
    let written = |key: &str| plugin.options.contains_key(key);
    // Output that has somewhere to go is not thrown away.
    if !written("close_child_stdout") && !watcher.stdout_stream.is_empty() {
        watcher.close_child_stdout = false;
    }
    if !written("close_child_stderr") && !watcher.stderr_stream.is_empty() {
        watcher.close_child_stderr = false;
    }
    let invocation = invocation(plugin, place.circus);
    let is_program = is_program(&plugin.use_class);
    let is_builtin = Builtin::find(&plugin.use_class).is_some();
    // What these have to say is little, and belongs where circusd's own log goes.
    if (is_program || is_builtin)
        && !written("close_child_stderr")
        && watcher.stderr_stream.is_empty()
    {
        watcher.close_child_stderr = false;
    }
    let words = if is_program {
        [plugin.use_class.clone()].into_iter().chain(invocation.words()).collect()
    } else if is_builtin {
        let (program, role) = Role::CircusPlugin.command().map_err(|error| error.to_string())?;
        let role = role.iter().map(|word| word.to_string_lossy().into_owned());
        let program = program.to_string_lossy().into_owned();
        [program].into_iter().chain(role).chain(invocation.words()).collect::<Vec<_>>()
    } else {
        // The original's main ends in order, with `handle_stop`, on this signal only.
        if !written("stop_signal") {
            watcher.stop_signal = Signal::INT;
        }
        let path = module_path(&watcher, place, package);
        watcher.env.insert("PYTHONPATH".to_owned(), path.join(":"));
        let python = python(plugin, &watcher, place);
        [python].into_iter().chain(invocation.python_words()).collect()
    };
    watcher.cmd = words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
    Ok(watcher)
}

/// The words that every plugin is started with, as in the original.
fn invocation(plugin: &PluginConfig, circus: &CircusConfig) -> Invocation {
    let own = [("name", plugin.name.as_str())];
    let options = plugin.options.iter().filter(|(key, _)| *key != "use");
    let options = options.map(|(key, value)| (key.as_str(), value.as_str()));
    Invocation {
        endpoint: circus.endpoint.clone(),
        pubsub: circus.pubsub_endpoint.clone(),
        config: Some(config_text::encode(options.chain(own))),
        log_level: match circus.debug {
            true => Some("DEBUG".to_owned()),
            false => circus.loglevel.clone(),
        },
        log_output: circus.logoutput.clone(),
        class: plugin.use_class.clone(),
        ..Invocation::default()
    }
}

/// The Python that the section names, else that of its virtualenv, else that of circusd.
fn python(plugin: &PluginConfig, watcher: &WatcherConfig, place: &Place<'_>) -> String {
    let own = plugin.options.get("python").filter(|program| !program.trim().is_empty());
    let chosen = || interpreter::choose(watcher, place.circus.python.as_deref(), place.environment);
    match own {
        Some(program) => program.clone(),
        None => chosen().map_or_else(|_| USUAL_PYTHON.to_owned(), |python| python.program),
    }
}

/// Where a plugin's Python looks for modules, first place first: what its environment says, the directory of the
/// configuration, the one that circusd runs in, what `[circus]` says, and our package `circus`. That one is before what
/// is installed, and makes room for it.
fn module_path(watcher: &WatcherConfig, place: &Place<'_>, package: Option<&str>) -> Vec<String> {
    let own = watcher.env.get("PYTHONPATH").map(String::as_str).unwrap_or_default();
    let mut path: Vec<String> =
        own.split(':').filter(|folder| !folder.is_empty()).map(str::to_owned).collect();
    let cwd = std::env::current_dir().map(|folder| folder.display().to_string());
    let last = place.circus.python_path.as_deref().unwrap_or_default().split(':');
    let last = last.filter(|folder| !folder.is_empty()).chain(package).map(str::to_owned);
    let near = [Some(place.folder.to_owned()), cwd.ok()].into_iter().flatten();
    for folder in near.chain(last) {
        if !path.contains(&folder) {
            path.push(folder);
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(class: &str, options: &[(&str, &str)]) -> PluginConfig {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        PluginConfig {
            name: "plugin:x".to_owned(),
            use_class: class.to_owned(),
            priority: 1,
            options: options.collect(),
            env: [("PYTHONPATH".to_owned(), "/own".to_owned())].into(),
        }
    }

    fn made(plugin: &PluginConfig, circus: &CircusConfig) -> WatcherConfig {
        Role::stand_in();
        watcher(
            plugin,
            &Place { circus, environment: &[], folder: "/etc/circus" },
            Some("/package"),
        )
        .unwrap()
    }

    #[test]
    fn a_class_is_run_by_python_with_the_words_of_the_original() {
        let mut circus = CircusConfig::default();
        (circus.python, circus.loglevel) = (Some("/py".into()), Some("info".into()));
        circus.python_path = Some("/lib1::/lib2".into());
        let options = [("use", "a.B"), ("b", "2"), ("a", "it's 1"), ("singleton", "True")];
        let watcher = made(&plugin("a.B", &options), &circus);
        let expected = "/py -c 'from circus import plugins;plugins.main()' \
                        --endpoint tcp://127.0.0.1:5555 --pubsub tcp://127.0.0.1:5556 \
                        --config 'a:it'\"'\"'s 1:::b:2:::name:plugin:x:::singleton:True' \
                        --log-level info a.B";
        assert_eq!(watcher.cmd, expected);
        assert_eq!(watcher.stop_signal, Signal::INT);
        assert!(watcher.close_child_stderr && watcher.singleton && watcher.copy_env);
        assert_eq!(watcher.free.keys().collect::<Vec<_>>(), ["b", "a"]);
        let path = &watcher.env["PYTHONPATH"];
        assert!(path.starts_with("/own:/etc/circus:"), "{path}");
        assert!(path.ends_with(":/lib1:/lib2:/package"), "{path}");
        let options = [("python", "/mine"), ("stop_signal", "TERM")];
        let watcher = made(&plugin("a.B", &options), &circus);
        assert!(watcher.cmd.starts_with("/mine -c"), "{}", watcher.cmd);
        assert_eq!(watcher.stop_signal, Signal::TERM);
        let watcher = made(&plugin("a.B", &[("stderr_stream.class", "StdoutStream")]), &circus);
        assert!(!watcher.close_child_stderr && watcher.close_child_stdout);
    }

    #[test]
    fn a_built_in_plugin_needs_no_python_and_shares_our_stderr() {
        let class = "circus.plugins.statsd.StatsdEmitter";
        let mut circus = CircusConfig::default();
        let watcher = made(&plugin(class, &[("host", "h")]), &circus);
        let (program, words) = watcher.cmd.split_once(" --endpoint ").unwrap();
        assert!(!program.contains("python"), "{program}");
        assert!(words.ends_with(&format!("--config host:h:::name:plugin:x {class}")), "{words}");
        assert!(!watcher.close_child_stderr && watcher.close_child_stdout);
        assert_eq!((watcher.stop_signal, watcher.priority), (Signal::TERM, 1));
        circus.debug = true;
        let watcher = made(&plugin(class, &[]), &circus);
        assert!(watcher.cmd.contains(" --log-level DEBUG "), "{}", watcher.cmd);
        assert_eq!(watcher.stdout_stream["class"], "StdoutStream");
    }

    #[test]
    fn a_path_is_a_program_that_gets_the_same_words() {
        let watcher = made(&plugin("/opt/my plugin", &[("a", "1")]), &CircusConfig::default());
        let expected = "'/opt/my plugin' --endpoint tcp://127.0.0.1:5555 --pubsub \
                        tcp://127.0.0.1:5556 --config a:1:::name:plugin:x '/opt/my plugin'";
        assert_eq!(watcher.cmd, expected);
        assert_eq!(watcher.stop_signal, Signal::TERM);
        assert!(!watcher.close_child_stderr);
    }

    #[test]
    fn what_the_plain_form_cannot_carry_comes_with_its_own_reader() {
        let circus = CircusConfig::default();
        let watcher = made(&plugin("a.B", &[("x", "1:::2")]), &circus);
        assert!(watcher.cmd.contains("plugins._str2cfg=json.loads;plugins.main()"));
        assert!(watcher.cmd.contains(r#"--config '{"name":"plugin:x","x":"1:::2"}'"#));
    }
}
