//! Feeds whatever it gets to what reads the bytes of a client, as those of a requester and of a subscriber, in small
//! pieces: greeting, handshake, frames, commands, subscriptions.
//!
//! `cargo +nightly fuzz run zmtp`, or with a stable compiler as `fuzz/README.md` says.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|sent: &[u8]| {
    zmtp::fuzz::feed(sent, false);
    zmtp::fuzz::feed(sent, true);
});
