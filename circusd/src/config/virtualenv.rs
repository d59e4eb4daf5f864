//! What a Python virtualenv adds to PATH and PYTHONPATH.
//!
//! Looks into the directory of the virtualenv and changes nothing.

use super::env::Variables;
use std::fs;
use std::path::{Path, PathBuf};

/// A virtualenv that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VirtualenvError {
    /// Without circusd's environment the PATH of the virtualenv would be all there is.
    #[error("virtualenv needs `copy_env = true`")]
    NeedsCopyEnv,
    /// None of the places where the packages may be exists.
    #[error("{0} does not exist")]
    NoSitePackages(String),
    /// More than one Python lives there and none was chosen.
    #[error("{0} holds several Python versions; choose one with `virtualenv_py_ver`")]
    SeveralVersions(String),
}

/// Lays the virtualenv over the variables of a process.
///
/// # Errors
/// [`VirtualenvError`] when the directory of the packages is not there or not clear.
pub(crate) fn lay_over(
    variables: &mut Variables,
    folder: &str,
    version: Option<&str>,
) -> Result<(), VirtualenvError> {
    let site_packages = site_packages(folder, version)?;
    let bin = Path::new(folder).join("bin");
    if bin.is_dir() {
        let first = vec![bin.to_string_lossy().into_owned()];
        prepend(variables, "PATH", first, None);
    }
    let listed = listed_paths(&site_packages);
    let own = site_packages.to_string_lossy().into_owned();
    prepend(variables, "PYTHONPATH", listed, Some(own));
    Ok(())
}

/// Puts paths before and after what the variable holds.
fn prepend(variables: &mut Variables, name: &str, before: Vec<String>, after: Option<String>) {
    let mut paths = before;
    paths.extend(variables.get(name).filter(|value| !value.is_empty()).cloned());
    paths.extend(after);
    variables.insert(name.to_owned(), paths.join(":"));
}

fn site_packages(folder: &str, version: Option<&str>) -> Result<PathBuf, VirtualenvError> {
    let lib = Path::new(folder).join("lib");
    if let Some(version) = version {
        let candidates = ["python", "pypy"]
            .map(|kind| lib.join(format!("{kind}{version}")).join("site-packages"));
        let found = candidates.iter().find(|candidate| candidate.exists());
        return found.cloned().ok_or_else(|| {
            let names = candidates.map(|candidate| candidate.display().to_string());
            VirtualenvError::NoSitePackages(names.join(" or "))
        });
    }
    let mut found: Vec<PathBuf> = entries(&lib)
        .into_iter()
        .filter(|name| name.starts_with("python") || name.starts_with("pypy"))
        .map(|name| lib.join(name).join("site-packages"))
        .filter(|candidate| candidate.exists())
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => Err(VirtualenvError::SeveralVersions(lib.display().to_string())),
        (None, _) => {
            let pattern = lib.join("python*").join("site-packages");
            Err(VirtualenvError::NoSitePackages(pattern.display().to_string()))
        }
    }
}

/// The existing paths that the `.pth` files name, file by file in the order of their names.
fn listed_paths(site_packages: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for name in entries(site_packages) {
        if !name.ends_with(".pth") {
            continue;
        }
        let text = fs::read(site_packages.join(name)).unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') || line.starts_with("import") {
                continue;
            }
            let path = site_packages.join(line);
            if path.exists() {
                paths.push(path.to_string_lossy().into_owned());
            }
        }
    }
    paths
}

/// The names in a directory, sorted; none if it cannot be read.
fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(folders: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("temp dir");
        for folder in folders {
            fs::create_dir_all(root.path().join(folder)).expect("folder");
        }
        root
    }

    #[test]
    fn paths_are_laid_around_those_that_are_there() {
        let root = tree(&["bin", "lib/python3.11/site-packages/extra"]);
        let folder = root.path().to_str().expect("utf-8");
        let site = format!("{folder}/lib/python3.11/site-packages");
        fs::write(format!("{site}/a.pth"), "# no\nimport no\nextra\nmissing\n").expect("pth");
        let mut variables: Variables =
            [("PATH", "/bin"), ("PYTHONPATH", "/mine")].map(|(k, v)| (k.into(), v.into())).into();
        lay_over(&mut variables, folder, None).expect("usable");
        assert_eq!(variables["PATH"], format!("{folder}/bin:/bin"));
        assert_eq!(variables["PYTHONPATH"], format!("{site}/extra:/mine:{site}"));
    }

    #[test]
    fn a_version_that_is_missing_or_not_clear_is_an_error() {
        let root = tree(&["lib/python3.9/site-packages", "lib/pypy3.9/site-packages"]);
        let folder = root.path().to_str().expect("utf-8");
        let mut none = Variables::new();
        assert!(matches!(
            lay_over(&mut none, folder, None),
            Err(VirtualenvError::SeveralVersions(_))
        ));
        assert!(matches!(
            lay_over(&mut none, folder, Some("3.3")),
            Err(VirtualenvError::NoSitePackages(_))
        ));
        assert_eq!(lay_over(&mut none, folder, Some("3.9")), Ok(()));
    }
}
