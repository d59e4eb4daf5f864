//! What other programs use: an arbiter of their own, without circusd.
//!
//! `section` says what there is to be, `builder` puts it together, `thread` runs it on a thread of its own, and
//! `arbiter` and `events` are what the program holds. Everything else in this crate is below and not public.

mod arbiter;
mod builder;
mod error;
mod events;
mod executor;
mod section;
mod thread;

pub use crate::watcher::vocabulary::Status;
pub use arbiter::{Arbiter, WatcherState};
pub use builder::ArbiterBuilder;
pub use error::{ArbiterError, CommandError, OptionErrors};
pub use events::{Event, Events};
pub use executor::block_on;
pub use section::{Plugin, Socket, Watcher};
