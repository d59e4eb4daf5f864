//! What the crate may depend on, how large it may be, and where it may be unsafe.
#![allow(clippy::unwrap_used, clippy::panic, reason = "only tests use it")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates that the kernel is made of, itself and the three below it included. Every one of them runs where a fault costs
/// everything that is hosted: a larger number needs a reason in the commit.
const MOST_CRATES: usize = 30;

#[test]
fn the_kernel_depends_on_few_crates() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "-p",
            "papa-kernel",
            "-e",
            "normal",
            "--prefix",
            "none",
            "--no-dedupe",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut crates: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    crates.sort_unstable();
    crates.dedup();
    assert!(crates.len() <= MOST_CRATES, "{} crates: {crates:?}", crates.len());
    for heavy in ["tokio", "serde_json", "clap", "zmq", "regex"] {
        assert!(!crates.contains(&heavy), "{heavy}");
    }
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Lines of code of the kernel itself, without comments and tests: what has to be understood before anything in it
/// is changed.
const MOST_LINES: usize = 2550;

#[test]
fn the_kernel_can_be_read_in_one_go() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let of_tests = |path: &Path| path.file_name().is_some_and(|name| name == "tests.rs");
    let lines = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap().lines().map(str::trim);
        code.filter(|line| !line.is_empty() && !line.starts_with("//")).count()
    };
    let total: usize = files.iter().filter(|path| !of_tests(path)).map(lines).sum();
    assert!(total > 0 && total <= MOST_LINES, "{total} lines, more than {MOST_LINES}");
}

#[test]
fn only_two_modules_are_unsafe() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    sources(&root.join("src"), &mut found);
    sources(&root.join("handover/src"), &mut found);
    sources(&root.join("spawn/src"), &mut found);
    let mut fenced: Vec<_> = found
        .iter()
        .filter(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            text.contains("unsafe {") || text.contains("expect(unsafe_code")
        })
        .map(|path| path.strip_prefix(root).unwrap().display().to_string())
        .collect();
    fenced.sort();
    // `child` with the two files of it that do it, and nothing else of it.
    let files = ["child.rs", "child/birth.rs", "child/program.rs", "sys.rs"];
    assert_eq!(fenced, files.map(|file| format!("spawn/src/{file}")));
}
