//! Holds the shape of all crates: imports point down, names say what a file is about, files stay
//! small.
//!
//! A module may import modules of lower layers only. The layers of each crate are in [`CRATES`]; a
//! new module needs a place there.
#![expect(clippy::expect_used, reason = "a test fails loudly")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Each crate with its layers, lowest first. An entry covers a module and everything below it,
/// except what has an entry of its own; modules under one entry may import each other. Crate roots
/// (`lib.rs`, `main.rs`, `bin/`) may import everything and are imported by nobody.
const CRATES: &[(&str, &[&[&str]])] = &[
    (
        "protocol",
        &[&["endpoint", "name", "rlimit", "signal"], &["circus", "papa"], &["codec", "stats"]],
    ),
    (
        "papa-kernel/spawn",
        &[
            &["errno", "exit"],
            &["sys"],
            &["background", "child", "peer", "socket", "successor", "users"],
        ],
    ),
    (
        "papa-kernel/handover",
        &[
            &["field", "refusal", "snapshot"],
            &["descriptor", "fault", "origin"],
            &["carried"],
            &["message", "received"],
            &["hand_over", "rehearsal", "take_over"],
        ],
    ),
    (
        "papa-kernel",
        &[
            &["access", "budget"],
            &["output"],
            &["poller"],
            &["leftover"],
            &["listener", "process_table", "socket_table"],
            &["flow", "tables"],
            &["info"],
            &["command", "watch"],
            &["client"],
            &["session"],
            &["kernel"],
            &["cli"],
        ],
    ),
    (
        "circusd/zmtp",
        &[
            &["frame", "outgoing", "stream"],
            &["allowance", "handshake", "listener", "subscriptions"],
            &["connection"],
            &["connections"],
            &["fuzz", "publisher", "router"],
        ],
    ),
    (
        "circusd",
        &[
            &["cause", "config", "controller::outbox", "role", "upgrade", "watcher::wid"],
            &["event_bus", "logging"],
            &["papa", "process::tree", "stream"],
            &["process::end", "process::sampler", "process::turnstile", "socket"],
            &["process::direct"],
            &["process", "hook::outcome", "hook::point"],
            &["hook::call", "python"],
            &["hook"],
            &["arbiter::gate"],
            &["watcher"],
            &["arbiter"],
            &["controller"],
            &["metrics", "notify", "pidfile"],
            &["check", "environment", "serving"],
            &["fuzz", "library"],
            &["signals"],
            &["daemon"],
            &["cli"],
        ],
    ),
    (
        "circusctl",
        &[
            &[
                "clock",
                "colour",
                "interrupt",
                "logging",
                "parent",
                "private_endpoint",
                "python_text",
                "suggest",
                "ui",
            ],
            &["report"],
            &["config_file", "ssh"],
            &["endpoint"],
            &["client"],
            &["session", "subscriber"],
            &["command", "usage"],
            &["advice"],
            &["outcome"],
            &["follow", "replace"],
            &["run"],
            &["arguments"],
            &["completion"],
            &["plugin", "shell", "stats", "top", "web"],
            &["generate"],
            &["cli"],
        ],
    ),
    (
        "tests",
        &[
            &["waiting"],
            &["gate", "kernel", "process", "program"],
            &["terminal"],
            &["daemon", "python"],
            &["env"],
        ],
    ),
];

/// Names that say nothing about what a file owns.
const EMPTY_NAMES: &[&str] = &["common", "helper", "helpers", "misc", "util", "utils"];

/// The longest file, in lines without its tests.
const LONGEST: usize = 500;

/// One source file of a crate.
struct Source {
    path: PathBuf,
    /// `["config", "ini"]` for `config/ini.rs`; empty for a crate root.
    module: Vec<String>,
    /// The code without its test module and comments.
    code: String,
    /// Lines before the test module.
    lines: usize,
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for (name, layers) in CRATES {
        for source in sources(name).iter().filter(|source| !source.module.is_empty()) {
            let Some(own) = place(layers, &source.module) else {
                wrong.push(format!(
                    "{}: has no place in the table of layers",
                    source.path.display()
                ));
                continue;
            };
            for import in imports(&source.code, &source.module) {
                // What is no module is an item of the crate root or an extern crate: the paths of
                // this crate's own modules are all in the table.
                let Some(target) = place(layers, &import) else { continue };
                if target != own && target.0 >= own.0 {
                    let path = source.path.display();
                    wrong.push(format!(
                        "{path}: imports `{}`, which is not below it",
                        import.join("::")
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_named_after_what_they_own_and_stay_small() {
    let mut wrong = Vec::new();
    for source in CRATES.iter().flat_map(|(name, _)| sources(name)) {
        let path = source.path.display();
        if source.module.iter().any(|part| EMPTY_NAMES.contains(&part.as_str())) {
            wrong.push(format!("{path}: the name says nothing"));
        }
        if source.lines > LONGEST {
            wrong.push(format!("{path}: {} lines, more than {LONGEST}", source.lines));
        }
        let items =
            ["fn ", "impl ", "struct ", "enum ", "trait ", "const ", "static ", "macro_rules!"];
        if source.path.ends_with("mod.rs") && items.iter().any(|item| has_item(&source.code, item))
        {
            wrong.push(format!("{path}: a mod.rs is a table of contents"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_form_of_import_is_understood() {
    let code = "use crate::a::b;\nuse crate::{c::{d, e as f}, g};\nlet x = super::h::i();\npub(crate) fn y()";
    let module = ["m".to_owned(), "n".to_owned()];
    let found = imports(code, &module);
    let found: BTreeSet<_> = found.iter().map(|path| path.join("::")).collect();
    let expected = ["a::b", "c::d", "c::e", "g", "m::h::i"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
}

fn has_item(code: &str, item: &str) -> bool {
    code.lines().any(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub ")).unwrap_or(line);
        line.starts_with(item)
    })
}

/// The layer and the entry that cover a module, the longest entry first.
fn place<'t>(layers: &[&[&'t str]], module: &[String]) -> Option<(usize, &'t str)> {
    let covers = |entry: &str| {
        let parts: Vec<_> = entry.split("::").collect();
        parts.len() <= module.len() && parts.iter().zip(module).all(|(part, own)| part == own)
    };
    let places = layers.iter().enumerate().flat_map(|(layer, entries)| {
        entries.iter().filter(|entry| covers(entry)).map(move |entry| (layer, *entry))
    });
    places.max_by_key(|(_, entry)| entry.len())
}

/// The paths that the code names with `crate::` or `super::`, from the crate root.
fn imports(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for head in ["crate::", "super::"] {
        for (at, _) in code.match_indices(head) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue; // The middle of a longer path, which is found by its beginning.
            }
            let mut base = if head == "crate::" { &[] } else { parent(module) };
            let mut rest = &code[at + head.len()..];
            while let Some(further) = rest.strip_prefix("super::") {
                (base, rest) = (parent(base), further);
            }
            tree(rest, base, &mut found);
        }
    }
    found
}

fn parent(module: &[String]) -> &[String] {
    module.split_last().map_or(&[], |(_, parent)| parent)
}

/// Reads one use tree, `a::b` or `a::{b, c::d}`, and gives what follows it.
fn tree<'c>(code: &'c str, base: &[String], found: &mut Vec<Vec<String>>) -> &'c str {
    let mut path = base.to_vec();
    let mut rest = code;
    loop {
        if let Some(mut items) = rest.strip_prefix('{') {
            loop {
                items = items.trim_start_matches([' ', '\n', ',']);
                if let Some(after) = items.strip_prefix('}') {
                    return after;
                }
                let after = tree(items, &path, found);
                // Past ` as name` and the like.
                items = after.trim_start_matches(|c: char| c != ',' && c != '}');
                if items.is_empty() {
                    return items;
                }
            }
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if end > 0 {
            path.push(rest[..end].to_owned());
        }
        match rest[end..].strip_prefix("::") {
            Some(further) if end > 0 => rest = further,
            _ => {
                found.push(path);
                return &rest[end..];
            }
        }
    }
}

/// All source files of a crate.
fn sources(name: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the crate has sources") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(source(&root, path));
            }
        }
    }
    assert!(!found.is_empty(), "{name} has no sources");
    found
}

fn source(root: &Path, path: PathBuf) -> Source {
    let text = std::fs::read_to_string(&path).expect("UTF-8");
    let relative = path.strip_prefix(root).expect("found below it").with_extension("");
    let mut module: Vec<String> =
        relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    if module == ["lib"] || module == ["main"] || module.first().is_some_and(|first| first == "bin")
    {
        module.clear();
    }
    // Files of their own with tests are not code either.
    let tests = module.iter().any(|part| part == "tests" || part.ends_with("_tests"));
    let code = if tests { "" } else { text.split("\n#[cfg(test)]\nmod ").next().unwrap_or("") };
    let is_comment = |line: &&str| line.trim_start().starts_with("//");
    let lines = code.lines().count();
    let code = code.lines().filter(|line| !is_comment(line)).collect::<Vec<_>>().join("\n");
    Source { path, module, code, lines }
}
