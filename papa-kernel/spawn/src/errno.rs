//! How the protocol shows an error of the operating system: `[Errno 2] No such file or directory`.

use std::io;

/// Number and text, as papa's clients know them.
pub fn errno_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => {
            format!("[Errno {number}] {}", nix::errno::Errno::from_raw(number).desc())
        }
        None => error.to_string(),
    }
}
