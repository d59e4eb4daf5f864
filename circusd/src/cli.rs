//! The command line of circusd, and the one place that prints and picks the exit code.

use crate::config::{self, ConfigErrors};
use crate::daemon::{self, DaemonError};
use crate::pidfile::{Pidfile, PidfileError};
use crate::role::Role;
use circusctl::logging;
use clap::{CommandFactory, Parser};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing::{error, warn};

/// Run processes and sockets as an ini file says
#[derive(Debug, Parser)]
#[command(name = "circusd", version, disable_version_flag = true)]
struct Arguments {
    /// Configuration file
    config: Option<PathBuf>,
    /// Least important messages to log
    #[arg(long, value_name = "LEVEL", value_parser = ["info", "debug", "critical", "warning", "error",
        "INFO", "DEBUG", "CRITICAL", "WARNING", "ERROR"], hide_possible_values = true,
        help = "Least important messages to log: critical, error, warning, info or debug")]
    log_level: Option<String>,
    /// Log file; - is stderr
    #[arg(long, value_name = "FILE")]
    log_output: Option<String>,
    /// File to write the pid to
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// Check the configuration file and exit
    #[arg(long, requires = "config")]
    check: bool,
    /// Print the resolved configuration as JSON and exit
    #[arg(long, requires = "config")]
    dump_config: bool,
    /// Print the version
    #[arg(long)]
    version: bool,
}

/// Why circusd did not start, or ended badly.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Log(#[from] logging::LogError),
    #[error(transparent)]
    Pidfile(#[from] PidfileError),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
}

/// Runs the program. Exit codes: 0 after an orderly end, 1 when it could not start, 2 for a wrong command
/// line.
pub fn main() -> ExitCode {
    let mut words = std::env::args_os();
    match words.nth(1).as_deref().and_then(Role::of) {
        Some(Role::PapaKernel) => return papa_kernel::run(words),
        Some(Role::CircusdStats) => return circusctl::stats::cli::run(words),
        None => {}
    }
    let arguments = Arguments::parse();
    if arguments.version {
        return print(env!("CARGO_PKG_VERSION"));
    }
    let Some(path) = &arguments.config else {
        return print(&Arguments::command().render_usage().to_string());
    };
    match run(&arguments, path) {
        Ok(code) => code,
        Err(failure) => {
            // A configuration can have several problems, one a line.
            for line in failure.to_string().lines() {
                // Nobody is left to tell when stderr is gone.
                let _ = writeln!(std::io::stderr(), "circusd: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Our own environment, and the names of the variables that are no text.
fn environment() -> (Vec<(String, String)>, Vec<String>) {
    let (mut environment, mut left_out) = (Vec::new(), Vec::new());
    for (key, value) in std::env::vars_os() {
        match (key.into_string(), value.into_string()) {
            (Ok(key), Ok(value)) => environment.push((key, value)),
            (Ok(key), Err(_)) => left_out.push(key),
            (Err(key), _) => left_out.push(key.to_string_lossy().into_owned()),
        }
    }
    (environment, left_out)
}

fn run(arguments: &Arguments, path: &std::path::Path) -> Result<ExitCode, Failure> {
    let (environment, left_out) = environment();
    let loaded = config::load(path, &environment)?;
    if arguments.check {
        for warning in &loaded.warnings {
            let _ = writeln!(std::io::stderr(), "warning: {warning}");
        }
        return Ok(print("ok"));
    }
    if arguments.dump_config {
        return Ok(print(&format!("{:#}", config::dump(&loaded.config))));
    }
    let circus = &loaded.config.circus;
    let level = arguments.log_level.as_deref().or(circus.loglevel.as_deref()).unwrap_or("info");
    let output = arguments.log_output.as_ref().or(circus.logoutput.as_ref());
    let output = output.map_or_else(|| "-".to_owned(), Clone::clone);
    logging::set_up(level, &output)?;
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
    if let Some(mask) = circus.umask {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask));
    }
    let pidfile = arguments.pidfile.clone().or_else(|| circus.pidfile.clone().map(PathBuf::from));
    let _pidfile = pidfile.as_deref().map(Pidfile::create).transpose()?;
    let ended = daemon::run(loaded.config, environment);
    if let Err(error) = &ended
        && output != "-"
        && output != "stdout"
    {
        error!("{error}");
    }
    ended?;
    Ok(ExitCode::SUCCESS)
}
