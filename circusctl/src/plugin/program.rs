//! Plugins in programs of their own: what users write in Rust.
//!
//! circusd starts such a program with the command line that every plugin gets.

use super::cli::{self, Arguments};
use super::interface::Plugin;
use super::options::{OptionError, Options};
use crate::report::end_with;
use clap::{CommandFactory, FromArgMatches};
use std::process::ExitCode;

/// The `main` of a program that is a plugin. `name` and `version` are what `--help` and `--version` tell; `build` reads
/// the options of the section and does nothing else.
///
/// Reads the arguments of this process: `--endpoint` and `--pubsub` of circusd, `--config` with the options, `--log-level`
/// and `--log-output`, `--ssh`; `circus-plugin --help` tells their form. Takes SIGTERM and SIGINT over, starts the log, and
/// returns when the plugin was told to end (0), or has failed and said why on standard error (1). A wrong command line ends
/// the program with 2.
///
/// ```no_run
/// use circusctl::plugin::circus::Circus;
/// use circusctl::plugin::event::Event;
/// use circusctl::plugin::interface::Plugin;
/// use circusctl::plugin::program;
///
/// /// Restarts `web` when `database` was restarted.
/// struct Chain;
///
/// impl Plugin for Chain {
///     fn event(&mut self, circus: &mut Circus, event: &Event) {
///         if event.watcher == "database" && event.action == "start" {
///             circus.cast("restart", serde_json::json!({"name": "web"}));
///         }
///     }
/// }
///
/// fn main() -> std::process::ExitCode {
///     program::run("chain", "1.0", |_options| Ok(Box::new(Chain)))
/// }
/// ```
pub fn run(
    name: &'static str,
    version: &'static str,
    build: impl FnOnce(&Options) -> Result<Box<dyn Plugin>, OptionError>,
) -> ExitCode {
    let tree = Arguments::command().name(name).about(format!("The Circus plugin {name}"));
    let matches = tree.get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if arguments.version {
        return end_with(&format!("{version}\n"));
    }
    cli::report(cli::serve_own(&arguments, name, build))
}
