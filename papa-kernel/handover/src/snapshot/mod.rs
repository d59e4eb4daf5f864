//! Everything the kernel holds, as bytes that another version can read.
//!
//! ```text
//! magic "PAPAKRNL" | format u16 | payload length u64 | checksum u64 | payload (bincode)
//! ```
//!
//! Numbers in the header are little-endian. The payload is not self-describing: it is the fields of
//! the kernel's `State` and all that it holds, in the order in which they stand there. So the newest
//! format needs no types of its own, and **any** change of a field that is kept is a new format: the
//! types as they were move to a file here (`v1.rs`), with a conversion to those that took their place.
//! A kernel reads every format it ships and writes the newest. [`crate::field`] has the fields whose form is
//! not that of their type. Processes and sockets are kept as the exact request line that makes them,
//! whose grammar is fixed by the protocol, so a new option needs no new format.
//!
//! Nothing here knows a live type. The golden files in `papa-kernel/tests/snapshots` must load for ever, and as
//! long as their format is the newest they are written the same to the byte.

mod encoding;
mod header;

pub use encoding::{decode, decode_payload, encode};
pub(crate) use header::LARGEST;
pub use header::{FORMAT, SnapshotError};
