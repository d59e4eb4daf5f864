//! From a path to the typed configuration.
//!
//! Reads files and nothing else: the environment is handed in, users, hooks and stream classes are
//! looked up by those who need them.

use super::env::{self, EnvNames, EnvTable, Variables};
use super::expand::references;
use super::ini::{Ini, Place, Sections};
use super::model::{Config, SocketConfig, WatcherConfig};
use super::near_miss;
use super::problem::{ConfigErrors, Problem, Report, Severity, Warning};
use super::{circus, include, pattern, plugin, socket, watcher};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

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
    let config = read_sections(Some(path.to_path_buf()), &ini, &process, &mut report);
    finish(config, report)
}

/// Reads sections that are in no file, by the same rules; `environment` is that of circusd.
///
/// # Errors
/// As [`load`]. No problem has a file or a line.
pub fn of_sections(
    sections: Sections,
    environment: &[(String, String)],
) -> Result<Loaded, ConfigErrors> {
    let process: Variables = environment.iter().cloned().collect();
    let mut report = Report::default();
    let config = read_sections(None, &Ini::of_sections(sections), &process, &mut report);
    finish(config, report)
}

fn finish(config: Config, report: Report) -> Result<Loaded, ConfigErrors> {
    if report.errors.is_empty() {
        Ok(Loaded { config, warnings: report.warnings, refused: report.refused })
    } else {
        Err(ConfigErrors { problems: report.errors })
    }
}

fn read_sections(
    path: Option<PathBuf>,
    ini: &Ini,
    process: &Variables,
    report: &mut Report,
) -> Config {
    let env = EnvTable::new(ini, process);
    let names = env.global_names();
    let circus = circus::read(ini, &names, report);
    let use_papa = circus.use_papa;
    let mut watchers = Vec::new();
    let mut sockets = Vec::new();
    let mut plugins = Vec::new();
    let mut taken = Taken::default();
    for section in ini.names() {
        if section.starts_with(watcher::PREFIX) {
            if let Some(config) = watcher::read(ini, section, &env, &names, use_papa, report) {
                taken.claim("watcher", &config.name, section, ini, report);
                watchers.push((section, config));
            }
        } else if section.starts_with(socket::PREFIX) {
            if let Some(name) = socket::name(section) {
                taken.claim("socket", &name, section, ini, report);
            }
            sockets.extend(socket::read(ini, section, &names, use_papa, report));
        } else if section.starts_with(plugin::PREFIX) {
            taken.claim("watcher", section, section, ini, report);
            plugins.extend(plugin::read(ini, section, &env, &names, report));
        } else {
            warn_of_unknown_section(ini, section, report);
        }
    }
    warn_of_idle_environments(ini, report);
    watchers.retain(|(section, config)| fits_its_sockets(ini, section, config, &sockets, report));
    let mut watchers: Vec<_> = watchers.into_iter().map(|(_, config)| config).collect();
    watchers.sort_by(|a, b| a.name.cmp(&b.name));
    sockets.sort_by(|a, b| a.name.cmp(&b.name));
    plugins.sort_by(|a, b| a.name.cmp(&b.name));
    Config { path, circus, watchers, sockets, plugins }
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
        line: place.and_then(Place::number),
        section: Some(section.to_owned()),
        key: None,
        value: None,
        message,
    }
}

/// Whether the watcher can use the sockets that it names; if not, why is reported.
fn fits_its_sockets(
    ini: &Ini,
    section: &str,
    config: &WatcherConfig,
    sockets: &[SocketConfig],
    report: &mut Report,
) -> bool {
    let find = |name: &str| sockets.iter().find(|socket| socket.name == name);
    if config.stdin_socket.as_deref().is_some_and(|wanted| find(wanted).is_none()) {
        let message = "there is no usable socket of that name".to_owned();
        refuse_key(ini, section, "stdin_socket", message, report);
        return false;
    }
    for (key, text) in [("cmd", &config.cmd), ("args", &config.args)] {
        let mut other_side = None;
        references(text, |name| {
            let socket = name.strip_prefix("sockets.").and_then(find);
            other_side = other_side.or(socket.filter(|s| s.use_papa != config.use_papa));
            None
        });
        if let Some(socket) = other_side {
            let (own, others) = (config.use_papa, socket.use_papa);
            let message = format!(
                "names [socket:{}], which has use_papa = {others} while the watcher has use_papa = {own}; \
                 give both the same",
                socket.name
            );
            refuse_key(ini, section, key, message, report);
            return false;
        }
    }
    true
}

fn refuse_key(ini: &Ini, section: &str, key: &str, message: String, report: &mut Report) {
    let mut problem = at_header(ini, section, message);
    problem.key = Some(key.to_owned());
    if let Some(entry) = ini.entries(section).and_then(|entries| entries.get(key).cloned()) {
        problem.value = Some(entry.value);
        problem.line = entry.place.number();
        problem.file = entry.place.file.to_path_buf();
    }
    report.add(Severity::Refused, problem);
}

/// An `[env:...]` that fits no watcher was probably meant for one of another name.
fn warn_of_idle_environments(ini: &Ini, report: &mut Report) {
    let name = |section: &str| match section.strip_prefix(watcher::PREFIX) {
        Some(name) => {
            let named = ini.entries(section).and_then(|mut entries| entries.shift_remove("name"));
            Some(named.map_or_else(|| name.to_owned(), |entry| entry.value))
        }
        None => section.starts_with(plugin::PREFIX).then(|| section.to_owned()),
    };
    let mut watchers: Vec<String> = ini.names().filter_map(name).collect();
    watchers.push("circusd-stats".to_owned());
    for section in ini.names() {
        let Some(patterns) = env::patterns(section) else { continue };
        let fits = |name: &String| patterns.iter().any(|p| pattern::matches(p, name));
        if !watchers.iter().any(fits) {
            let message = "has no effect; no watcher has a name that it fits".to_owned();
            report.add(Severity::Warning, at_header(ini, section, message));
        }
    }
}

/// Other sections are ignored; one that looks like a slip is mentioned.
fn warn_of_unknown_section(ini: &Ini, section: &str, report: &mut Report) {
    const KINDS: &[&str] = &["watcher", "socket", "plugin", "env", "circus"];
    if section == "circus" || section == "env" || section.starts_with("env:") {
        return;
    }
    let kind = section.split(|c: char| c == ':' || c.is_whitespace()).next().unwrap_or(section);
    if let Some(meant) = near_miss::nearest(kind, KINDS) {
        let header = if meant == "circus" { meant.to_owned() } else { format!("{meant}:NAME") };
        let message = format!("the section is ignored; did you mean [{header}]?");
        report.add(Severity::Warning, at_header(ini, section, message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::spawn::{SpawnContext, plan};
    use proptest::prelude::*;
    use std::fs;
    use tempfile::TempDir;

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().expect("temp dir");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("file");
        }
        folder
    }

    fn load_text(text: &str) -> Result<Loaded, ConfigErrors> {
        let folder = folder(&[("circus.ini", text)]);
        load(&folder.path().join("circus.ini"), &[("HOME".to_owned(), "/home/me".to_owned())])
    }

    /// The messages with the folder cut off.
    fn lines<T: ToString>(items: &[T]) -> Vec<String> {
        let cut = |line: String| line[line.find("circus.ini").unwrap_or(0)..].to_owned();
        items.iter().map(|item| cut(item.to_string())).collect()
    }

    fn errors(text: &str) -> Vec<String> {
        lines(&load_text(text).expect_err("errors").problems)
    }

    #[test]
    fn all_wrong_values_are_reported_at_once_with_their_places() {
        let text = "[circus]\ncheck_delay = 5s\n[watcher:web]\ncmd = x\nshell = y\n\
                    stop_signal = FOO\nrlimit_files = 3\n[watcher:api]\nnumprocesses = 2\n";
        let found = errors(text);
        let starts = [
            "circus.ini:2: [circus] check_delay = 5s: not a number",
            "circus.ini:5: [watcher:web] shell = y: not a boolean; use",
            "circus.ini:6: [watcher:web] stop_signal = FOO: not a signal; use a name such as TERM",
            "circus.ini:7: [watcher:web] rlimit_files: not a resource limit; use one of",
            "circus.ini:8: [watcher:api] `cmd` is missing",
        ];
        assert_eq!(found.len(), starts.len(), "{found:?}");
        for (line, start) in found.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}");
        }
    }

    #[test]
    fn a_file_that_is_no_text_is_one_clear_sentence() {
        let folder = folder(&[]);
        let path = folder.path().join("circus.ini");
        let sentence = |path: &Path| lines(&load(path, &[]).expect_err("error").problems);
        assert_eq!(sentence(&path), ["circus.ini: the configuration file does not exist"]);
        fs::write(&path, b"[circus]\n\nendpoint = caf\xe9\n").expect("file");
        assert_eq!(sentence(&path), ["circus.ini:3: is not UTF-8 text"]);
        let text = load(folder.path(), &[]).expect_err("error").to_string();
        assert!(text.ends_with(": is a directory, not a configuration file"), "{text}");
    }

    #[test]
    fn names_that_differ_only_in_case_are_an_error() {
        let found = errors("[watcher:a]\ncmd = x\n[watcher:b]\ncmd = x\nname = A\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("circus.ini:3: [watcher:b] has the same name as [watcher:a]"));
        assert_eq!(errors("[socket:a]\nport = 1\n[socket:A]\nport = 2\n").len(), 1);
    }

    #[test]
    fn what_cannot_be_built_is_left_out_and_the_rest_is_kept() {
        let text = "[watcher:good]\ncmd = x\n\
                    [watcher:one]\ncmd = x\nsingleton = 1\nnumprocesses = 2\n\
                    [watcher:two]\ncmd = x\nstdout_stream.class = NoSuchStream\n\
                    [watcher:three]\ncmd = x\nstdin_socket = s\n\
                    [socket:s]\nport = http\n[socket:u]\nfamily = AF_UNIX\n\
                    [plugin:p]\nuse = a.B\nnumprocesses = 2\n";
        let loaded = load_text(text).expect("usable");
        let names: Vec<_> = loaded.config.watchers.iter().map(|w| w.name.as_str()).collect();
        assert_eq!(names, ["good"]);
        assert_eq!((loaded.config.sockets.len(), loaded.config.plugins.len()), (0, 0));
        let refused = lines(&loaded.refused);
        assert_eq!(refused.len(), 6, "{refused:?}");
        assert!(refused.iter().any(|line| line.starts_with(
            "circus.ini:12: [watcher:three] stdin_socket = s: there is no usable socket"
        )));
    }

    #[test]
    fn use_papa_in_the_circus_section_is_the_default_of_watchers_and_sockets() {
        let text = "[circus]\nuse_papa = true\n[watcher:a]\ncmd = x\n\
                    [watcher:b]\ncmd = x\nuse_papa = false\n[socket:s]\nport = 1\n\
                    [socket:t]\nport = 2\nuse_papa = no\n[plugin:p]\nuse = a.B\n";
        let config = load_text(text).expect("usable").config;
        let watchers: Vec<_> = config.watchers.iter().map(|watcher| watcher.use_papa).collect();
        let sockets: Vec<_> = config.sockets.iter().map(|socket| socket.use_papa).collect();
        assert_eq!((watchers, sockets), (vec![true, false], vec![true, false]));
        let plugin = plugin::watcher(&config.plugins[0], "run p", false).expect("checked");
        assert!(!plugin.use_papa, "plugins are children of circusd");
    }

    #[test]
    fn a_watcher_and_its_socket_must_live_on_the_same_side() {
        let text = "[circus]\nuse_papa = true\n[socket:s]\nport = 1\n\
                    [watcher:good]\ncmd = x $(circus.sockets.S)\n\
                    [watcher:bad]\ncmd = x\nargs = --fd $(circus.sockets.s)\nuse_papa = false\n";
        let loaded = load_text(text).expect("usable");
        let names: Vec<_> = loaded.config.watchers.iter().map(|w| w.name.as_str()).collect();
        assert_eq!(names, ["good"]);
        let [line] = &lines(&loaded.refused)[..] else { panic!("one problem") };
        let expected = "circus.ini:9: [watcher:bad] args = --fd $(circus.sockets.s): names [socket:s], \
                        which has use_papa = true while the watcher has use_papa = false";
        assert!(line.starts_with(expected), "{line}");
    }

    #[test]
    fn slips_in_names_are_warned_about() {
        let text = "[circus]\nendpiont = x\n[wacher:b]\ncmd = x\n[watcher:w]\ncmd = x\n\
                    numproceses = 2\nhooks.befor_start = a.b\n[watcher:empty]\n";
        let loaded = load_text(text).expect("usable");
        assert_eq!(
            lines(&loaded.warnings),
            [
                "circus.ini:2: [circus] endpiont: not a known key; did you mean `endpoint`?",
                "circus.ini:3: [wacher:b] the section is ignored; did you mean [watcher:NAME]?",
                "circus.ini:8: [watcher:w] hooks.befor_start: not a hook; \
                 did you mean `hooks.before_start`?",
                "circus.ini:7: [watcher:w] numproceses: not a known key; \
                 did you mean `numprocesses`?",
                "circus.ini:9: [watcher:empty] the section is empty and has no effect",
            ]
        );
    }

    #[test]
    fn an_environment_for_nobody_and_a_section_without_its_colon_are_warned_about() {
        let text = "[watcher:w]\ncmd = x\n[watcher:old]\nname = new\ncmd = x\n[plugin:p]\nuse = a.B\n\
                    [env:w*,other]\nA = 1\n[env:new]\nA = 1\n[env:plugin:p]\nA = 1\n\
                    [env:old]\nA = 1\n[watcher web]\ncmd = x\n";
        let loaded = load_text(text).expect("usable");
        assert_eq!(
            lines(&loaded.warnings),
            [
                "circus.ini:16: [watcher web] the section is ignored; did you mean [watcher:NAME]?",
                "circus.ini:14: [env:old] has no effect; no watcher has a name that it fits",
            ]
        );
    }

    #[test]
    fn what_flapping_cannot_read_in_a_watcher_is_warned_about() {
        let text = "[watcher:w]\ncmd = x\nflapping.window = soon\nflapping.atempts = 3\n\
                    flapping.max_retry = -1\n";
        let loaded = load_text(text).expect("usable");
        assert_eq!(
            lines(&loaded.warnings),
            [
                "circus.ini:3: [watcher:w] flapping.window = soon: not a time; write seconds from 0 on, \
                 such as 7 or 0.5; it is ignored",
                "circus.ini:4: [watcher:w] flapping.atempts: not an option of the plugin Flapping, which has \
                 attempts, window, retry_in, max_retry, active",
            ]
        );
    }

    #[test]
    fn files_of_one_pattern_are_read_in_the_order_of_their_names() {
        let watcher = |cmd: &str| format!("[watcher:w]\ncmd = {cmd}\n");
        let (first, second) = (watcher("first"), watcher("second"));
        let folder = folder(&[
            ("circus.ini", "[circus]\ninclude = *.part\n"),
            ("2.part", &second),
            ("1.part", &first),
        ]);
        let loaded = load(&folder.path().join("circus.ini"), &[]).expect("usable");
        assert_eq!(loaded.config.watchers[0].cmd, "first");
    }

    #[test]
    fn a_plugin_section_configures_its_watcher_too() {
        let text = "[plugin:p]\nuse = a.B\nsingleton = false\nmax_retry = 2\nactive = no\n";
        let loaded = load_text(text).expect("usable");
        let watcher = plugin::watcher(&loaded.config.plugins[0], "run p", false).expect("checked");
        assert_eq!((watcher.name.as_str(), watcher.cmd.as_str()), ("plugin:p", "run p"));
        assert!(!watcher.singleton && watcher.copy_env && watcher.close_child_stdout);
        assert!(!watcher.autostart);
        assert_eq!((watcher.max_retry, watcher.priority), (2, 1));
    }

    const PIECES: &[&str] = &[
        "[circus]\n",
        "[watcher:w]\n",
        "[env:w*]\n",
        "[socket:s]\n",
        "[plugin:p]\n",
        "[DEFAULT]\n",
        "cmd = ",
        "include = *.ini\n",
        "stdout_stream",
        "hooks.",
        "rlimit_",
        "port = ",
        "$(circus.env.HOME)",
        "((circus.",
        ";",
        "'\"",
        "\n",
        "\r",
        "  ",
        "=",
    ];

    fn nearly_ini() -> impl Strategy<Value = Vec<u8>> {
        let known = proptest::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec());
        let rubbish = proptest::collection::vec(any::<u8>(), 0..4);
        proptest::collection::vec(prop_oneof![8 => known, 1 => rubbish], 0..40)
            .prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_load_or_fail_with_the_name_of_a_file(bytes in nearly_ini()) {
            let folder = folder(&[]);
            let path = folder.path().join("circus.ini");
            fs::write(&path, &bytes).expect("file");
            match load(&path, &[("HOME".to_owned(), "/home/me".to_owned())]) {
                Ok(loaded) => {
                    let sockets = std::collections::BTreeMap::new();
                    let context =
                        SpawnContext { environment: &[], sockets: &sockets, cwd: folder.path() };
                    for watcher in &loaded.config.watchers {
                        if let Ok(plan) = plan(watcher, 1, &context) {
                            prop_assert!(!plan.argv.is_empty());
                        }
                    }
                    for problem in loaded.refused.iter().chain(loaded.warnings.iter().map(|w| &w.0)) {
                        prop_assert_eq!(&problem.file, &path);
                    }
                }
                Err(errors) => {
                    prop_assert!(!errors.problems.is_empty());
                    for problem in &errors.problems {
                        prop_assert_eq!(&problem.file, &path);
                        prop_assert_eq!(problem.to_string().lines().count(), 1);
                    }
                }
            }
        }
    }
}
