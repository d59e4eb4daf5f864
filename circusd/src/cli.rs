//! The command line of circusd, and the one place that prints and picks the exit code.

use crate::check;
use crate::config::Loaded;
use crate::config::{self, ConfigErrors};
use crate::daemon::Surroundings;
use crate::daemon::{self, DaemonError, Ended};
use crate::environment;
use crate::logging::{self, CommandLine, DaemonLog, LogError};
use crate::notify::{Notifier, OWN_VARIABLES};
use crate::papa::endpoint::BadEndpoint;
use crate::python::package;
use crate::role::Role;
use crate::upgrade::candidate;
use crate::upgrade::handover::{self, Received};
use clap::{CommandFactory, Parser};
use papa_spawn::background::{self, Launcher, Side};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracing::{error, warn};

/// The exit code when a part of circusd is gone that must not go; EX_SOFTWARE of sysexits.h.
const INTERNAL: u8 = 70;

/// Run processes and sockets as an ini file says
#[derive(Debug, Parser)]
#[command(name = "circusd", version, disable_version_flag = true, infer_long_args = true)]
struct Arguments {
    /// Configuration file
    config: Option<PathBuf>,
    /// Least important messages to log
    #[arg(long, value_name = "LEVEL", value_parser = ["info", "debug", "critical", "warning", "error",
        "INFO", "DEBUG", "CRITICAL", "WARNING", "ERROR"], hide_possible_values = true,
        help = "Least important messages to log: critical, error, warning, info or debug")]
    log_level: Option<String>,
    /// Where to log: a file, - for stderr, or syslog://HOST[:PORT]?FACILITY or syslog:///PATH?FACILITY
    #[arg(long, value_name = "OUTPUT")]
    log_output: Option<String>,
    /// Logger configuration (.ini, .json or .yaml) in place of level and output; `default` for none
    #[arg(long, value_name = "FILE")]
    logger_config: Option<String>,
    /// Go into the background, and return when commands are answered or something has failed
    #[arg(long)]
    daemon: bool,
    /// File to write the pid to
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// Check the configuration file and exit
    #[arg(long, requires = "config")]
    check: bool,
    /// Print the resolved configuration as JSON and exit
    #[arg(long, requires = "config")]
    dump_config: bool,
    /// Print the directory of the Python package circus for programs that have none, and exit
    #[arg(long)]
    python_path: bool,
    /// Print the version
    #[arg(long)]
    version: bool,
    /// Print which handover is understood; asked by a circusd that is to be upgraded
    #[arg(long, hide = true)]
    handover_format: bool,
}

/// Why circusd did not start, or ended badly.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Papa(#[from] BadEndpoint),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("cannot go into the background: {0}")]
    Background(#[source] io::Error),
    /// What the daemon in the background has told.
    #[error("{0}")]
    Told(String),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error("cannot provide for a failure of the upgrade: {0}")]
    Guard(#[source] io::Error),
    #[error("cannot go on as `{program}`, nor as what was running: {source}")]
    Replace { program: PathBuf, source: io::Error },
}

/// Runs the program. Exit codes: 0 after an orderly end, 1 when it could not start, 2 for a wrong command
/// line, 70 when a part of it is gone that must not go.
pub fn main() -> ExitCode {
    let mut words = std::env::args_os();
    match words.nth(1).as_deref().and_then(Role::of) {
        Some(Role::PapaKernel) => return papa_kernel::run(words),
        Some(Role::CircusdStats) => return circusctl::stats::cli::run(words),
        Some(Role::CircusPlugin) => return circusctl::plugin::cli::run(words),
        None => Role::stand_in(),
    }
    let arguments = Arguments::parse();
    if arguments.version {
        return print(crate::VERSION);
    }
    if arguments.handover_format {
        return print(candidate::FORMAT);
    }
    if arguments.python_path {
        return python_path();
    }
    let Some(path) = &arguments.config else {
        return print(&Arguments::command().render_usage().to_string());
    };
    let mut received = Received::from_environment();
    match run(&arguments, path, &mut received) {
        Ok(code) => code,
        Err(failure) => {
            if let Some(received) = &received {
                let error = received.roll_back(&failure.to_string());
                let _ = writeln!(io::stderr(), "circusd: cannot go back: {error}");
            }
            // A configuration can have several problems, one a line.
            for line in failure.to_string().lines() {
                // Nobody is left to tell when stderr is gone.
                let _ = writeln!(io::stderr(), "circusd: {line}");
            }
            match failure {
                Failure::Daemon(DaemonError::Lost(_)) => ExitCode::from(INTERNAL),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn python_path() -> ExitCode {
    match package::unpack() {
        Ok(path) => print(&path.display().to_string()),
        Err(error) => {
            // Nobody is left to tell when stderr is gone.
            let _ =
                writeln!(io::stderr(), "circusd: the Python package cannot be unpacked: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{text}").and_then(|()| io::stdout().flush()) {
        // That nobody reads it any more is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "circusd: cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn run(
    arguments: &Arguments,
    path: &Path,
    received: &mut Option<Received>,
) -> Result<ExitCode, Failure> {
    if let Some(received) = received {
        received.guard().map_err(Failure::Guard)?;
        received.fault().map_err(|fault| Failure::Guard(io::Error::other(fault)))?;
    }
    let (environment, left_out) = environment::of_this_process(OWN_VARIABLES);
    let loaded = config::load(path, &environment)?;
    if arguments.check {
        log_options(arguments).settings(&loaded.config.circus)?;
        let doubts = check::doubts(&loaded.config, &environment)?;
        for warning in loaded.warnings.iter().map(ToString::to_string).chain(doubts) {
            let _ = writeln!(io::stderr(), "warning: {warning}");
        }
        for refused in &loaded.refused {
            let _ = writeln!(io::stderr(), "error: {refused}");
        }
        return Ok(print(match loaded.refused.is_empty() {
            true => "ok",
            // No failure: circusd starts with the rest, and an upgrade is no worse than what runs.
            false => "ok, but what has an error is left out",
        }));
    }
    if arguments.dump_config {
        return Ok(print(&format!("{:#}", config::dump(&loaded.config))));
    }
    // The file is good. What fails from here on is told to the launcher through a pipe.
    let mut launcher = None;
    // A program that takes over is in the background already.
    if arguments.daemon && received.is_none() {
        match background::detach().map_err(Failure::Background)? {
            Side::Launcher(told) => {
                return told.map(|()| ExitCode::SUCCESS).map_err(Failure::Told);
            }
            Side::Daemon(waiting) => launcher = Some(waiting),
        }
    }
    let ended = live(arguments, loaded, environment, &left_out, (&mut launcher, received));
    match (ended, launcher) {
        (Err(failure), Some(launcher)) => {
            launcher.failed(&failure.to_string());
            Ok(ExitCode::FAILURE)
        }
        (ended, _) => ended.map(|()| ExitCode::SUCCESS),
    }
}

/// The life of the daemon, with its log around it. The launcher is left when it was not told anything, and
/// what the program before has left when it was not taken over.
fn live(
    arguments: &Arguments,
    loaded: Loaded,
    environment: Vec<(String, String)>,
    left_out: &[String],
    (launcher, received): (&mut Option<Launcher>, &mut Option<Received>),
) -> Result<(), Failure> {
    let circus = &loaded.config.circus;
    let log = logging::start(log_options(arguments), circus)?;
    tell_what_is_odd(&loaded, left_out);
    if let Some(mask) = circus.umask {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask));
    }
    let pidfile = arguments.pidfile.clone().or_else(|| circus.pidfile.clone().map(PathBuf::from));
    let mut surroundings = Surroundings {
        log: log.clone(),
        notifier: Notifier::from_environment(),
        pidfile,
        launcher: launcher.take(),
        received: received.take(),
    };
    let ended = daemon::run(loaded.config, environment, &mut surroundings);
    *launcher = surroundings.launcher;
    *received = surroundings.received;
    finish(&log, &ended);
    match ended? {
        Ended::Asked => Ok(()),
        Ended::Replaced(order) => {
            let source = handover::carry_out(&order);
            Err(Failure::Replace { program: order.program, source })
        }
    }
}

fn log_options(arguments: &Arguments) -> CommandLine {
    CommandLine {
        level: arguments.log_level.clone(),
        output: arguments.log_output.clone(),
        config: arguments.logger_config.clone(),
    }
}

/// What the log should say before anything happens.
fn tell_what_is_odd(loaded: &Loaded, left_out: &[String]) {
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    for refused in &loaded.refused {
        error!("{refused}");
    }
    for name in left_out {
        warn!("the variable {name} is not UTF-8 and is not passed on");
    }
    for sentence in config::unserved(&loaded.config) {
        warn!("{sentence}");
    }
}

/// The reason of a failure belongs into the log as well, and everything in it onto the disk.
fn finish(log: &DaemonLog, ended: &Result<Ended, DaemonError>) {
    if let Err(error) = ended
        && !log.control.shows_on_stderr()
    {
        error!("{error}");
    }
    log.control.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_man_page_has_every_option() {
        Arguments::command().debug_assert();
        let page = include_str!("../../deploy/man/circusd.1").replace("\\-", "-");
        let command = Arguments::command();
        let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
        for option in shown.filter_map(clap::Arg::get_long) {
            assert!(page.contains(&format!("--{option}")), "--{option}");
        }
    }
}
