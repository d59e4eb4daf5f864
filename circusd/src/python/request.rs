//! The way of a hook's request to those who can carry it out.

use super::message::Wish;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

/// Requests of all helpers together that may wait to be taken up.
pub const QUEUE: usize = 64;

/// A request and where its answer goes.
pub struct Request {
    /// What is wanted.
    pub wish: Wish,
    /// The value, or why there is none.
    pub reply: oneshot::Sender<Result<Value, String>>,
}

/// Where helpers hand their requests in.
pub type Requests = mpsc::Sender<Request>;
