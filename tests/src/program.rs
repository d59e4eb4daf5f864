//! Where the programs under test are.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The variable that names another circusd to test.
pub const CIRCUSD_VARIABLE: &str = "CIRCUS_E2E_CIRCUSD";

/// A program of this workspace, built by the same `cargo test` run.
///
/// # Panics
/// When it is not there; the text says which command builds it.
pub fn built(name: &str) -> PathBuf {
    let path = build_directory().join(name);
    assert!(
        path.is_file(),
        "{} is missing; `cargo build --bin {name}` builds it, and `cargo test --workspace` does too",
        path.display()
    );
    path
}

/// The circusd under test: ours, or what [`CIRCUSD_VARIABLE`] names.
pub fn circusd() -> PathBuf {
    another_circusd().unwrap_or_else(|| built("circusd"))
}

/// The circusd that [`CIRCUSD_VARIABLE`] names.
pub fn another_circusd() -> Option<PathBuf> {
    std::env::var_os(CIRCUSD_VARIABLE).map(PathBuf::from)
}

/// The command of a fixture worker, for an ini file.
pub fn fixture(arguments: &str) -> String {
    format!("{} {arguments}", built("fixture").display())
}

/// The directory with everything that cargo builds.
pub fn target_directory() -> PathBuf {
    let path = build_directory();
    path.parent().map_or(path.clone(), Path::to_path_buf)
}

/// Runs a program to its end and gives its output.
pub fn run(program: &Path, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{} does not run: {error}", program.display()))
}

/// `target/debug` or `target/release`: tests run in its `deps`.
fn build_directory() -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    let mut path = own.parent().expect("a file has a directory");
    if path.ends_with("deps") {
        path = path.parent().expect("deps is inside the build directory");
    }
    path.to_path_buf()
}
