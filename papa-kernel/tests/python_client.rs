//! The client library of papa 1.0.6 works with our kernel.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "only tests use it")]

mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::Kernel;

/// A Python that has papa: the one in `PAPA_PYTHON`, or one that is installed under
/// `target/python` by the end-to-end tests.
fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python");
    let candidates = std::env::var_os("PAPA_PYTHON").map(PathBuf::from).into_iter().chain([own]);
    candidates.into_iter().find(|python| {
        let found = Command::new(python).args(["-c", "import papa"]).output();
        found.is_ok_and(|output| output.status.success())
    })
}

#[test]
fn the_real_client_library_does_everything_it_describes() {
    let Some(python) = python() else {
        assert!(std::env::var_os("CI").is_none(), "CI needs a Python with papa in PAPA_PYTHON");
        eprintln!("skipped: set PAPA_PYTHON to a Python that has papa 1.0.6");
        return;
    };
    let kernel = Kernel::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python_client.py"))
        .arg(kernel.port.to_string())
        .arg(directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text, "all done\n");
}
