//! Faults that tests ask for, to see that an upgrade survives them. Absent from release builds.

use crate::refusal::Refusal;

/// Whether `PAPA_TEST_FAULT` names this one.
fn is_asked_for(fault: &str) -> bool {
    cfg!(debug_assertions) && std::env::var_os("PAPA_TEST_FAULT").is_some_and(|name| name == fault)
}

pub(crate) fn in_rehearsal() {
    if is_asked_for("rehearsal-crash") {
        std::process::abort();
    }
    while is_asked_for("rehearsal-hang") {
        std::thread::park();
    }
}

pub(crate) fn in_exec() -> std::io::Result<()> {
    let error =
        is_asked_for("exec-error").then(|| std::io::Error::from_raw_os_error(libc::ENOEXEC));
    error.map_or(Ok(()), Err)
}

pub(crate) fn in_takeover() -> Result<(), Refusal> {
    assert!(!is_asked_for("takeover-panic"), "a test asked for it");
    if is_asked_for("takeover-abort") {
        std::process::abort();
    }
    if is_asked_for("takeover-segv") {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSEGV);
    }
    let error = is_asked_for("takeover-error").then(|| Refusal::new("a test asked for it"));
    error.map_or(Ok(()), Err)
}
