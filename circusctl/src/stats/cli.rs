//! The command line of circusd-stats.

use super::service::{self, ServiceError, Settings};
use crate::colour::Colour;
use crate::endpoint::{Endpoint, Service, through_ssh};
use crate::logging;
use crate::report::{CommandError, end_with};
use crate::ui;
use clap::Parser;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

/// How long ssh may take to connect.
const SSH_PATIENCE: Duration = Duration::from_secs(10);

/// Publish what the processes of a circusd use
#[derive(Debug, Parser)]
#[command(
    name = "circusd-stats",
    disable_version_flag = true,
    args_override_self = true,
    infer_long_args = true
)]
pub struct Arguments {
    /// The endpoint of circusd
    #[arg(long, default_value = Service::Controller.default_address())]
    endpoint: String,
    /// Where circusd publishes its events
    #[arg(long, value_name = "ENDPOINT", default_value = Service::Events.default_address())]
    pubsub: String,
    /// Where to publish
    #[arg(long, value_name = "ENDPOINT", default_value = Service::Stats.default_address())]
    statspoint: String,
    /// Seconds between two rounds of messages, at least 0.1
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,
    /// Reach circusd through ssh; its endpoints are then those of that machine
    #[arg(long, value_name = "[USER@]HOST[:PORT]")]
    ssh: Option<String>,
    /// Least important messages to log: critical, error, warning, info or debug
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
    /// Log file; - is stderr
    #[arg(long, value_name = "FILE", default_value = "-")]
    log_output: String,
    /// Print the version
    #[arg(long)]
    version: bool,
}

/// Runs circusd-stats with these arguments, the program's name not among them. Exit codes: 0 after the end of
/// the circusd that started it, 1 for a failure, 2 for a wrong command line.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let name = OsString::from("circusd-stats");
    let arguments = Arguments::parse_from([name].into_iter().chain(arguments));
    if arguments.version {
        return end_with(concat!(env!("CARGO_PKG_VERSION"), "\n"));
    }
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::err(&error.text(Colour::of_stderr()));
            ExitCode::from(error.kind.code())
        }
    }
}

fn serve(arguments: Arguments) -> Result<(), CommandError> {
    let log = logging::Settings::plain(&arguments.log_level, &arguments.log_output)
        .and_then(logging::start)
        .map_err(|error| CommandError::local(error.to_string()))?;
    let mut endpoint = Endpoint::choose(Service::Controller, Some(&arguments.endpoint), None, None);
    let mut pubsub = Endpoint::choose(Service::Events, Some(&arguments.pubsub), None, None);
    // Held until the end, which is the end of ssh.
    let far = vec![&mut endpoint, &mut pubsub];
    let open = |host: &String| through_ssh(host, None, far, SSH_PATIENCE);
    let _tunnel = arguments.ssh.as_ref().map(open).transpose()?;
    let settings = Settings {
        endpoint,
        pubsub,
        statspoint: arguments.statspoint,
        interval: arguments.interval,
    };
    let ended = service::run(&settings);
    log.flush();
    ended.map_err(|error| match error {
        ServiceError::Call(error) => error.into(),
        ServiceError::Bind { ref source, .. } => {
            CommandError::local(error.to_string()).cause(source.to_string())
        }
        ServiceError::Zmq(_) => CommandError::local(error.to_string()),
    })
}

/// Seconds as a command line gives them.
fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|interval| (0.1..=3600.0).contains(&interval.as_secs_f64()))
        .ok_or_else(|| "use 0.1 to 3600 seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent_and_the_interval_is_bounded() {
        Arguments::command().debug_assert();
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "nan", "inf", "x", "1e9"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }
}
