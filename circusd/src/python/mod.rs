//! Users' Python: hooks and stream classes, in a helper process beside each watcher that has some.
//!
//! [`interpreter`] says which Python runs it, [`session`] is the process with its socket, [`message`] what
//! passes over it, [`owner`] the task that owns it, [`host`] the handle on that, [`stream`] the way of output to it.
//! The Python side is `host.py`. [`package`] is the Python package `circus` that we bring along.

pub mod host;
pub mod interpreter;
pub mod message;
mod owner;
pub mod package;
pub mod request;
pub mod session;
pub mod stream;
