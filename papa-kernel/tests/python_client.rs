//! The client library of papa 1.0.6 works with our kernel.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "only tests use it")]

mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::Kernel;

/// A Python that has papa: the one in `PAPA_PYTHON`, or one that is set up once below `target` from
/// PyPI.
fn python() -> Option<PathBuf> {
    if let Some(python) = std::env::var_os("PAPA_PYTHON") {
        return Some(PathBuf::from(python)).filter(|python| has_papa(python));
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-papa-1.0.6");
    let python = folder.join("bin/python");
    if !has_papa(&python) {
        let succeeds = |command: &mut Command| command.output().is_ok_and(|o| o.status.success());
        let made = succeeds(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        let install = ["-m", "pip", "install", "--quiet", "papa==1.0.6"];
        let _ = made && succeeds(Command::new(&python).args(install));
    }
    Some(python).filter(|python| has_papa(python))
}

fn has_papa(python: &Path) -> bool {
    let found = Command::new(python).args(["-c", "import papa"]).output();
    found.is_ok_and(|output| output.status.success())
}

#[test]
fn the_real_client_library_does_everything_it_describes() {
    let Some(python) = python() else {
        assert!(std::env::var_os("CI").is_none(), "CI needs python3 with venv, and PyPI");
        eprintln!("skipped: no python3 with venv, or PyPI cannot be reached");
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
