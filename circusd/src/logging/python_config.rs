//! `loggerconfig`: the files of Python's `logging.config`, as far as they say level, format, file, stream and
//! syslog. What this daemon cannot do is an error that names it.
//!
//! Messages are those of the logger `circus`. A file that does not name it silences the original; here the
//! handlers of the root logger get them.

mod dict;
mod ini;
mod literal;

use super::command_line::LogError;
use circusctl::logging::{Address, Format, Handler, Level, NAME, Settings, Target, facility_code};
use serde_json::Value;
use std::collections::BTreeMap;

/// The longest file that is read, in bytes.
const LONGEST: u64 = 1024 * 1024;

/// Reads a logger configuration; its name says how it is written.
///
/// # Errors
/// [`LogError`] names the file, the part and what to do.
pub(super) fn read(path: &str) -> Result<Settings, LogError> {
    let ending = path.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let parse = match ending.as_deref() {
        Some("ini") => ini::parse,
        Some("json") => dict::parse_json,
        Some("yaml" | "yml") => dict::parse_yaml,
        _ => return Err(LogError::UnknownFormat(path.to_owned())),
    };
    let wrong = |problem: String| LogError::Config { path: path.to_owned(), problem };
    let size = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if size > LONGEST {
        return Err(wrong(format!("is longer than {LONGEST} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    parse(&text).and_then(|parts| parts.settings()).map_err(wrong)
}

/// What either kind of file says.
#[derive(Debug, Default)]
struct Parts {
    formats: BTreeMap<String, Format>,
    handlers: BTreeMap<String, RawHandler>,
    root: Logger,
    circus: Option<Logger>,
}

/// A handler before its format is looked up. No target: its messages are thrown away.
#[derive(Debug)]
struct RawHandler {
    target: Option<Target>,
    level: Option<Level>,
    format: Option<String>,
}

#[derive(Debug, Default)]
struct Logger {
    level: Option<Level>,
    handlers: Vec<String>,
    stays_here: bool,
}

impl Parts {
    fn settings(self) -> Result<Settings, String> {
        let own = self.circus.unwrap_or_default();
        // Python's root logger is at warning when nothing is said.
        let level = own.level.or(self.root.level).unwrap_or(Level::Warning);
        let mut names = own.handlers;
        if !own.stays_here {
            names.extend(self.root.handlers);
        }
        if names.is_empty() {
            return Err(format!("neither the logger `{NAME}` nor the root logger has a handler"));
        }
        let mut handlers = Vec::new();
        for name in names {
            let raw = self
                .handlers
                .get(&name)
                .ok_or_else(|| format!("the handler `{name}` is used and not described"))?;
            let Some(target) = raw.target.clone() else { continue };
            let format =
                match &raw.format {
                    None => Format::parse(None, None)?,
                    Some(name) => self.formats.get(name).cloned().ok_or_else(|| {
                        format!("the formatter `{name}` is used and not described")
                    })?,
                };
            let level = raw.level.map_or(level, |own| own.max(level));
            handlers.push(Handler { target, level, format });
        }
        Ok(Settings { handlers })
    }
}

/// A level by name or by Python's number; `NOTSET` is none.
fn level(value: &Value) -> Result<Option<Level>, String> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::String(text) => match text.trim().parse::<i64>() {
            Ok(number) => Some(number),
            Err(_) if text.trim().is_empty() || text.trim() == "NOTSET" => return Ok(None),
            Err(_) => None,
        },
        other => other.as_i64(),
    };
    let found = match number {
        Some(0) => return Ok(None),
        Some(number) => {
            let all = [Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Critical];
            all.into_iter().find(|level| level.number() >= number)
        }
        None => value.as_str().and_then(Level::parse),
    };
    found.map(Some).ok_or_else(|| format!("{value} is not a level"))
}

/// The last part of a Python class name, when it is one of `logging`.
fn class_name(class: &str) -> &str {
    let class = class.strip_prefix("logging.").unwrap_or(class);
    class.strip_prefix("handlers.").unwrap_or(class)
}

/// Why a handler cannot be had.
fn unknown_class(name: &str, class: &str) -> String {
    format!(
        "handler `{name}`: the class `{class}` is not supported; use StreamHandler, FileHandler, \
         WatchedFileHandler, SysLogHandler or NullHandler"
    )
}

fn stream(name: &str, stream: Option<&str>) -> Result<Target, String> {
    match stream {
        None | Some("sys.stderr") => Ok(Target::Stderr),
        Some("sys.stdout") => Ok(Target::Stdout),
        Some(other) => Err(format!(
            "handler `{name}`: the stream `{other}` is not supported; use sys.stdout or sys.stderr"
        )),
    }
}

fn file(name: &str, path: Option<&str>, mode: Option<&str>) -> Result<Target, String> {
    match mode {
        None | Some("a" | "a+") => {}
        Some(mode) => {
            return Err(format!(
                "handler `{name}`: the mode `{mode}` is not supported; files are appended to"
            ));
        }
    }
    let path = path.ok_or_else(|| format!("handler `{name}`: the name of the file is missing"))?;
    Ok(Target::File(path.to_owned()))
}

/// A syslog daemon: a path, or host and port; the facility by name, by code or as Python's constant.
fn syslog(name: &str, address: &Value, facility: &Value) -> Result<Target, String> {
    let unusable =
        |what: &str, value: &Value| format!("handler `{name}`: {what} {value} is not usable");
    let code = match facility {
        Value::Null => facility_code("user"),
        Value::String(text) => {
            let constant = text.rsplit('.').next().unwrap_or(text);
            facility_code(constant.strip_prefix("LOG_").unwrap_or(constant))
        }
        other => other.as_u64().and_then(|code| u8::try_from(code).ok()).filter(|code| *code < 24),
    };
    let code = code.ok_or_else(|| unusable("the facility", facility))?;
    let found = match address {
        Value::Null => Address::udp("localhost", 514, code),
        Value::String(path) if path.starts_with('/') => Some(Address::unix(path, code)),
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(host), port] => {
                let port = port.as_u64().and_then(|port| u16::try_from(port).ok());
                port.and_then(|port| Address::udp(host, port, code))
            }
            _ => None,
        },
        _ => None,
    };
    found.map(Target::Syslog).ok_or_else(|| unusable("the address", address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(name: &str, text: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(path.to_str().unwrap()).map_err(|error| error.to_string())
    }

    const INI: &str = "[loggers]\nkeys=root,circus\n[handlers]\nkeys=f,s\n[formatters]\nkeys=short\n\
        [logger_root]\nlevel=DEBUG\nhandlers=f\n\
        [logger_circus]\nlevel=INFO\nhandlers=s\nqualname=circus\npropagate=1\n\
        [handler_f]\nclass=FileHandler\nlevel=ERROR\nformatter=short\nargs=('/var/log/circus.log', 'a')\n\
        [handler_s]\nclass=handlers.SysLogHandler\nargs=(('localhost', 514), handlers.SysLogHandler.LOG_LOCAL3)\n\
        [formatter_short]\nformat=%(levelname)1.1s %(message)s\ndatefmt=\n";

    const JSON: &str = r#"{"version": 1, "disable_existing_loggers": false,
        "formatters": {"short": {"format": "%(levelname)1.1s %(message)s"}},
        "handlers": {
            "f": {"class": "logging.FileHandler", "level": "ERROR", "formatter": "short",
                  "filename": "/var/log/circus.log"},
            "s": {"class": "logging.handlers.SysLogHandler", "address": ["localhost", 514],
                  "facility": "local3"}},
        "root": {"level": "DEBUG", "handlers": ["f"]},
        "loggers": {"circus": {"level": "INFO", "handlers": ["s"], "propagate": true}}}"#;

    const YAML: &str = "version: 1\nformatters:\n  short:\n    format: '%(levelname)1.1s %(message)s'\n\
        handlers:\n  f:\n    class: logging.FileHandler\n    level: ERROR\n    formatter: short\n    \
        filename: /var/log/circus.log\n  s:\n    class: logging.handlers.SysLogHandler\n    \
        address: [localhost, 514]\n    facility: local3\n\
        root:\n  level: DEBUG\n  handlers: [f]\n\
        loggers:\n  circus:\n    level: INFO\n    handlers: [s]\n";

    #[test]
    fn the_three_kinds_of_files_say_the_same() {
        let short = Format::parse(Some("%(levelname)1.1s %(message)s"), None).unwrap();
        let address = Address::udp("localhost", 514, 19).unwrap();
        let expected = Settings {
            handlers: vec![
                Handler {
                    target: Target::Syslog(address),
                    level: Level::Info,
                    format: Format::parse(None, None).unwrap(),
                },
                Handler {
                    target: Target::File("/var/log/circus.log".into()),
                    level: Level::Error,
                    format: short,
                },
            ],
        };
        assert_eq!(read_text("log.ini", INI), Ok(expected.clone()));
        assert_eq!(read_text("log.json", JSON), Ok(expected.clone()));
        assert_eq!(read_text("log.yaml", YAML), Ok(expected));
    }

    #[test]
    fn without_a_logger_of_our_own_the_root_logger_counts() {
        let text = r#"{"version": 1, "handlers": {"c": {"class": "logging.StreamHandler",
            "stream": "ext://sys.stdout"}}, "root": {"handlers": ["c"], "level": "INFO"}}"#;
        let settings = read_text("log.json", text).unwrap();
        assert_eq!(settings.handlers[0].target, Target::Stdout);
        assert_eq!(settings.handlers[0].level, Level::Info);
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let handler = |class: &str| {
            format!(
                r#"{{"version": 1, "handlers": {{"h": {{"class": "{class}"}}}},
                "root": {{"handlers": ["h"]}}}}"#
            )
        };
        for (name, text, part) in [
            ("a.json", handler("my.Handler"), "the class `my.Handler` is not supported"),
            ("a.json", handler("logging.handlers.RotatingFileHandler"), "RotatingFileHandler"),
            ("a.json", handler("logging.FileHandler"), "the name of the file is missing"),
            ("a.json", "{".to_owned(), "line 1"),
            ("a.json", "{}".to_owned(), "has a handler"),
            ("a.yaml", "a: [".to_owned(), "line"),
            ("a.ini", INI.replace("[logger_root]", "[logger_other]"), "[logger_root]"),
            ("a.ini", INI.replace("'a')", "'w')"), "the mode `w`"),
            ("a.ini", INI.replace("%(message)s", "%(lineno)d"), "lineno"),
            ("a.ini", INI.replace("LOG_LOCAL3)", "LOG_LOCAL3"), "args"),
            ("a.ini", INI.replace("level=DEBUG", "level=LOUD"), "is not a level"),
        ] {
            let error = read_text(name, &text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
