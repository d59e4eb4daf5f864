//! Users' Python: hooks run in a helper process beside each watcher that has some.
//!
//! [`interpreter`] says which Python runs it, [`session`] is the process with its socket, [`message`] what
//! passes over it, [`host`] the task that owns it. The Python side is `host.py`.

pub mod host;
pub mod interpreter;
pub mod message;
pub mod request;
pub mod session;
