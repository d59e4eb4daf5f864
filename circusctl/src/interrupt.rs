//! Ctrl-C while a command of the interactive shell runs, and the end of a plugin while it waits for circusd.
//!
//! A single command is ended by SIGINT like any program. The shell must live on, and a plugin must put things
//! in order, so they ask for signals to be noted; whoever waits then looks here when the wait is interrupted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static NOTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Notes SIGINT from now on instead of being ended by it. If that fails, it goes on ending us.
pub fn note() {
    note_signal(signal_hook::consts::SIGINT);
}

/// Notes this signal in the same way.
pub fn note_signal(signal: i32) {
    let flag = NOTED.get_or_init(Arc::default);
    let _ = signal_hook::flag::register(signal, Arc::clone(flag));
}

/// Whether there was such a signal since the last [`forget`]. Everything that waits then gives up, whatever it
/// waits for and for whom.
pub fn pending() -> bool {
    NOTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Forgets a SIGINT, before something new is begun.
pub fn forget() {
    if let Some(flag) = NOTED.get() {
        flag.store(false, Ordering::Relaxed);
    }
}
