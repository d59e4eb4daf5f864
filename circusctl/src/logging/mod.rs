//! The log of circusd and of the programs it runs: `2026-11-23 19:38:44 circus[PID] [LEVEL] text`, as existing
//! log readers expect it.
//!
//! Messages go from `layer` through a bounded queue to one thread (`control`), which owns the outputs. So a
//! full disk or a terminal that nobody reads holds up the log and nothing else.

mod control;
mod format;
mod layer;
mod output;
mod settings;
mod syslog;

pub use control::{Control, Ready, start};
pub use format::{Format, NAME};
pub use settings::{Handler, Level, LogError, Settings, Target};
pub use syslog::{Address, facility_code};
