//! Circus' documentation, "Circus as a library": an arbiter in a program that does nothing else.
//!
//! ```python
//! from circus import get_arbiter
//!
//! arbiter = get_arbiter([{"cmd": "sleep 30", "numprocesses": 4}])
//! try:
//!     arbiter.start()
//! finally:
//!     arbiter.stop()
//! ```
//!
//! `cargo run --example plain_main`, and `circusctl quit` to end it. Two more arguments are endpoints in place of
//! the usual ones.

use circusd::{Arbiter, ArbiterError, Watcher};

fn main() -> Result<(), ArbiterError> {
    let sleepers = Watcher::new("sleep", "sleep 30").numprocesses(4);
    let mut builder = Arbiter::builder().watcher(sleepers);
    let mut endpoints = std::env::args().skip(1);
    if let (Some(commands), Some(events)) = (endpoints.next(), endpoints.next()) {
        builder = builder.endpoint(commands).pubsub_endpoint(events).multicast_endpoint("");
    }
    builder.run()
}
