//! Loads whatever it gets as a configuration file, shows it as JSON and decides what each of its watchers
//! would execute.
//!
//! `cargo +nightly fuzz run ini`, or with a stable compiler as `fuzz/README.md` says.
#![no_main]

use circusd::config::{SpawnContext, dump, load, plan};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A file of this process in memory, so that millions of runs wear no disk out.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = PathBuf::from(format!("/dev/shm/circusd-fuzz-{}.ini", std::process::id()));
    std::fs::write(&path, "").expect("/dev/shm is writable");
    path
});

fuzz_target!(|text: &[u8]| {
    // Includes would read files of this machine, and no two runs would be alike.
    if text.windows(7).any(|word| word.eq_ignore_ascii_case(b"include")) {
        return;
    }
    std::fs::write(&*FILE, text).expect("/dev/shm is writable");
    let environment = [("HOME".to_owned(), "/home/tester".to_owned())];
    let Ok(loaded) = load(&FILE, &environment) else { return };
    dump(&loaded.config);
    let sockets = BTreeMap::from([("web".to_owned(), "7".to_owned())]);
    let context =
        SpawnContext { environment: &environment, sockets: &sockets, cwd: Path::new("/") };
    for watcher in &loaded.config.watchers {
        // A command that cannot be split is an error like any other.
        let _ = plan(watcher, 1, &context);
    }
});
