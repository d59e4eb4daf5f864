//! Commands that signal processes.

use super::call::{Call, Properties};
use crate::report::CommandError;
use serde_json::{Map, Value};

/// `signal NAME [PID] SIGNAL`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "circusctl signal [OPTIONS] <NAME> [PID] <SIGNAL>")]
pub struct Signal {
    /// The watcher
    name: String,
    /// One process of the watcher (all without it), then the signal: a name or a number
    #[arg(required = true, num_args = 1..=2, value_name = "[PID] SIGNAL")]
    #[arg(allow_negative_numbers = true)]
    target: Vec<String>,
    /// Signal only the direct children of the processes
    #[arg(long)]
    children: bool,
    /// Signal the processes and all their descendants
    #[arg(long)]
    recursive: bool,
}

impl Call for Signal {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        // Whether there is such a signal is circusd's to say.
        let (pid, signal) = match self.target.as_slice() {
            [pid, signal] => (Some(parse_pid(pid)?), signal.clone()),
            [signal] => (None, signal.clone()),
            _ => return Err(CommandError::local("`signal` needs a signal")),
        };
        Ok(Properties::default()
            .with("name", self.name.clone())
            .with("children", self.children)
            .with("recursive", self.recursive)
            .with("signum", signal)
            .maybe("pid", pid.as_ref())
            .done())
    }
}

/// `kill NAME [PID]`.
#[derive(Debug, clap::Args)]
pub struct Kill {
    /// The watcher
    name: String,
    /// One process of the watcher; all without it
    #[arg(allow_negative_numbers = true)]
    pid: Option<i64>,
    /// The signal instead of the watcher's stop_signal
    #[arg(long, value_name = "SIGNAL")]
    signum: Option<String>,
    /// Seconds before SIGKILL instead of the watcher's graceful_timeout
    #[arg(long = "graceful_timeout", value_name = "SECONDS")]
    graceful_timeout: Option<f64>,
    /// Wait until it is done
    #[arg(long)]
    waiting: bool,
}

impl Call for Kill {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Properties::default()
            .with("name", self.name.clone())
            .maybe("pid", self.pid.as_ref())
            .maybe("signum", self.signum.as_ref())
            .maybe("graceful_timeout", self.graceful_timeout.as_ref())
            .switch("waiting", self.waiting)
            .done())
    }
}

fn parse_pid(text: &str) -> Result<i64, CommandError> {
    text.trim().parse().map_err(|_| CommandError::local(format!("`{text}` is not a pid")))
}
