//! Loads whatever it gets as a configuration file, shows it as JSON and decides what each of its watchers
//! would execute.
//!
//! `cargo +nightly fuzz run ini`, or with a stable compiler as `fuzz/README.md` says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
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
    circusd::fuzz::configuration(&FILE);
});
