//! The configuration: what the ini files say, typed and resolved.
//!
//! [`load`] reads the files, [`plan`] decides what one process of a watcher is executed with, [`dump`]
//! shows the result as JSON. Nothing here starts, opens or prints anything.

mod circus;
mod command_line;
mod defaults;
pub mod diff;
mod dump;
mod env;
mod expand;
#[cfg(test)]
mod golden_tests;
pub mod hook;
mod include;
mod ini;
mod json;
mod load;
pub mod model;
mod near_miss;
mod pattern;
mod plugin;
mod problem;
mod reader;
mod socket;
mod spawn;
mod spawn_names;
mod stored;
mod stream;
mod unserved;
mod values;
mod virtualenv;
mod watcher;

pub use command_line::{quote, split};
pub use dump::dump;
pub use ini::{Sections, sections};
pub use load::{Loaded, load, of_sections};
pub use plugin::watcher as plugin_watcher;
pub use problem::{ConfigErrors, Problem};
pub use spawn::{SpawnContext, SpawnPlan, SpawnPlanError, plan, variables};
pub use unserved::unserved;
