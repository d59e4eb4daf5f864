//! Pythons in virtual environments that are built on first use: one with the original from PyPI, and one that has
//! nothing but pyzmq and finds the package that circusd brings along.
//!
//! Cached below cargo's target directory; a lock file lets parallel tests build it once. Without
//! Python 3 or the registry the tests that need it say so and are skipped; with `CI=true` that is a
//! failure.

use crate::program::{self, run};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// What the tests compare with.
const ORIGINAL: &[&str] = &["circus==0.17.2", "papa==1.0.6"];

/// Web servers that take sockets of circusd: one that was made for it, and one that is compiled.
const SERVERS: &[&str] = &["chaussette==1.3.0", "uwsgi==2.0.31"];

/// A reader of OpenMetrics that takes nothing that is not allowed.
const PARSER: &[&str] = &["prometheus_client==0.26.0"];

/// What the package of circusd needs.
const OURS: &[&str] = &["pyzmq"];

/// A virtual environment.
pub struct Python {
    bin: PathBuf,
    /// Where modules are looked for first, if that is said.
    path: Option<PathBuf>,
}

impl Python {
    /// The environment with the original, or none when it cannot be had: then the test is skipped.
    ///
    /// # Panics
    /// When it cannot be had and `CI=true`.
    pub fn for_test(test: &str) -> Option<&'static Self> {
        static PYTHON: OnceLock<Result<Python, String>> = OnceLock::new();
        or_skip(test, PYTHON.get_or_init(|| Self::build(ORIGINAL)))
    }

    /// The environment with web servers, as [`Self::for_test`]; apart, because it takes a C compiler and a minute.
    pub fn with_servers(test: &str) -> Option<&'static Self> {
        static PYTHON: OnceLock<Result<Python, String>> = OnceLock::new();
        or_skip(test, PYTHON.get_or_init(|| Self::build(SERVERS)))
    }

    /// The environment with the parser of Prometheus' Python client, as [`Self::for_test`].
    pub fn with_metrics_parser(test: &str) -> Option<&'static Self> {
        static PYTHON: OnceLock<Result<Python, String>> = OnceLock::new();
        or_skip(test, PYTHON.get_or_init(|| Self::build(PARSER)))
    }

    /// The environment with pyzmq alone, as [`Self::for_test`]; the package `circus` is not there.
    pub fn without_circus(test: &str) -> Option<&'static Self> {
        static PYTHON: OnceLock<Result<Python, String>> = OnceLock::new();
        or_skip(test, PYTHON.get_or_init(|| Self::build(OURS)))
    }

    /// The same with the package that circusd brings along.
    pub fn with_our_package(test: &str) -> Option<&'static Self> {
        static PYTHON: OnceLock<Python> = OnceLock::new();
        let bin = Self::without_circus(test)?.bin.clone();
        Some(PYTHON.get_or_init(|| Self { bin, path: Some(our_package()) }))
    }

    /// The original and ours, to be used alike.
    pub fn both(test: &str) -> impl Iterator<Item = &'static Self> {
        [Self::for_test(test), Self::with_our_package(test)].into_iter().flatten()
    }

    /// A program of the environment, such as `circusctl`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// Runs a script to its end.
    pub fn script(&self, code: &str, arguments: &[&str]) -> Output {
        let arguments: Vec<_> = ["-c", code].into_iter().chain(arguments.iter().copied()).collect();
        let output = self.command().args(arguments).stdin(Stdio::null()).output();
        output.unwrap_or_else(|error| panic!("Python does not run: {error}"))
    }

    /// The interpreter, with its own modules and none of ours.
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.program("python"));
        command.env_remove("PYTHONPATH").envs(self.path.iter().map(|path| ("PYTHONPATH", path)));
        command
    }

    fn build(requirements: &[&str]) -> Result<Self, String> {
        let version = outcome(Command::new("python3").arg("--version"))?;
        let version = version.trim().replace(' ', "-");
        let name = format!("venv-{version}-{}", requirements.join("-").replace("==", "-"));
        let parent = program::target_directory().join("python");
        let home = parent.join(&name);
        std::fs::create_dir_all(&parent).map_err(|error| error.to_string())?;
        let lock = File::create(parent.join(format!("{name}.lock"))).map_err(|e| e.to_string())?;
        lock.lock().map_err(|error| error.to_string())?;
        let complete = home.join("complete");
        if !complete.exists() {
            fill(&home, requirements)?;
            File::create(&complete).map_err(|error| error.to_string())?;
        }
        Ok(Self { bin: home.join("bin"), path: None })
    }
}

/// Where circusd has put its package.
///
/// # Panics
/// When it has not.
pub fn our_package() -> PathBuf {
    let output = run(&program::built("circusd"), &["--python-path"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    PathBuf::from(text.trim_end())
}

fn or_skip(test: &str, python: &'static Result<Python, String>) -> Option<&'static Python> {
    python.as_ref().map_err(|reason| unavailable(test, reason)).ok()
}

fn fill(home: &Path, requirements: &[&str]) -> Result<(), String> {
    outcome(Command::new("python3").args(["-m", "venv", "--clear"]).arg(home))?;
    let mut pip = Command::new(home.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--retries", "1"]);
    outcome(pip.args(requirements)).map(|_| ())
}

/// The output of a program that succeeds, or why it does not.
fn outcome(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{program}: {}", text(&output.stderr)))
    }
}

/// Says that a test is skipped because something is not to be had on this machine.
///
/// # Panics
/// When `CI=true`: there, everything must be to be had.
pub fn unavailable(test: &str, reason: &str) {
    let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!ci, "{test} cannot be tested: {reason}");
    say_skipped(&format!("{test}: {reason}"));
}

/// Says on standard error that something is not tested here.
pub fn say_skipped(what: &str) {
    // Past the capture of the test harness, so that it is seen.
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
