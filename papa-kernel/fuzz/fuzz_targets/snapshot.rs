//! Decodes whatever it gets as a snapshot; what can be decoded is checked as before a takeover, and
//! encoded again.
//!
//! `cargo +nightly fuzz run snapshot`, or with a stable compiler as `fuzz/README.md` says.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    papa_kernel::is_acceptable_snapshot(payload);
});
