//! Going on as another program in the same process, with everything that the papa kernel holds.
//!
//! ```text
//!  old image                                         new image
//!  rehearsed -> fresh snapshot -> exec ------------> decode -> verify -> settle -> answer, serve
//!      ^                           | fails                 |  any failure, a panic or a crash
//!      |  answer with the reason <-+                       v
//!      +------- decode, verify, settle <------------ exec of the old image
//! ```
//!
//! A rehearsal does what can be done while the kernel serves; the rest takes a few milliseconds. What an
//! exec keeps needs nothing here: pid, children and zombies, directory, mask, limits, blocked and pending
//! signals.
//!
//! Knows of the kernel what [`Carried`] says and no more. The format of snapshots is here, see
//! [`snapshot`]; the types that are in them are the kernel's own.
#![forbid(unsafe_code)]

mod carried;
mod descriptor;
mod fault;
pub mod field;
mod hand_over;
mod message;
mod origin;
mod received;
mod refusal;
mod rehearsal;
pub mod snapshot;
mod take_over;

pub use carried::Carried;
pub use descriptor::{Descriptor, Kind};
pub use hand_over::hand_over;
pub use origin::Origin;
pub use received::{is_acceptable, stand_in};
pub use refusal::Refusal;
pub use rehearsal::{REHEARSE, Rehearsal, rehearse};
pub use take_over::{Answer, Guarded, Handover};
