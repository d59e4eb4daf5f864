//! Everything the kernel holds, as bytes that another version can read.
//!
//! ```text
//! magic "PAPAKRNL" | format u16 | payload length u64 | checksum u64 | payload (bincode)
//! ```
//!
//! Numbers in the header are little-endian. The payload is not self-describing: **any** change of
//! a struct is a new format with a file of its own (`v2.rs`) and a conversion from the one before;
//! a released file is never edited. A kernel reads every format it ships and writes the newest.
//! Processes and sockets are kept as the exact request line that makes them, whose grammar is
//! fixed by the protocol, so a new option needs no new format.
//!
//! Nothing here knows a live type. The golden files in `tests/snapshots` must load for ever.

mod encoding;
mod header;
mod memfd;
#[cfg(test)]
mod tests;
pub(crate) mod v1;

pub(crate) use encoding::{decode, decode_payload, encode};
pub(crate) use header::{FORMAT, SnapshotError};
pub(crate) use memfd::{read_sealed, write_sealed};
