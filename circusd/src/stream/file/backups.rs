//! Renaming a full log file: `F` to `F.1`, `F.1` to `F.2` and so on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// When to rotate by size, and how many backups to keep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// The size that a file stays below, in bytes.
    pub(super) max_bytes: u64,
    /// Backups, at least one.
    pub(super) backups: u32,
}

/// The path with something appended to its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    with_suffix(path, &number.to_string())
}

/// Makes room at `path`: its file becomes the newest backup. With all places taken the oldest goes.
///
/// Only as many backups move as have to, so a rotation that was interrupted half-way is finished by the
/// next one, and costs no backup.
pub(super) fn shift(path: &Path, backups: u32) -> io::Result<()> {
    let free = (1..backups).find(|number| fs::symlink_metadata(numbered(path, *number)).is_err());
    for number in (1..free.unwrap_or(backups)).rev() {
        rename_if_there(&numbered(path, number), &numbered(path, number + 1))?;
    }
    rename_if_there(path, &numbered(path, 1))
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(directory: &Path) -> Vec<(String, String)> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        let mut files: Vec<_> = entries
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn the_oldest_backup_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        for (name, text) in [("x", "d"), ("x.1", "c"), ("x.2", "b"), ("x.3", "a")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        shift(&path, 3).unwrap();
        let expected = [("x.1", "d"), ("x.2", "c"), ("x.3", "b")];
        assert_eq!(files(dir.path()), expected.map(|(n, t)| (n.to_owned(), t.to_owned())));
    }

    #[test]
    fn an_interrupted_rotation_costs_no_backup() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        // `x.1` has moved, then the daemon was killed.
        for (name, text) in [("x", "d"), ("x.2", "c"), ("x.3", "b")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        shift(&path, 3).unwrap();
        let expected = [("x.1", "d"), ("x.2", "c"), ("x.3", "b")];
        assert_eq!(files(dir.path()), expected.map(|(n, t)| (n.to_owned(), t.to_owned())));
    }
}
