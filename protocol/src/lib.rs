//! The wire formats that the programs of this workspace speak.
//!
//! Bytes in, values out, and back. Nothing here opens a socket, reads a clock or knows a process,
//! so that the daemons, the clients and the tests share one definition of every format.
#![forbid(unsafe_code)]

#[cfg(feature = "circus")]
pub mod circus;
pub mod papa;
pub mod signal;
