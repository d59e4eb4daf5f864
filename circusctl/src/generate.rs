//! Writes what a package needs beside the programs, from the same trees that read their command lines.

use crate::command::{Generate, What};
use crate::report::CommandError;
use std::path::Path;

mod completions;
mod man;
mod manual;

/// Writes the files.
///
/// # Errors
/// A file cannot be written.
pub fn run(wanted: &Generate) -> Result<(), CommandError> {
    let files = match wanted.what {
        What::Man => man::pages(),
        What::Completions => completions::scripts(),
    };
    let failed = |path: &Path, error: std::io::Error| {
        CommandError::local(format!("could not write {}", path.display())).cause(error.to_string())
    };
    let directory = &wanted.directory;
    std::fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    for (name, content) in files {
        let path = directory.join(name);
        std::fs::write(&path, content).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}
