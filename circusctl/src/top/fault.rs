//! Faults that tests ask for, to see that the terminal survives them. Absent from release builds.

/// The variable that names the place of the fault.
#[cfg(debug_assertions)]
const FAULT_VARIABLE: &str = "CIRCUS_TOP_TEST_FAULT";

/// Panics if a test wants this place to: `draw` or `feed`.
pub(super) fn at(place: &str) {
    #[cfg(debug_assertions)]
    if std::env::var(FAULT_VARIABLE).as_deref() == Ok(place) {
        panicking();
    }
    #[cfg(not(debug_assertions))]
    let _ = place;
}

#[cfg(debug_assertions)]
#[expect(clippy::panic, reason = "asked for by a test")]
fn panicking() {
    panic!("a test asked for it")
}
