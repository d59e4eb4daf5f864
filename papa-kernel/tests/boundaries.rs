//! What the crate may depend on, and where it may be unsafe.
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
