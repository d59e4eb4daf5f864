//! The commands: one type per command with its arguments, its message and the text of its answer.
//!
//! Grouped by what the user wants. Texts on standard output are those of circusctl 0.17.2, to the
//! byte, because scripts read them.

mod admin;
mod call;
mod discover;
mod events;
mod generate;
mod inspect;
mod lifecycle;
mod listen;
mod option;
mod option_value;
mod scale;
mod signal;
mod stats;
mod tail;
mod tree;
mod upgrade;
mod why;

pub use call::Call;
pub use discover::Discover;
pub use events::Events;
pub use generate::{Generate, What};
pub use listen::Listen;
pub use option_value::OPTION_KEYS;
pub use tail::{OutputLine, Tail};
pub use tree::{Command, CommandKind};
pub use upgrade::{Begun, Upgrade};
pub use why::Why;
