//! Reads whatever it gets as a request of a client. What is one is printed and read again, and its command
//! and properties are checked as before it is carried out.
//!
//! `cargo +nightly fuzz run request`, or with a stable compiler as `fuzz/README.md` says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::circus::command::Command;
use protocol::circus::request::Request;

fuzz_target!(|message: &[u8]| {
    let Ok(request) = Request::parse(message) else { return };
    let again = Request::parse(&request.to_bytes());
    assert_eq!(again.as_ref(), Ok(&request), "what is printed parses back");
    // An error is a reply like any other; only a panic is not.
    let _ = Command::parse(&request);
});
