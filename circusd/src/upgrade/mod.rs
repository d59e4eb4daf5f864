//! circusd goes on as another program, in the same process.
//!
//! ```text
//!  old program                                       new program
//!  checked -> watchers let go -> exec -------------> way back armed -> adopts -> disarmed, answers
//!      ^                                                 |  any failure, a crash, or time is up
//!      +--- adopts again, answers with the reason <--- exec of the old program
//! ```
//!
//! [`candidate`] finds out whether a program can take over, [`handover`] is what one program says to the next
//! and the exec itself, [`progress`] is what commands are told.

pub mod candidate;
pub mod handover;
pub mod progress;
