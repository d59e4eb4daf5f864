//! The commands of circusd, typed: what a [`Request`] asks for, with its properties checked.
//!
//! The checks, their order and their texts are those measured on circus 0.17.2; where it answers with an
//! internal error of its own, this gives errno 3 and a sentence.

use super::errno::Errno;
pub use super::follow::{Follow, TailTarget};
use super::properties::{Properties, invalid};
use super::request::Request;
use super::response::Failure;
use crate::signal::Signal;
use serde_json::{Map, Value};
use std::time::Duration;

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

/// What `add` is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct AddWatcher {
    /// The name of the new watcher.
    pub name: String,
    /// Its command.
    pub cmd: String,
    /// More words of the command.
    pub args: Option<String>,
    /// Its options, checked.
    pub options: Map<String, Value>,
    /// Start it.
    pub start: bool,
    /// Answer when it has started.
    pub waiting: bool,
}

/// What `upgrade` is asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UpgradeOrder {
    /// The program to go on as, an absolute path; the file that the running one was started from when absent.
    pub program: Option<String>,
    /// The kernel is meant.
    pub kernel: bool,
    /// Direct children may be stopped and started again.
    pub restart_direct: bool,
    /// Seconds that the new program has to take over.
    pub timeout: Option<f64>,
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
        /// Only those that a pause has stopped, and that nobody has stopped or started since.
        paused: bool,
        /// Answer when it is done.
        waiting: bool,
    },
    /// Stop watchers.
    Stop {
        /// Which.
        selection: Selection,
        /// For the time being: what operators want stays as it is. Only for one watcher.
        pause: bool,
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
    /// Replace the processes of one watcher or of all.
    Reload {
        /// The watcher; all without.
        name: Option<String>,
        /// New processes before the old ones go; otherwise the same as a restart.
        graceful: bool,
        /// One process after the other.
        sequential: bool,
        /// Answer when it is done.
        waiting: bool,
    },
    /// Read the file again and make what has changed hold.
    ReloadConfig {
        /// Only tell what would be done.
        plan: bool,
        /// Answer when it is done.
        waiting: bool,
    },
    /// Ask processes to end, and insist after a while.
    Kill {
        /// The watcher.
        name: String,
        /// Only this process.
        pid: Option<i32>,
        /// Instead of the watcher's stop signal.
        signal: Option<Signal>,
        /// Instead of the watcher's own, in seconds.
        graceful_timeout: Option<f64>,
        /// Answer when they have ended.
        waiting: bool,
    },
    /// Make a watcher.
    Add(Box<AddWatcher>),
    /// Remove a watcher.
    Rm {
        /// The watcher.
        name: String,
        /// Leave its processes running.
        nostop: bool,
        /// Answer when they have ended.
        waiting: bool,
    },
    /// Change options of a watcher.
    Set {
        /// The watcher.
        name: String,
        /// The options, checked.
        options: Map<String, Value>,
        /// Answer when the resulting reload has ended.
        waiting: bool,
    },
    /// The interactive Python of the original, which there is none of here.
    Ipython,
    /// Send a signal.
    Signal {
        /// The signal.
        signal: Signal,
        /// To whom.
        target: SignalTarget,
    },
    /// CPU and memory of processes.
    Stats {
        /// Of what.
        target: StatsTarget,
        /// Let the `extended_stats` hook work on the figures; not for [`StatsTarget::All`].
        extended: bool,
        /// Measure now instead of answering from the last sample.
        fresh: bool,
    },
    /// CPU and memory of circusd.
    DStats,
    /// End the daemon.
    Quit {
        /// Answer when everything has ended.
        waiting: bool,
    },
    /// Go on as another program.
    Upgrade(UpgradeOrder),
    /// How the upgrade of this name has ended.
    UpgradeResult(String),
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
    /// What is counted about the watchers.
    Counters,
    /// Why a watcher is as it is.
    Why(String),
    /// What processes have printed lately.
    Tail {
        /// Of which watchers.
        targets: Vec<TailTarget>,
        /// How long to wait if there is nothing.
        wait: Duration,
    },
    /// What has been published lately.
    Events(Follow),
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
            "start" => Self::Start {
                selection: properties.selection()?,
                paused: properties.flag("paused"),
                waiting: properties.waiting(),
            },
            "stop" => Self::Stop {
                selection: properties.selection()?,
                pause: properties.flag("pause"),
                waiting: properties.waiting(),
            },
            "restart" => {
                Self::Restart { selection: properties.selection()?, waiting: properties.waiting() }
            }
            "reload" => Self::Reload {
                name: properties.optional_name()?,
                graceful: properties.flag_or("graceful", true),
                sequential: properties.flag("sequential"),
                waiting: properties.waiting(),
            },
            "reloadconfig" => {
                Self::ReloadConfig { plan: properties.flag("plan"), waiting: properties.waiting() }
            }
            "kill" => properties.kill()?,
            "add" => Self::Add(Box::new(properties.add()?)),
            "rm" => Self::Rm {
                name: properties.name()?,
                nostop: properties.flag("nostop"),
                waiting: properties.waiting(),
            },
            "set" => Self::Set {
                name: properties.name()?,
                options: properties.options(true)?,
                waiting: properties.waiting(),
            },
            "ipython" => Self::Ipython,
            "signal" => properties.signal()?,
            "stats" => Self::Stats {
                target: properties.stats()?,
                extended: properties.flag("extended"),
                fresh: properties.flag("fresh"),
            },
            "dstats" => Self::DStats,
            "quit" => Self::Quit { waiting: properties.waiting() },
            "upgrade" => properties.upgrade()?,
            "listsockets" => Self::ListSockets,
            "options" => Self::Options(properties.name()?),
            "get" => Self::Get { name: properties.name()?, keys: properties.keys()? },
            "counters" => Self::Counters,
            "why" => Self::Why(properties.name()?),
            "tail" => Self::Tail { targets: properties.tail_targets()?, wait: properties.wait()? },
            "events" => Self::Events(properties.follow()?),
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
        let error = parse("stop", json!({"name": "w", "match": null})).unwrap_err();
        assert_eq!(error.reason, "unknown match method None");
    }

    #[test]
    fn add_wants_a_command_once() {
        for (properties, reason) in [
            (json!({"name": "w", "cmd": " "}), "'cmd' is empty"),
            (
                json!({"name": "w", "cmd": "a", "options": {"cmd": "b"}}),
                "'cmd' stands beside 'options', not in it",
            ),
        ] {
            assert_eq!(parse("add", properties).unwrap_err().reason, reason);
        }
    }

    #[test]
    fn python_shows_text_in_quotes() {
        assert_eq!(python_repr("x"), "'x'");
        assert_eq!(python_repr("it's"), "\"it's\"");
        assert_eq!(python_repr("a\nb\\"), "'a\\nb\\\\'");
    }
}
