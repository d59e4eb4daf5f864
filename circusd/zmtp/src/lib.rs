//! The serving side of ZeroMQ's wire protocol, ZMTP, on the caller's event loop: a [`Router`] for requests and
//! a [`Publisher`] for events. It knows frames and connections, and nothing about Circus.
//!
//! libzmq moves each message between its thread and ours, which costs a request more than all that circusd
//! does for it, and leaves it waiting twice more for a processor on a busy machine. Only what a server of
//! requests and events needs is here: it listens and never connects, over `tcp://` and `ipc://`, without
//! encryption, and speaks ZMTP 3.1, 3.0 (rfc.zeromq.org/spec/37 and /23) and 2.0 (/15: libzmq 3). Our own
//! clients use libzmq, so that each of them is a test of this.
//!
//! Everything that clients can make us hold is bounded: connections, unfinished messages of each and of all together,
//! subscriptions, and what waits for a client that does not read.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly"))]

mod allowance;
mod connection;
mod connections;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod handshake;
mod listener;
mod outgoing;
mod publisher;
mod router;
mod stream;
mod subscriptions;

pub use listener::{BindError, Listener};
pub use publisher::Publisher;
pub use router::{Client, Incoming, Router};
