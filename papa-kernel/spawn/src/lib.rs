//! The steps that have to be exact: from a description to a running process or a bound socket.
//!
//! Both daemons use this, so that a process starts the same way and with the same limits whether
//! circusd or the kernel starts it. All `unsafe` code of the workspace is here: in [`child`], which runs
//! between fork and exec, and in [`sys`], the raw calls. Keeps nothing, decides nothing, and waits for
//! nothing but a fork.

pub mod background;
pub mod child;
pub mod errno;
mod exit;
pub mod peer;
pub mod socket;
pub mod successor;
pub mod sys;
pub mod users;
