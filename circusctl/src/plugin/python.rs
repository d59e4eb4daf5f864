//! Becomes Python, for a plugin that is a class of somebody else's.

use super::invocation::Invocation;
use std::os::unix::process::CommandExt;
use std::process::Command;

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
    for program in tried {
        let source = Command::new(&program).args(invocation.python_words()).exec();
        if source.kind() != std::io::ErrorKind::NotFound {
            let class = invocation.class.clone();
            return PythonError::Start { program, class, source };
        }
    }
    PythonError::Missing { class: invocation.class.clone() }
}
