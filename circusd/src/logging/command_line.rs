//! From options and configuration to settings.
//!
//! The command line goes before the file. A `loggerconfig` replaces level and output completely.

use super::python_config;
use crate::config::model::CircusConfig;
use circusctl::logging::Settings;

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Level or output.
    #[error(transparent)]
    Log(#[from] circusctl::logging::LogError),
    /// The name of a logger configuration.
    #[error(
        "logger configuration file `{0}` is not in one of the recognized formats; the file name should \
         be *.ini, *.json or *.yaml"
    )]
    UnknownFormat(String),
    /// A logger configuration.
    #[error("logger configuration file `{path}`: {problem}")]
    Config {
        /// The file.
        path: String,
        /// What is wrong with it and what to do.
        problem: String,
    },
}

/// The options of the command line, which go before the file.
#[derive(Debug, Clone, Default)]
pub struct CommandLine {
    /// `--log-level`.
    pub level: Option<String>,
    /// `--log-output`.
    pub output: Option<String>,
    /// `--logger-config`.
    pub config: Option<String>,
}

impl CommandLine {
    /// What is to be logged where. Reads the logger configuration, if there is one.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn settings(&self, circus: &CircusConfig) -> Result<Settings, LogError> {
        let config = self.config.as_ref().or(circus.loggerconfig.as_ref());
        if let Some(path) = config.filter(|path| !path.eq_ignore_ascii_case("default")) {
            return python_config::read(path);
        }
        let level = self.level.as_ref().or(circus.loglevel.as_ref());
        let output = self.output.as_ref().or(circus.logoutput.as_ref());
        let or =
            |value: Option<&String>, default: &str| value.map_or(default.to_owned(), Clone::clone);
        Ok(Settings::plain(&or(level, "info"), &or(output, "-"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use circusctl::logging::{Level, Target};

    #[test]
    fn the_command_line_goes_before_the_file() {
        let circus = CircusConfig {
            loglevel: Some("warning".into()),
            logoutput: Some("out.log".into()),
            ..CircusConfig::default()
        };
        let settings = CommandLine::default().settings(&circus).unwrap();
        let [handler] = settings.handlers.as_slice() else { panic!("one") };
        assert_eq!(
            (&handler.target, handler.level),
            (&Target::File("out.log".into()), Level::Warning)
        );
        let line = CommandLine {
            level: Some("DEBUG".into()),
            output: Some("-".into()),
            config: Some("default".into()),
        };
        let settings = line.settings(&circus).unwrap();
        let [handler] = settings.handlers.as_slice() else { panic!("one") };
        assert_eq!((&handler.target, handler.level), (&Target::Stderr, Level::Debug));
    }

    #[test]
    fn an_unknown_kind_of_file_is_refused() {
        let line = CommandLine { config: Some("log.toml".into()), ..CommandLine::default() };
        let error = line.settings(&CircusConfig::default()).unwrap_err();
        assert!(error.to_string().contains("*.ini, *.json or *.yaml"), "{error}");
    }
}
