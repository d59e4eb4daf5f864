//! Directories that are watched through inotify(7), so that a change is seen at once and without looking.
//!
//! Directories and not files, because a file that another one replaces does not tell. Network file systems do
//! not tell what other machines do.

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// What makes another file of one, or leads to another one. A file that is being written tells when it is
/// closed.
const CHANGES: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_ONLYDIR);

/// Readings at a time, so that a flood of changes does not keep us from everything else.
const AT_ONCE: usize = 64;

/// Something has changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Notice {
    /// This name in this directory.
    Entry(PathBuf, OsString),
    /// The directory itself.
    Directory(PathBuf),
    /// Too much to tell.
    Everything,
}

/// The directories that are watched.
pub(super) struct Notices {
    inotify: Inotify,
    watches: BTreeMap<PathBuf, WatchDescriptor>,
    directories: HashMap<WatchDescriptor, PathBuf>,
}

impl Notices {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// The user has no inotify instance left, or the process no fd.
    pub(super) fn new() -> Result<Self, Errno> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Self { inotify, watches: BTreeMap::new(), directories: HashMap::new() })
    }

    /// Watches a directory from now on. Also when it was watched already: another one may stand in its place.
    ///
    /// # Errors
    /// It is not there, or the user has no watch left.
    pub(super) fn watch(&mut self, directory: &Path) -> Result<(), Errno> {
        let watch = self.inotify.add_watch(directory, CHANGES)?;
        if let Some(old) = self.watches.insert(directory.to_owned(), watch)
            && old != watch
        {
            self.directories.remove(&old);
            // Fails when the directory has gone, and its watch with it.
            let _ = self.inotify.rm_watch(old);
        }
        self.directories.insert(watch, directory.to_owned());
        Ok(())
    }

    /// Watches no others than these any more.
    pub(super) fn keep(&mut self, wanted: &BTreeSet<&Path>) {
        let others: Vec<PathBuf> =
            self.watches.keys().filter(|path| !wanted.contains(path.as_path())).cloned().collect();
        for path in others {
            if let Some(watch) = self.watches.remove(&path) {
                self.directories.remove(&watch);
                let _ = self.inotify.rm_watch(watch);
            }
        }
    }

    /// Readable when something has changed.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// What has changed, each only once.
    pub(super) fn read(&mut self) -> BTreeSet<Notice> {
        let mut notices = BTreeSet::new();
        for _ in 0..AT_ONCE {
            // It fails when there is nothing more to read.
            let Ok(events) = self.inotify.read_events() else { break };
            notices.extend(events.into_iter().filter_map(|event| self.notice(event)));
        }
        notices
    }

    fn notice(&mut self, event: InotifyEvent) -> Option<Notice> {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            return Some(Notice::Everything);
        }
        // One that is no longer watched may still have something to tell.
        let directory = self.directories.get(&event.wd)?.clone();
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            self.directories.remove(&event.wd);
            self.watches.remove(&directory);
        }
        Some(match event.name {
            Some(name) => Notice::Entry(directory, name),
            None => Notice::Directory(directory),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::fs;
    use std::os::unix::fs::symlink;

    /// The next notices, waited for.
    fn wait(notices: &mut Notices) -> BTreeSet<Notice> {
        let mut files = [PollFd::new(notices.file(), PollFlags::POLLIN)];
        poll(&mut files, PollTimeout::from(20_000u16)).expect("polled");
        notices.read()
    }

    #[test]
    fn writing_replacing_linking_and_touching_are_told() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path();
        let mut notices = Notices::new().expect("an instance");
        fs::write(path.join("other"), "").expect("written");
        notices.watch(path).expect("watched");
        let entry = |name: &str| Notice::Entry(path.to_owned(), name.into());
        fs::write(path.join("app"), "x").expect("written");
        assert!(wait(&mut notices).contains(&entry("app")));
        fs::rename(path.join("other"), path.join("app")).expect("moved");
        assert!(wait(&mut notices).contains(&entry("app")));
        symlink("app", path.join("link")).expect("linked");
        assert_eq!(wait(&mut notices), BTreeSet::from([entry("link")]));
        let file = fs::File::open(path.join("app")).expect("there");
        let past = std::time::SystemTime::UNIX_EPOCH;
        let times = fs::FileTimes::new().set_accessed(past).set_modified(past);
        file.set_times(times).expect("touched");
        assert_eq!(wait(&mut notices), BTreeSet::from([entry("app")]));
        notices.keep(&BTreeSet::new());
        fs::write(path.join("app"), "y").expect("written");
        assert!(notices.read().is_empty(), "no longer watched");
    }

    #[test]
    fn a_directory_in_the_place_of_another_is_watched_in_its_stead() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("releases");
        fs::create_dir(&path).expect("made");
        let mut notices = Notices::new().expect("an instance");
        notices.watch(&path).expect("watched");
        fs::rename(&path, folder.path().join("old")).expect("moved");
        assert!(wait(&mut notices).contains(&Notice::Directory(path.clone())));
        fs::create_dir(&path).expect("made");
        notices.watch(&path).expect("watched");
        fs::write(folder.path().join("old/app"), "").expect("written");
        fs::write(path.join("app"), "").expect("written");
        let told = wait(&mut notices);
        assert_eq!(told, BTreeSet::from([Notice::Entry(path.clone(), "app".into())]));
        fs::remove_dir_all(&path).expect("removed");
        assert!(wait(&mut notices).contains(&Notice::Directory(path.clone())));
        assert!(notices.watch(&path).is_err());
    }
}
