//! Faults that tests ask for, to see that an upgrade survives them. Absent from release builds.

/// The variable that names the fault.
#[cfg(debug_assertions)]
const FAULT_VARIABLE: &str = "PAPA_TEST_FAULT";

/// `rehearsal-crash` and `rehearsal-hang`.
pub(super) fn in_rehearsal() {
    #[cfg(debug_assertions)]
    match std::env::var(FAULT_VARIABLE).as_deref() {
        Ok("rehearsal-crash") => std::process::abort(),
        Ok("rehearsal-hang") => loop {
            std::thread::park();
        },
        _ => {}
    }
}

/// `exec-error`.
#[cfg_attr(not(debug_assertions), expect(clippy::unnecessary_wraps, reason = "no faults here"))]
pub(super) fn in_exec() -> std::io::Result<()> {
    #[cfg(debug_assertions)]
    if std::env::var(FAULT_VARIABLE).as_deref() == Ok("exec-error") {
        return Err(std::io::Error::from_raw_os_error(libc::ENOEXEC));
    }
    Ok(())
}

/// `takeover-error`, `takeover-panic`, `takeover-abort` and `takeover-segv`.
#[cfg_attr(not(debug_assertions), expect(clippy::unnecessary_wraps, reason = "no faults here"))]
pub(super) fn in_takeover() -> Result<(), String> {
    #[cfg(debug_assertions)]
    match std::env::var(FAULT_VARIABLE).as_deref() {
        Ok("takeover-error") => return Err("a test asked for it".to_owned()),
        Ok("takeover-panic") => panicking(),
        Ok("takeover-abort") => std::process::abort(),
        Ok("takeover-segv") => {
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSEGV);
        }
        _ => {}
    }
    Ok(())
}

#[cfg(debug_assertions)]
#[expect(clippy::panic, reason = "asked for by a test")]
fn panicking() -> ! {
    panic!("a test asked for it")
}
