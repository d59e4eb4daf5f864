//! The table of what was observed of the real circusd: every case has a test or a difference, and what the
//! table names exists.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate of a workspace").to_path_buf()
}

fn read(path: &str) -> String {
    let path = repository().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of the table: case and what stands beside it.
fn rows() -> BTreeMap<String, String> {
    let text = read("tests/golden/behaviours.md");
    let cells = |line: &str| -> Option<(String, String)> {
        let (case, place) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
        Some((case.to_owned(), place.to_owned()))
    };
    text.lines().filter_map(cells).filter(|(case, _)| case != "case" && case != "---").collect()
}

/// The source that a test such as `e2e::commands::name` stands in.
fn source(test: &str) -> (String, &str) {
    let (path, name) = test.rsplit_once("::").expect("a path");
    let file = match path.split_once("::") {
        Some(("e2e", module)) => format!("tests/tests/e2e/{module}.rs"),
        Some(("golden", module)) => format!("tests/tests/golden/{module}.rs"),
        Some(("circusd", module)) => format!("circusd/src/{}.rs", module.replace("::", "/")),
        _ => format!("tests/tests/{path}/main.rs"),
    };
    (read(&file), name)
}

#[test]
fn every_observed_case_is_in_the_table() {
    let recorded: BTreeSet<String> = read("tests/golden/behaviours.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|line| line["case"].as_str().expect("a name").to_owned())
        .collect();
    let listed: BTreeSet<String> = rows().into_keys().collect();
    assert_eq!(listed, recorded);
}

#[test]
fn what_the_table_names_exists() {
    let differences = read("docs/differences.md") + &read("docs/differences-circusctl.md");
    for (case, place) in rows() {
        for part in place.split("; ") {
            if let Some(reason) = part.strip_prefix("open: ") {
                println!("no test yet: {case} ({reason})");
            } else if let Some(entry) = part.strip_prefix("differs: ") {
                let is_row = differences.contains(&format!("\n| {entry} |"));
                assert!(is_row, "{case}: docs/differences.md lacks `{entry}`");
            } else {
                let (text, name) = source(part);
                // A test, or a line of a macro that makes one.
                let forms =
                    [format!("fn {name}("), format!("\n    {name}:"), format!("\n    {name},")];
                assert!(forms.iter().any(|form| text.contains(form)), "{case}: there is no {part}");
            }
        }
    }
}
