//! The JSON messages that circusd and its clients exchange over ZeroMQ.

pub mod command;
pub mod errno;
pub mod event;
pub mod follow;
pub mod option;
mod properties;
pub mod request;
pub mod response;
