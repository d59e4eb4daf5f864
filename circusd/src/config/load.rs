//! From a path to the typed configuration.
//!
//! Reads files and nothing else: the environment is handed in, users, hooks and stream classes are
//! looked up by those who need them.

use super::env::{EnvNames, EnvTable, Variables};
use super::ini::Ini;
use super::model::{Config, WatcherConfig};
use super::near_miss;
use super::problem::{ConfigErrors, Problem, Report, Severity, Warning};
use super::{circus, include, plugin, socket, watcher};
use std::collections::HashMap;
use std::path::Path;

/// What a configuration file gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// All that can be used.
    pub config: Config,
    /// What is odd; for the log.
    pub warnings: Vec<Warning>,
    /// Why watchers, sockets and plugins were left out of `config`; the others start all the same.
    pub refused: Vec<Problem>,
}

/// Reads the file at `path` and its includes; `environment` is that of circusd.
///
/// # Errors
/// All the problems that keep the configuration from being used at all. What concerns one watcher,
/// socket or plugin that circus would leave out is in [`Loaded::refused`] instead.
pub fn load(path: &Path, environment: &[(String, String)]) -> Result<Loaded, ConfigErrors> {
    let process: Variables = environment.iter().cloned().collect();
    let mut report = Report::default();
    let ini = include::read(path, &EnvNames::new(&process), &mut report);
    if !report.errors.is_empty() {
        return Err(ConfigErrors { problems: report.errors });
    }
    let config = read_sections(path, &ini, &process, &mut report);
    if report.errors.is_empty() {
        Ok(Loaded { config, warnings: report.warnings, refused: report.refused })
    } else {
        Err(ConfigErrors { problems: report.errors })
    }
}

fn read_sections(path: &Path, ini: &Ini, process: &Variables, report: &mut Report) -> Config {
    let env = EnvTable::new(ini, process);
    let names = env.global_names();
    let circus = circus::read(ini, &names, report);
    let mut watchers = Vec::new();
    let mut sockets = Vec::new();
    let mut plugins = Vec::new();
    let mut taken = Taken::default();
    for section in ini.names() {
        if section.starts_with(watcher::PREFIX) {
            if let Some(config) = watcher::read(ini, section, &env, &names, report) {
                taken.claim("watcher", &config.name, section, ini, report);
                watchers.push((section, config));
            }
        } else if section.starts_with(socket::PREFIX) {
            if let Some(name) = socket::name(section) {
                taken.claim("socket", &name, section, ini, report);
            }
            sockets.extend(socket::read(ini, section, &names, report));
        } else if section.starts_with(plugin::PREFIX) {
            taken.claim("watcher", section, section, ini, report);
            plugins.extend(plugin::read(ini, section, &names, report));
        } else {
            warn_of_unknown_section(ini, section, report);
        }
    }
    watchers.retain(|(section, config)| {
        let known = config
            .stdin_socket
            .as_ref()
            .is_none_or(|wanted| sockets.iter().any(|socket| socket.name == *wanted));
        if !known {
            refuse_unknown_stdin_socket(ini, section, config, report);
        }
        known
    });
    let mut watchers: Vec<_> = watchers.into_iter().map(|(_, config)| config).collect();
    watchers.sort_by(|a, b| a.name.cmp(&b.name));
    sockets.sort_by(|a, b| a.name.cmp(&b.name));
    plugins.sort_by(|a, b| a.name.cmp(&b.name));
    Config { path: path.to_path_buf(), circus, watchers, sockets, plugins }
}

/// The names in use, in lower case, with the sections they come from.
///
/// Commands find watchers and sockets without regard to case, so two that differ only in that cannot
/// both be reached. Plugins are watchers.
#[derive(Default)]
struct Taken(HashMap<(&'static str, String), String>);

impl Taken {
    fn claim(
        &mut self,
        kind: &'static str,
        name: &str,
        section: &str,
        ini: &Ini,
        report: &mut Report,
    ) {
        let slot = (kind, name.to_lowercase());
        if let Some(first) = self.0.get(&slot) {
            let message =
                format!("has the same name as [{first}]; names that differ only in case clash");
            report.add(Severity::Error, at_header(ini, section, message));
        } else {
            self.0.insert(slot, section.to_owned());
        }
    }
}

fn at_header(ini: &Ini, section: &str, message: String) -> Problem {
    let place = ini.header(section);
    Problem {
        file: place.map(|place| place.file.to_path_buf()).unwrap_or_default(),
        line: place.map(|place| place.line),
        section: Some(section.to_owned()),
        key: None,
        value: None,
        message,
    }
}

fn refuse_unknown_stdin_socket(
    ini: &Ini,
    section: &str,
    config: &WatcherConfig,
    report: &mut Report,
) {
    let message = "there is no usable socket of that name".to_owned();
    let mut problem = at_header(ini, section, message);
    problem.key = Some("stdin_socket".to_owned());
    problem.value.clone_from(&config.stdin_socket);
    if let Some(entry) = ini.entries(section).and_then(|e| e.get("stdin_socket").cloned()) {
        problem.line = Some(entry.place.line);
        problem.file = entry.place.file.to_path_buf();
    }
    report.add(Severity::Refused, problem);
}

/// Other sections are ignored; one that looks like a slip is mentioned.
fn warn_of_unknown_section(ini: &Ini, section: &str, report: &mut Report) {
    const KINDS: &[&str] = &["watcher", "socket", "plugin", "env", "circus"];
    if section == "circus" || section == "env" || section.starts_with("env:") {
        return;
    }
    let kind = section.split(':').next().unwrap_or(section).trim();
    if let Some(meant) = near_miss::nearest(kind, KINDS) {
        let header = if meant == "circus" { meant.to_owned() } else { format!("{meant}:NAME") };
        let message = format!("the section is ignored; did you mean [{header}]?");
        report.add(Severity::Warning, at_header(ini, section, message));
    }
}
