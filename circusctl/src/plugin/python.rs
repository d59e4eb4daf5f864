//! Becomes Python, for a plugin that is a class of somebody else's.
//!
//! circusd has the package `circus` for a Python without one; it is asked where.

use super::invocation::Invocation;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The variable that names a Python, as for circusd.
const VARIABLE: &str = "CIRCUS_PYTHON";

/// What is tried when it does not.
const USUAL: [&str; 2] = ["python3", "python"];

/// The plugin could not be handed to Python.
#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    /// There is none.
    #[error("`{class}` is no built-in plugin, and there is no Python to run it as a class")]
    Missing {
        /// The dotted name.
        class: String,
    },
    /// It cannot be started.
    #[error("could not start `{program}` for the plugin `{class}`")]
    Start {
        /// The interpreter.
        program: String,
        /// The dotted name.
        class: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Runs the plugin in place of this program, so there is no return but with an error.
pub fn become_it(invocation: &Invocation) -> PythonError {
    let named = std::env::var(VARIABLE).ok().filter(|program| !program.is_empty());
    let tried: Vec<String> = match named {
        Some(program) => vec![program],
        None => USUAL.map(str::to_owned).to_vec(),
    };
    let path = module_path();
    for program in tried {
        let mut command = Command::new(&program);
        command.args(invocation.python_words()).envs(path.iter().map(|path| ("PYTHONPATH", path)));
        let source = command.exec();
        if source.kind() != std::io::ErrorKind::NotFound {
            let class = invocation.class.clone();
            return PythonError::Start { program, class, source };
        }
    }
    PythonError::Missing { class: invocation.class.clone() }
}

/// PYTHONPATH with the package behind what it says, where the circusd beside us, or the one on PATH, has one.
fn module_path() -> Option<OsString> {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(|folder| folder.join("circusd"));
    let circusd = beside.filter(|file| file.is_file()).unwrap_or_else(|| PathBuf::from("circusd"));
    let mut command = Command::new(circusd);
    command.arg("--python-path").stdin(Stdio::null()).stderr(Stdio::null());
    let mut output = command.output().ok().filter(|output| output.status.success())?.stdout;
    output.truncate(output.trim_ascii_end().len());
    let mut path = std::env::var_os("PYTHONPATH").unwrap_or_default();
    if !path.is_empty() {
        path.push(":");
    }
    path.push(OsString::from_vec(output));
    Some(path)
}
