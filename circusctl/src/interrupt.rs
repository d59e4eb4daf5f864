//! Ctrl-C while a command of the interactive shell runs.
//!
//! A single command is ended by SIGINT like any program. The shell must live on, so it asks for the
//! signal to be noted; whoever waits then looks here when the wait is interrupted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static NOTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Notes SIGINT from now on instead of being ended by it. If that fails, it goes on ending us.
pub fn note() {
    let flag = NOTED.get_or_init(Arc::default);
    let _ = signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(flag));
}

/// Whether there was a SIGINT since the last [`forget`]. Everything that waits then gives up, whatever it
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
