//! The one place that looks again and again, for what makes no event that a test could wait for.

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Far above what is ever needed, so that a busy machine
/// fails no test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until there is a value.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The same for what is so or not.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    eventually(what, || is_so().then_some(()));
}
