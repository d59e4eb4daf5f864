//! The log as a changed configuration changes it.

use super::command_line::{CommandLine, LogError};
use crate::config::model::CircusConfig;
use circusctl::logging::{self, Control, Ready};

/// The daemon's log; clones share it.
#[derive(Clone)]
pub struct DaemonLog {
    /// The running log.
    pub control: Control,
    command_line: CommandLine,
}

/// Starts the log. Once in a process.
///
/// # Errors
/// [`LogError`] names what cannot be used.
pub fn start(command_line: CommandLine, circus: &CircusConfig) -> Result<DaemonLog, LogError> {
    let control = logging::start(command_line.settings(circus)?)?;
    Ok(DaemonLog { control, command_line })
}

impl DaemonLog {
    /// Whether a file beside the configuration says what is logged, which may have changed by itself.
    pub fn has_own_file(&self, circus: &CircusConfig) -> bool {
        self.command_line.config.is_some() || circus.loggerconfig.is_some()
    }

    /// Opens what a changed configuration asks for; the command line still goes first. Blocks.
    ///
    /// # Errors
    /// [`LogError`]; the log goes on as it is.
    pub fn prepare(&self, circus: &CircusConfig) -> Result<Ready, LogError> {
        Ok(Ready::open(self.command_line.settings(circus)?)?)
    }
}
