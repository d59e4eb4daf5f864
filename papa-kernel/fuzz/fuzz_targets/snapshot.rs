//! Decodes whatever it gets as a snapshot, and what can be decoded is encoded and decoded again.
//!
//! `cargo +nightly fuzz run snapshot`, or with a stable compiler as `fuzz/README.md` says.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    papa_kernel::snapshot_is_readable(payload);
});
