//! What circusd logs where: options, configuration and Python's logger configurations. The log itself is
//! [`circusctl::logging`], which circusd shares with its helpers.

mod command_line;
mod control;
mod python_config;

pub use command_line::{CommandLine, LogError};
pub use control::{DaemonLog, start};
