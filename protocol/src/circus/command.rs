//! The commands of circusd, typed: what a [`Request`] asks for, with its properties checked.
//!
//! The checks, their order and their texts are those measured on circus 0.17.2; where it answers with an
//! internal error of its own, this gives errno 3 and a sentence.

use super::errno::Errno;
use super::request::Request;
use super::response::Failure;
use crate::signal::Signal;
use serde_json::{Map, Value};

/// How a name selects watchers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MatchMethod {
    /// Exactly that name, without regard to case.
    Simple,
    /// A shell pattern.
    #[default]
    Glob,
    /// A regular expression, anchored at the start.
    Regex,
}

/// Which watchers `start`, `stop` and `restart` mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every watcher.
    All,
    /// Those that match.
    Named {
        /// The name or pattern as given.
        name: String,
        /// How to read it.
        method: MatchMethod,
    },
}

/// What `stats` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatsTarget {
    /// Every watcher.
    All,
    /// One watcher.
    Watcher(String),
    /// One process of a watcher.
    Process {
        /// The watcher.
        name: String,
        /// The pid.
        pid: i32,
        /// The pid as the client wrote it; the reply echoes it.
        given: Value,
    },
}

/// Which processes `signal` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalTarget {
    /// The watcher.
    pub name: String,
    /// Only this process.
    pub pid: Option<i32>,
    /// Only this child of `pid`.
    pub child: Option<i32>,
    /// The children instead of the process.
    pub children: bool,
    /// The process and all its descendants.
    pub recursive: bool,
}

/// A checked command.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Names of watchers, or pids of one.
    List(Option<String>),
    /// States.
    Status(Option<String>),
    /// Number of watchers.
    NumWatchers,
    /// Number of processes.
    NumProcesses(Option<String>),
    /// Change the number of processes.
    Resize {
        /// The watcher.
        name: String,
        /// How many more; negative for fewer.
        change: i64,
        /// Answer when it is done.
        waiting: bool,
    },
    /// Start watchers.
    Start {
        /// Which.
        selection: Selection,
        /// Answer when it is done.
        waiting: bool,
    },
    /// Stop watchers.
    Stop {
        /// Which.
        selection: Selection,
        /// Answer when it is done.
        waiting: bool,
    },
    /// Stop and start watchers.
    Restart {
        /// Which.
        selection: Selection,
        /// Answer when it is done.
        waiting: bool,
    },
    /// Send a signal.
    Signal {
        /// The signal.
        signal: Signal,
        /// To whom.
        target: SignalTarget,
    },
    /// CPU and memory of processes.
    Stats(StatsTarget),
    /// CPU and memory of circusd.
    DStats,
    /// End the daemon.
    Quit {
        /// Answer when everything has ended.
        waiting: bool,
    },
    /// The managed sockets.
    ListSockets,
    /// All options of a watcher.
    Options(String),
    /// Some options of a watcher.
    Get {
        /// The watcher.
        name: String,
        /// The keys.
        keys: Vec<String>,
    },
    /// Endpoints and the like.
    GlobalOptions(Option<String>),
}

impl Command {
    /// Checks a request.
    ///
    /// # Errors
    /// errno 2 for an unknown command, errno 3 for a property that is missing or wrong.
    pub fn parse(request: &Request) -> Result<Self, Failure> {
        let properties = Properties(&request.properties);
        let command = match request.command.to_lowercase().as_str() {
            "list" => Self::List(properties.optional_name()?),
            "status" => Self::Status(properties.optional_name()?),
            "numwatchers" => Self::NumWatchers,
            "numprocesses" => Self::NumProcesses(properties.optional_name()?),
            "incr" => properties.resize(1)?,
            "decr" => properties.resize(-1)?,
            "start" => {
                Self::Start { selection: properties.selection()?, waiting: properties.waiting() }
            }
            "stop" => {
                Self::Stop { selection: properties.selection()?, waiting: properties.waiting() }
            }
            "restart" => {
                Self::Restart { selection: properties.selection()?, waiting: properties.waiting() }
            }
            "signal" => properties.signal()?,
            "stats" => Self::Stats(properties.stats()?),
            "dstats" => Self::DStats,
            "quit" => Self::Quit { waiting: properties.waiting() },
            "listsockets" => Self::ListSockets,
            "options" => Self::Options(properties.name()?),
            "get" => Self::Get { name: properties.name()?, keys: properties.keys()? },
            "globaloptions" => Self::GlobalOptions(properties.global_option()?),
            "listen" => return Err(invalid("invalid message. use a pub/sub socket")),
            _ => {
                let reason = format!("unknown command: {}", python_repr(&request.command));
                return Err(Failure::new(Errno::UnknownCommand, reason));
            }
        };
        Ok(command)
    }
}

struct Properties<'a>(&'a Map<String, Value>);

impl Properties<'_> {
    fn required(&self, key: &str) -> Result<&Value, Failure> {
        self.0.get(key).ok_or_else(|| Failure::missing(key))
    }

    fn name(&self) -> Result<String, Failure> {
        text("name", self.required("name")?)
    }

    fn optional_name(&self) -> Result<Option<String>, Failure> {
        match self.0.get("name") {
            None | Some(Value::Null) => Ok(None),
            Some(value) => text("name", value).map(Some),
        }
    }

    /// Any value that Python counts as true.
    fn flag(&self, key: &str) -> bool {
        match self.0.get(key) {
            None | Some(Value::Null) => false,
            Some(Value::Bool(value)) => *value,
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::Object(keys)) => !keys.is_empty(),
        }
    }

    fn waiting(&self) -> bool {
        self.flag("waiting")
    }

    fn selection(&self) -> Result<Selection, Failure> {
        let Some(name) = self.optional_name()? else { return Ok(Selection::All) };
        let method = match self.0.get("match") {
            None | Some(Value::Null) => MatchMethod::default(),
            Some(Value::String(method)) => match method.as_str() {
                "simple" => MatchMethod::Simple,
                "glob" => MatchMethod::Glob,
                "regex" => MatchMethod::Regex,
                other => return Err(invalid(format!("unknown match method {other}"))),
            },
            Some(other) => return Err(invalid(format!("unknown match method {other}"))),
        };
        Ok(Selection::Named { name, method })
    }

    fn resize(&self, sign: i64) -> Result<Command, Failure> {
        let name = self.name()?;
        let nb = match self.0.get("nb") {
            None | Some(Value::Null) => 1,
            Some(value) => value.as_i64().ok_or_else(|| invalid("'nb' isn't an integer"))?,
        };
        Ok(Command::Resize { name, change: nb.saturating_mul(sign), waiting: self.waiting() })
    }

    fn signal(&self) -> Result<Command, Failure> {
        self.required("name")?;
        let signal = signal(self.required("signum")?)?;
        let target = SignalTarget {
            name: self.name()?,
            pid: self.pid("pid")?,
            // The documentation and the plugins call it `child_pid`, the code of the original `childpid`.
            child: match self.pid("childpid")? {
                None => self.pid("child_pid")?,
                child => child,
            },
            children: self.flag("children"),
            recursive: self.flag("recursive"),
        };
        if target.child.is_some() && target.pid.is_none() {
            return Err(invalid("cannot specify childpid without pid"));
        }
        Ok(Command::Signal { signal, target })
    }

    fn pid(&self, key: &str) -> Result<Option<i32>, Failure> {
        let wrong = || invalid(format!("'{key}' isn't a process id"));
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => pid(value).map(Some).ok_or_else(wrong),
        }
    }

    fn stats(&self) -> Result<StatsTarget, Failure> {
        let Some(name) = self.optional_name()? else { return Ok(StatsTarget::All) };
        match self.0.get("process") {
            None | Some(Value::Null) => Ok(StatsTarget::Watcher(name)),
            Some(given) => {
                let pid = pid(given).ok_or_else(|| invalid("'process' isn't a process id"))?;
                Ok(StatsTarget::Process { name, pid, given: given.clone() })
            }
        }
    }

    fn keys(&self) -> Result<Vec<String>, Failure> {
        let wrong = || invalid("'keys' isn't a list of strings");
        let keys = self.required("keys")?.as_array().ok_or_else(wrong)?;
        keys.iter().map(|key| key.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
    }

    fn global_option(&self) -> Result<Option<String>, Failure> {
        match self.0.get("option") {
            None | Some(Value::Null) => Ok(None),
            Some(value) => Ok(Some(text("option", value)?).filter(|option| !option.is_empty())),
        }
    }
}

fn invalid(reason: impl Into<String>) -> Failure {
    Failure::new(Errno::Message, reason)
}

fn text(key: &str, value: &Value) -> Result<String, Failure> {
    value.as_str().map(str::to_owned).ok_or_else(|| invalid(format!("'{key}' isn't a string")))
}

/// A pid as a number or as digits.
fn pid(value: &Value) -> Option<i32> {
    let number = match value {
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    i32::try_from(number).ok().filter(|pid| *pid > 0)
}

fn signal(value: &Value) -> Result<Signal, Failure> {
    let signal = match value {
        Value::Number(number) => number.as_i64().and_then(Signal::from_number),
        Value::String(text) => Signal::parse(text).ok(),
        _ => None,
    };
    signal.ok_or_else(|| invalid("signal invalid"))
}

/// A text as Python's `repr` shows it, which clients see in some reasons.
pub fn python_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut shown = String::from(quote);
    for character in text.chars() {
        match character {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if c == quote => {
                shown.push('\\');
                shown.push(c);
            }
            c if c.is_control() => shown.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown.push(quote);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(command: &str, properties: Value) -> Result<Command, Failure> {
        let Value::Object(properties) = properties else { panic!("an object") };
        Command::parse(&Request::new("x", command, properties))
    }

    #[test]
    fn command_names_fold_case() {
        assert_eq!(parse("LIST", json!({})), Ok(Command::List(None)));
        let error = parse(" list ", json!({})).unwrap_err();
        assert_eq!(error.reason, "unknown command: ' list '");
        assert_eq!(error.errno, Errno::UnknownCommand);
    }

    #[test]
    fn missing_properties_are_named_in_documented_order() {
        for (command, properties, reason) in [
            ("incr", json!({}), "message invalid 'name' is missing"),
            ("get", json!({}), "message invalid 'name' is missing"),
            ("get", json!({"name": "x"}), "message invalid 'keys' is missing"),
            ("signal", json!({"name": "x"}), "message invalid 'signum' is missing"),
            ("options", json!({}), "message invalid 'name' is missing"),
        ] {
            let error = parse(command, properties).unwrap_err();
            assert_eq!((error.errno, error.reason.as_str()), (Errno::Message, reason), "{command}");
        }
    }

    #[test]
    fn decr_is_a_negative_change() {
        let command = parse("decr", json!({"name": "web", "nb": 2, "waiting": "no"}));
        assert_eq!(
            command,
            Ok(Command::Resize { name: "web".into(), change: -2, waiting: true }),
            "any text counts as true, as in the original"
        );
        assert!(parse("incr", json!({"name": "web", "nb": 2.5})).is_err());
    }

    #[test]
    fn signals_come_as_numbers_digits_and_names() {
        for signum in [json!(15), json!("15"), json!("term"), json!("SIGTERM")] {
            let command = parse("signal", json!({"name": "web", "signum": signum}));
            assert!(
                matches!(command, Ok(Command::Signal { signal: Signal::TERM, .. })),
                "{command:?}"
            );
        }
        for signum in [json!("foo"), json!(""), json!(null), json!(999), json!([15])] {
            let error = parse("signal", json!({"name": "web", "signum": signum})).unwrap_err();
            assert_eq!(error.reason, "signal invalid");
        }
    }

    #[test]
    fn both_spellings_of_the_child_pid_are_read() {
        for key in ["childpid", "child_pid"] {
            let command = parse("signal", json!({"name": "w", "signum": 1, "pid": 5, key: "7"}));
            let Ok(Command::Signal { target, .. }) = command else { panic!("{command:?}") };
            assert_eq!((target.pid, target.child), (Some(5), Some(7)));
        }
    }

    #[test]
    fn an_unknown_match_method_is_refused() {
        let error = parse("stop", json!({"name": "w", "match": "fuzzy"})).unwrap_err();
        assert_eq!(error.reason, "unknown match method fuzzy");
    }

    #[test]
    fn python_shows_text_in_quotes() {
        assert_eq!(python_repr("x"), "'x'");
        assert_eq!(python_repr("it's"), "\"it's\"");
        assert_eq!(python_repr("a\nb\\"), "'a\\nb\\\\'");
    }
}
