//! The command line clients of circusd.
#![forbid(unsafe_code)]
