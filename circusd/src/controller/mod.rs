//! The command socket: requests in, replies and events out.

pub mod configure;
pub mod discovery;
pub mod dispatch;
pub mod hook_requests;
pub mod matching;
pub mod observe;
pub mod operate;
pub mod outbox;
pub mod report;
pub mod task;
pub mod upgrade;
pub mod wire;
