//! Every recorded configuration means what it meant to circus 0.17.2, or the difference has a name.
//!
//! The recordings and their exact environment are described in `tests/golden/config/README.md`, the
//! differences in `docs/differences.md`.

use super::model::WatcherConfig;
use super::{Loaded, SpawnContext, dump, load, plan};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The environment of the recordings.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("PATH", "/usr/bin:/bin"),
    ("HOME", "/home/tester"),
    ("USER", "tester"),
    ("LANG", "C.UTF-8"),
    ("SHELL", "/bin/sh"),
    ("FOO", "foo-environ"),
    ("BAR", "bar-environ"),
    ("ONE", "1"),
    ("SIGNAME", "INT"),
    ("lower", "low-environ"),
    ("MixedCase", "mixed-environ"),
    ("EMPTY", ""),
    ("SPACED", "  padded  "),
    ("DOLLAR", "$FOO"),
    ("INCNAME", "inc_env_part"),
];

/// What the recordings say for circusd's working directory.
const CWD: &str = "<CWD>";

/// Differences that concern all cases and are taken out before comparing.
const EVERYWHERE: &[&str] = &["`__name__` in sections", "Watchers that cannot be built"];

/// Cases that differ: name, what differs (`load` or `spawn`), entry of `docs/differences.md`.
const DIFFERENT: &[(&str, &str, &str)] = &[
    ("a06_inline_leading_semicolon_trailing_blank", "load", "Value that starts with `;`"),
    ("a11_duplicate_key_continuation_leaks", "load", "Continuation of a repeated key"),
    ("a11_duplicate_key_continuation_leaks", "spawn", "Continuation of a repeated key"),
    ("a18_bom", "load", "Byte order mark"),
    ("a25_default_section", "load", "Sockets and plugins that cannot be built"),
    ("a30_empty_key_name", "load", "Key without a name"),
    ("a31_section_header_shapes", "load", "Watcher without a command"),
    ("a44_hooks_plain_before_dotted", "load", "Keys `hooks` and `rlimits`"),
    ("b07_include_dup_key_continuation_crashes", "load", "Continuation of a repeated key"),
    ("c08_not_expanded_options_signal", "load", "References in signals, limits and hooks"),
    ("c10_not_expanded_options_hooks", "load", "References in signals, limits and hooks"),
    ("c10_not_expanded_options_hooks", "spawn", "Checked at the start of a watcher"),
    ("c13_runtime_vars_left_alone", "spawn", "References to options"),
    ("d14_umask_empty", "load", "Empty umask"),
    ("d18_stats_endpoint_statsd_false", "load", "`statsd = false` with `stats_endpoint`"),
    ("d20_empty_strings", "load", "Empty text"),
    ("d22_int_forms", "load", "Digits"),
    ("e02_use_papa_forms", "load", "`use_papa = false`"),
    ("e19_gid_unknown", "spawn", "Checked at the start of a watcher"),
    ("e21_stop_signals", "load", "Signals"),
    ("e22b_stop_signal_sloppy_match", "load", "Signals"),
    ("e23_rlimits", "load", "Resource limits"),
    ("e34_stream_class_resolve_fail", "spawn", "Checked at the start of a watcher"),
    ("e36_stream_missing_dir", "spawn", "Checked at the start of a watcher"),
    ("e37_timed_stream_bad_when", "spawn", "`rotate_when` in any case"),
    ("e49_hook_unresolvable", "spawn", "Checked at the start of a watcher"),
    ("e50_keys_shadowing_ctor", "spawn", "Keys named like Python arguments"),
    ("e52_options_named_like_attrs", "spawn", "References to options"),
    ("f06_socket_bad_numbers_accepted_at_load", "load", "Sockets and plugins that cannot be built"),
    ("f08_plugin_without_use", "load", "Plugin without `use`"),
    ("g05_multiline_values_everywhere", "load", "Signals"),
    ("g08_doc_main_example", "spawn", "Checked at the start of a watcher"),
    ("g09_doc_env_example", "load", "Watcher without a command"),
    ("g10_doc_papa_example", "spawn", "Checked at the start of a watcher"),
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate of a workspace").to_path_buf()
}

fn folder() -> PathBuf {
    repository().join("tests/golden/config")
}

fn recorded(case: &str, kind: &str) -> Option<Value> {
    let text = fs::read_to_string(folder().join(format!("{case}.{kind}.json"))).ok()?;
    Some(serde_json::from_str(&text).expect("a recording is JSON"))
}

fn environment() -> Vec<(String, String)> {
    ENVIRONMENT.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn without_section_names(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(key, _)| key != "__name__")
            .map(|(key, value)| (key, without_section_names(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.into_iter().map(without_section_names).collect(),
        other => other,
    }
}

fn is_refused(loaded: &Loaded, watcher: &str) -> bool {
    let section = format!("watcher:{watcher}");
    loaded.refused.iter().any(|problem| problem.section.as_ref() == Some(&section))
}

/// The recorded result of loading, without the watchers that circus could not build and we refuse.
fn expected_load(case: &str, loaded: &Loaded) -> Value {
    let mut expected = without_section_names(recorded(case, "expected").expect("a recording"));
    let spawn = recorded(case, "spawn").unwrap_or_default();
    if let Some(watchers) = expected.get_mut("watchers").and_then(Value::as_array_mut) {
        watchers.retain(|watcher| {
            let name = watcher["name"].as_str().expect("a name");
            spawn[name].get("error").is_none() || !is_refused(loaded, name)
        });
    }
    expected
}

/// Adds a line for each place where two values differ.
fn compare(place: &str, ours: &Value, expected: &Value, found: &mut Vec<String>) {
    match (ours, expected) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
                let (a, b) = (a.get(key), b.get(key));
                match (a, b) {
                    (Some(a), Some(b)) => compare(&format!("{place}/{key}"), a, b, found),
                    _ => found.push(format!("{place}/{key}: {a:?} instead of {b:?}")),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{place}/{index}"), a, b, found);
            }
        }
        _ if ours == expected => {}
        _ => found.push(format!("{place}: {ours} instead of {expected}")),
    }
}

/// What differs in the result of loading, if anything.
fn load_difference(case: &str, result: &Result<Loaded, String>) -> Option<String> {
    let expects_error = recorded(case, "expected").expect("a recording").get("error").is_some();
    match result {
        Err(_) if expects_error => None,
        Err(problems) => Some(format!("refused: {problems}")),
        Ok(_) if expects_error => Some("loaded, but circus refuses it".to_owned()),
        Ok(loaded) => {
            let mut found = Vec::new();
            compare("", &dump(&loaded.config), &expected_load(case, loaded), &mut found);
            (!found.is_empty()).then(|| found.join("\n"))
        }
    }
}

/// What differs in what worker 1 of each watcher is executed with, if anything.
fn spawn_difference(case: &str, loaded: &Loaded) -> Option<String> {
    let expected = without_section_names(recorded(case, "spawn")?);
    let sockets: BTreeMap<String, String> = loaded
        .config
        .sockets
        .iter()
        .enumerate()
        .map(|(index, socket)| (socket.name.clone(), (100 + index).to_string()))
        .collect();
    let environment = environment();
    let context =
        SpawnContext { environment: &environment, sockets: &sockets, cwd: Path::new(CWD) };
    let mut wrong = Vec::new();
    for (name, expected) in expected.as_object().expect("watchers by name") {
        let watcher = loaded.config.watchers.iter().find(|watcher| watcher.name == *name);
        let ours = match watcher {
            Some(watcher) => planned(watcher, &context),
            None if is_refused(loaded, name) => json!({"error": "refused"}),
            None => json!("missing"),
        };
        let both_fail = ours.get("error").is_some() && expected.get("error").is_some();
        let mut expected = expected.clone();
        if let Some(map) = expected.as_object_mut() {
            map.shift_remove("notes");
        }
        if !both_fail && ours != expected {
            wrong.push(format!("{name}: ours {ours}\nexpected {expected}"));
        }
    }
    (!wrong.is_empty()).then(|| wrong.join("\n"))
}

fn planned(watcher: &WatcherConfig, context: &SpawnContext<'_>) -> Value {
    let plan = match plan(watcher, 1, context) {
        Ok(plan) => plan,
        Err(error) => return json!({"error": error.to_string()}),
    };
    // The recordings give the text for the shell and its arguments, not the shell itself.
    let argv = if watcher.shell { &plan.argv[2..] } else { &plan.argv[..] };
    json!({
        "argv": argv,
        "env": plan.env.into_iter().collect::<BTreeMap<_, _>>(),
        "working_dir": plan.working_dir,
        "uid": plan.uid,
        "gid": plan.gid,
        "shell": watcher.shell,
    })
}

fn cases() -> BTreeSet<String> {
    fs::read_dir(folder())
        .expect("the recordings")
        .filter_map(|entry| {
            let name = entry.expect("an entry").file_name().into_string().expect("utf-8");
            Some(name.strip_suffix(".ini")?.to_owned())
        })
        .collect()
}

fn load_case(case: &str) -> Result<Loaded, String> {
    let path = folder().join(format!("{case}.ini"));
    load(&path, &environment()).map_err(|errors| errors.to_string())
}

#[test]
fn every_recorded_configuration_means_the_same_or_differs_by_name() {
    let mut found = BTreeMap::new();
    let (mut equal, mut parts) = (0, 0);
    for case in cases() {
        let result = load_case(&case);
        let spawn = result.as_ref().ok().and_then(|loaded| spawn_difference(&case, loaded));
        for (part, difference) in [("load", load_difference(&case, &result)), ("spawn", spawn)] {
            if part == "spawn" && (result.is_err() || recorded(&case, "spawn").is_none()) {
                continue;
            }
            parts += 1;
            match difference {
                Some(text) => drop(found.insert((case.clone(), part.to_owned()), text)),
                None => equal += 1,
            }
        }
    }
    println!("{equal} of {parts} comparisons are equal");
    assert!(parts >= 200, "the recordings are there");
    let listed: BTreeSet<(String, String)> =
        DIFFERENT.iter().map(|(case, part, _)| ((*case).to_owned(), (*part).to_owned())).collect();
    let unlisted: Vec<String> = found
        .iter()
        .filter(|(key, _)| !listed.contains(*key))
        .map(|((case, part), text)| format!("{case} {part}: {text}"))
        .collect();
    assert!(unlisted.is_empty(), "differences without a name:\n{}", unlisted.join("\n"));
    let settled: Vec<_> = listed.iter().filter(|key| !found.contains_key(*key)).collect();
    assert!(settled.is_empty(), "listed as different, but equal: {settled:?}");
}

#[test]
fn every_difference_is_documented() {
    let text = fs::read_to_string(repository().join("docs/differences.md")).expect("the document");
    let named = DIFFERENT.iter().map(|(_, _, entry)| entry).chain(EVERYWHERE);
    for entry in named {
        assert!(text.contains(&format!("\n| {entry} |")), "docs/differences.md lacks `{entry}`");
    }
}

#[test]
fn what_circus_warns_about_at_load_is_warned_about() {
    for case in cases() {
        let notes = recorded(&case, "notes").unwrap_or_else(|| json!([]));
        let notes = notes.as_array().expect("a list of notes");
        if notes.is_empty() {
            continue;
        }
        let loaded = load_case(&case).unwrap_or_else(|errors| panic!("{case}: {errors}"));
        assert!(loaded.warnings.len() >= notes.len(), "{case}: {:?}", loaded.warnings);
    }
}
