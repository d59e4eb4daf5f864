//! Which Python runs the hooks of a watcher, and where it finds their modules.

use crate::config::model::WatcherConfig;
use crate::config::variables;
use nix::unistd::{AccessFlags, access};
use std::path::{Path, PathBuf};

/// What is tried when nothing was said.
const USUAL: [&str; 2] = ["python3", "python"];

/// A variable of circusd's environment that names a Python.
const VARIABLE: &str = "CIRCUS_PYTHON";

/// There is no Python.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no Python to run it: install python3, or name one with `python` in [circus]")]
pub struct NoPython;

/// How hooks of a watcher are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The program.
    pub program: String,
    /// Where its modules are looked for before anything else.
    pub first_paths: Vec<String>,
}

/// The Python of the watcher's virtualenv, else the one named in `[circus]`, else the one that
/// `CIRCUS_PYTHON` names, else `python3` or `python` on circusd's PATH. The module path of the watcher's
/// environment comes along.
///
/// # Errors
/// [`NoPython`].
pub fn choose(
    watcher: &WatcherConfig,
    named: Option<&str>,
    environment: &[(String, String)],
) -> Result<Interpreter, NoPython> {
    let of = |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, v)| v.as_str());
    let virtualenv = watcher.virtualenv.as_deref().filter(|folder| !folder.is_empty());
    let virtualenv = virtualenv.map(|folder| Path::new(folder).join("bin/python"));
    let virtualenv = virtualenv.filter(|program| is_program(program));
    let program = virtualenv
        .map(|program| program.display().to_string())
        .or_else(|| named.map(str::to_owned))
        .or_else(|| of(VARIABLE).filter(|name| !name.is_empty()).map(str::to_owned))
        .or_else(|| {
            let found = USUAL.iter().find(|name| on_path(of("PATH").unwrap_or_default(), name));
            found.map(|name| (*name).to_owned())
        })
        .ok_or(NoPython)?;
    // What is wrong with a virtualenv is said at every start of a process.
    let variables = variables(watcher, environment).unwrap_or_default();
    let paths = variables.get("PYTHONPATH").map(String::as_str).unwrap_or_default();
    let first_paths = paths.split(':').filter(|path| !path.is_empty()).map(str::to_owned);
    Ok(Interpreter { program, first_paths: first_paths.collect() })
}

fn on_path(path: &str, name: &str) -> bool {
    path.split(':').any(|folder| is_program(&PathBuf::from(folder).join(name)))
}

fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn program(folder: &Path, name: &str) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(name), "").unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn what_is_nearer_to_the_watcher_comes_first() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let mut watcher = WatcherConfig::new("web", "true");
        let mut environment = vec![("PATH".to_owned(), path("bin").display().to_string())];
        let chosen = |watcher: &WatcherConfig, named, environment: &[(String, String)]| {
            choose(watcher, named, environment).map(|python| python.program)
        };
        assert_eq!(chosen(&watcher, None, &environment), Err(NoPython));
        program(&path("bin"), "python");
        assert_eq!(chosen(&watcher, None, &environment), Ok("python".into()));
        program(&path("bin"), "python3");
        assert_eq!(chosen(&watcher, None, &environment), Ok("python3".into()));
        environment.push((VARIABLE.to_owned(), "/opt/python".to_owned()));
        assert_eq!(chosen(&watcher, None, &environment), Ok("/opt/python".into()));
        assert_eq!(chosen(&watcher, Some("/named"), &environment), Ok("/named".into()));
        program(&path("venv/bin"), "python");
        watcher.virtualenv = Some(path("venv").display().to_string());
        let own = path("venv/bin/python").display().to_string();
        assert_eq!(chosen(&watcher, Some("/named"), &environment), Ok(own));
    }

    #[test]
    fn the_module_path_of_the_watcher_comes_along() {
        let mut watcher = WatcherConfig::new("web", "true");
        watcher.env.insert("PYTHONPATH".into(), "$HOME/lib::/srv".into());
        let environment = [("HOME".to_owned(), "/root".to_owned())];
        let python = choose(&watcher, Some("python"), &environment).unwrap();
        assert_eq!(python.first_paths, ["/root/lib", "/srv"]);
    }
}
