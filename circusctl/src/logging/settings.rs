//! What is logged where.

use super::format::Format;
use super::syslog::Address;
use std::io;
use tracing_subscriber::filter::LevelFilter;

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// An output cannot be opened.
    #[error("cannot open the log `{target}`: {source}")]
    Open {
        /// The file or address.
        target: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A syslog URL.
    #[error(
        "log output `{0}` cannot be used; write syslog://HOST[:PORT]?FACILITY or \
             syslog:///PATH?FACILITY"
    )]
    Syslog(String),
    /// The log is already set up, or there is no thread for it.
    #[error("the log cannot be started: {0}")]
    Start(String),
}

/// The levels of the original, the least important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Decisions.
    Debug,
    /// What an operator would ask for.
    Info,
    /// We coped.
    Warning,
    /// Somebody must act.
    Error,
    /// Nothing of ours is as important as this.
    Critical,
}

impl Level {
    /// Reads a name in any case.
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "debug" => Some(Self::Debug),
            "info" => Some(Self::Info),
            "warning" | "warn" => Some(Self::Warning),
            "error" => Some(Self::Error),
            "critical" | "fatal" => Some(Self::Critical),
            _ => None,
        }
    }

    /// The name in a line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }

    /// The number Python has for it.
    pub fn number(self) -> i64 {
        match self {
            Self::Debug => 10,
            Self::Info => 20,
            Self::Warning => 30,
            Self::Error => 40,
            Self::Critical => 50,
        }
    }
}

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file that is appended to.
    File(String),
    /// A syslog daemon.
    Syslog(Address),
}

/// One output with its own level and form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// Where messages go.
    pub target: Target,
    /// The least important messages that go there.
    pub level: Level,
    /// What a message looks like there.
    pub format: Format,
}

/// All outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Every message goes to each whose level allows it.
    pub handlers: Vec<Handler>,
}

impl Settings {
    /// One output by the names of the options: a file, `-` or `stdout` for standard error, or a syslog URL. An
    /// unknown level counts as info. All of it is so in the original.
    ///
    /// # Errors
    /// [`LogError::Syslog`].
    pub fn plain(level: &str, output: &str) -> Result<Self, LogError> {
        let level = Level::parse(level).unwrap_or(Level::Info);
        let (target, format) = match output {
            "-" | "stdout" => (Target::Stderr, Format::default()),
            url if url.starts_with("syslog:") => {
                let address =
                    Address::parse(url).ok_or_else(|| LogError::Syslog(url.to_owned()))?;
                (Target::Syslog(address), Format::syslog())
            }
            file => (Target::File(file.to_owned()), Format::default()),
        };
        Ok(Self { handlers: vec![Handler { target, level, format }] })
    }

    /// The least important messages that anybody wants.
    pub(super) fn filter(&self) -> LevelFilter {
        match self.handlers.iter().map(|handler| handler.level).min() {
            Some(Level::Debug) => LevelFilter::DEBUG,
            Some(Level::Info) => LevelFilter::INFO,
            Some(Level::Warning) => LevelFilter::WARN,
            Some(Level::Error) => LevelFilter::ERROR,
            Some(Level::Critical) | None => LevelFilter::OFF,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_named_as_in_the_original() {
        let of = |level, output| Settings::plain(level, output).unwrap().handlers.remove(0);
        for name in ["-", "stdout"] {
            assert_eq!(of("warning", name).target, Target::Stderr);
        }
        let handler = of("ERROR", "out.log");
        assert_eq!((handler.target, handler.level), (Target::File("out.log".into()), Level::Error));
        assert_eq!(of("loud", "-").level, Level::Info, "as in the original");
        let address = Address::parse("syslog:///dev/log?daemon").unwrap();
        assert_eq!(of("info", "syslog:///dev/log?daemon").target, Target::Syslog(address));
        assert!(matches!(Settings::plain("info", "syslog:/x"), Err(LogError::Syslog(_))));
    }
}
