//! Waiting without an event from a daemon: for text in a file, and for what tells nobody.
//!
//! A test waits for something that happens, never for time to pass. [`eventually`] is the one place that looks again
//! and again; what makes an event (a reply, a line in a file, the end of a process) is waited for by that.

use crate::PATIENCE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often to look for what makes no event.
const PACE: Duration = Duration::from_millis(5);

/// Looks again and again, for what makes no event, until there is a value.
///
/// # Panics
/// When `what` has not come in time.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(PACE);
    }
}

/// The same for what is so or not.
///
/// # Panics
/// When it has not come to be so in time.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    eventually(what, || is_so().then_some(()));
}

/// Waits until a text is in a file, which may not be there yet; its directory is.
///
/// # Panics
/// When the text has not come in time.
pub fn for_text(file: &Path, text: &str) {
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).expect("inotify");
    let directory = file.parent().expect("a file is in a directory");
    let written = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
    inotify::add_watch(&changes, directory, written).expect("the directory is there");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = std::fs::read(file).unwrap_or_default();
        if found.windows(text.len()).any(|part| part == text.as_bytes()) {
            return;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let found = || String::from_utf8_lossy(&found);
        assert!(!left.is_zero(), "not in time: `{text}` in {}:\n{}", file.display(), found());
        let timeout = Timespec::try_from(left).expect("a timeout of seconds fits");
        match poll(&mut [PollFd::new(&changes, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("poll on inotify failed: {error}"),
        }
        // What they are about does not matter.
        let mut buffer = [0; 4096];
        while rustix::io::read(&changes, &mut buffer).is_ok() {}
    }
}
