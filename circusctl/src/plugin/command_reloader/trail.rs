//! The way to a file: every name that is looked up, in which directory, and the file at the end.
//!
//! A file is another one when it was written, when another one has taken its place, and when a link or a
//! directory on the way leads elsewhere. Reads the file system, changes nothing.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Links on the way at most, as for the kernel.
const LINKS: usize = 40;

/// What tells one file from another, and from itself after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The file, without links.
    pub(super) path: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// The way to a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Trail {
    /// The names and the directories, without links, that they are looked up in.
    pub(super) places: BTreeSet<(PathBuf, OsString)>,
    /// The file; none when the way leads nowhere.
    pub(super) stamp: Option<Stamp>,
}

impl Trail {
    /// Follows an absolute path.
    pub(super) fn follow(path: &Path) -> Self {
        let mut places = BTreeSet::new();
        let stamp = walk(path, &mut places);
        Self { places, stamp }
    }
}

fn walk(path: &Path, places: &mut BTreeSet<(PathBuf, OsString)>) -> Option<Stamp> {
    let parts = |path: &Path| path.components().map(|part| part.as_os_str().to_owned()).collect();
    let mut left: VecDeque<OsString> = parts(path);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = left.pop_front() {
        match Path::new(&part).components().next()? {
            Component::Normal(name) => {
                places.insert((at.clone(), name.to_owned()));
                let next = at.join(name);
                if !next.symlink_metadata().ok()?.is_symlink() {
                    at = next;
                    continue;
                }
                links += 1;
                if links > LINKS {
                    return None;
                }
                let further: VecDeque<OsString> = parts(&next.read_link().ok()?);
                for part in further.into_iter().rev() {
                    left.push_front(part);
                }
            }
            Component::ParentDir => {
                at.pop();
            }
            Component::RootDir => at = PathBuf::from("/"),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    let metadata = at.metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some(Stamp {
        path: at,
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().canonicalize().expect("it is there");
        (folder, path)
    }

    fn is_on(trail: &Trail, folder: &Path, name: &str) -> bool {
        trail.places.contains(&(folder.to_owned(), name.into()))
    }

    #[test]
    fn every_link_on_the_way_is_a_place_to_watch() {
        let (_folder, path) = folder();
        fs::create_dir_all(path.join("releases/2/bin")).expect("made");
        fs::write(path.join("releases/2/bin/app-2"), "x").expect("written");
        symlink("app-2", path.join("releases/2/bin/app")).expect("linked");
        symlink("releases/2", path.join("current")).expect("linked");
        let trail = Trail::follow(&path.join("current/./bin/../bin/app"));
        let stamp = trail.stamp.as_ref().expect("found");
        assert_eq!(stamp.path, path.join("releases/2/bin/app-2"));
        let release = path.join("releases/2");
        for (folder, name) in [
            (&path, "current"),
            (&path, "releases"),
            (&release, "bin"),
            (&release.join("bin"), "app"),
            (&release.join("bin"), "app-2"),
        ] {
            assert!(is_on(&trail, folder, name), "{name} in {}", folder.display());
        }
        assert_eq!(Trail::follow(&path.join("current/bin/app")), trail);
    }

    #[test]
    fn a_file_that_was_written_or_replaced_is_another_one() {
        let (_folder, path) = folder();
        let file = path.join("app");
        fs::write(&file, "x").expect("written");
        let old = Trail::follow(&file);
        fs::write(path.join("new"), "x").expect("written");
        let time = fs::metadata(&file).expect("there").modified().expect("a time");
        let new = fs::File::options().write(true).open(path.join("new")).expect("there");
        new.set_modified(time).expect("set");
        fs::rename(path.join("new"), &file).expect("moved");
        let replaced = Trail::follow(&file);
        assert_ne!(replaced.stamp, old.stamp);
        assert_eq!(replaced.places, old.places);
        fs::write(&file, "longer").expect("written");
        assert_ne!(Trail::follow(&file).stamp, replaced.stamp);
    }

    #[test]
    fn a_way_that_leads_nowhere_is_watched_as_far_as_it_goes() {
        let (_folder, path) = folder();
        let trail = Trail::follow(&path.join("none/app"));
        assert_eq!(trail.stamp, None);
        assert!(is_on(&trail, &path, "none"));
        symlink("round", path.join("round")).expect("linked");
        assert_eq!(Trail::follow(&path.join("round")).stamp, None);
        assert_eq!(Trail::follow(&path).stamp, None, "a directory is no program");
    }
}
