//! Watchers: each keeps a number of processes of one command alive.

pub mod demand;
pub mod failing;
pub mod handle;
pub mod history;
pub mod intent;
pub mod keeping;
pub mod launch;
pub mod options;
pub mod pacing;
pub mod setting;
pub mod signalling;
pub mod state;
pub mod tally;
pub mod task;
pub mod vocabulary;
pub mod wid;
mod worker;
