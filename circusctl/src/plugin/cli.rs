//! The command line of circus-plugin, that of the original.

use super::interface::Plugin;
use super::invocation::Invocation;
use super::options::{OptionError, Options};
use super::python::{self, PythonError};
use super::registry::Builtin;
use super::runner::{self, RunError, Surroundings};
use super::{config_text, option_file};
use crate::colour::Colour;
use crate::endpoint::{Endpoint, Service, through_ssh};
use crate::logging;
use crate::report::{CommandError, end_with};
use crate::ssh::Tunnel;
use crate::ui;
use clap::{CommandFactory, Parser};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tracing::{error, info};

/// How long ssh may take to connect.
const SSH_PATIENCE: Duration = Duration::from_secs(10);

/// Run a plugin beside a circusd
#[derive(Debug, Parser)]
#[command(
    name = "circus-plugin",
    disable_version_flag = true,
    args_override_self = true,
    infer_long_args = true
)]
pub struct Arguments {
    /// The plugin: the dotted name of a built-in one, or of a class in Python
    plugin: Option<String>,
    /// The endpoint of circusd
    #[arg(long, default_value = Service::Controller.default_address())]
    endpoint: String,
    /// Where circusd publishes its events
    #[arg(long, value_name = "ENDPOINT", default_value = Service::Events.default_address())]
    pubsub: String,
    /// Options of the plugin: KEY:VALUE, joined by `:::`, or a file with them
    #[arg(long, allow_hyphen_values = true)]
    config: Option<String>,
    /// Print the version
    #[arg(long)]
    pub(super) version: bool,
    /// Seconds between circusd's looks at its watchers, 5 unless said otherwise
    #[arg(long, value_name = "SECONDS")]
    check_delay: Option<f64>,
    /// Least important messages to log: critical, error, warning, info or debug
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
    /// Log file; - is stderr
    #[arg(long, value_name = "FILE", default_value = "-")]
    log_output: String,
    /// Reach circusd through ssh; its endpoints are then those of that machine
    #[arg(long, value_name = "[USER@]HOST[:PORT]")]
    ssh: Option<String>,
}

/// Runs circus-plugin with these arguments, the program's name not among them. Exit codes: 0 when it was told to
/// end, 1 for a failure, 2 for a wrong command line. For a class in Python this process becomes Python.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let name = OsString::from("circus-plugin");
    let arguments = Arguments::parse_from([name].into_iter().chain(arguments));
    let printed = match (&arguments.plugin, arguments.version) {
        (_, true) => Some(concat!(env!("CARGO_PKG_VERSION"), "\n").to_owned()),
        (None, _) => Some(format!("{}\n", Arguments::command().render_usage())),
        (Some(_), _) => None,
    };
    match printed {
        Some(printed) => end_with(&printed),
        None => report(serve(arguments)),
    }
}

pub(super) fn report(ended: Result<(), CommandError>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::err(&error.text(Colour::of_stderr()));
            ExitCode::from(error.kind.code())
        }
    }
}

fn serve(arguments: Arguments) -> Result<(), CommandError> {
    let class = arguments.plugin.clone().unwrap_or_default();
    let Some(builtin) = Builtin::find(&class) else {
        let values = values(arguments.config.as_deref(), &class)?;
        let texts = values.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let error = python::become_it(&Invocation {
            endpoint: arguments.endpoint,
            pubsub: arguments.pubsub,
            ssh: arguments.ssh,
            config: Some(config_text::encode(texts)),
            check_delay: arguments.check_delay,
            log_level: Some(arguments.log_level),
            log_output: Some(arguments.log_output),
            class,
        });
        return Err(no_python(&error));
    };
    serve_own(&arguments, builtin.names[0], |options| builtin.build(options))
}

/// Runs a plugin that is a part of this program; `label` tells which for the log.
pub(super) fn serve_own(
    arguments: &Arguments,
    label: &str,
    build: impl FnOnce(&Options) -> Result<Box<dyn Plugin>, OptionError>,
) -> Result<(), CommandError> {
    let class = arguments.plugin.clone().unwrap_or_else(|| label.to_owned());
    let values = values(arguments.config.as_deref(), &class)?;
    let section = values.get("name").cloned().unwrap_or(class);
    let mut options = Options::new(section.clone(), values);
    if let Some(seconds) = arguments.check_delay {
        options = options.with_check_delay(Duration::try_from_secs_f64(seconds).map_err(|_| {
            CommandError::local(format!("--check-delay {seconds} is no time; write seconds"))
        })?);
    }
    let mut plugin = build(&options).map_err(|error| CommandError::local(error.to_string()))?;
    let log = logging::Settings::plain(&arguments.log_level, &arguments.log_output)
        .and_then(logging::start)
        .map_err(|error| CommandError::local(error.to_string()))?;
    let (surroundings, _tunnel) = surroundings(arguments, section)?;
    info!("{} is the plugin {label}", surroundings.name);
    let ended = runner::run(plugin.as_mut(), &surroundings);
    if let Err(reason) = &ended
        && !log.shows_on_stderr()
    {
        error!("{}: {reason}", surroundings.name);
    }
    log.flush();
    ended.map_err(|error| match error {
        RunError::Call(error) => error.into(),
        RunError::Plugin(_) | RunError::Signals(_) | RunError::Zmq(_) => {
            CommandError::local(format!("{}: {error}", surroundings.name))
        }
    })
}

/// The options that `--config` gives, as text or in a file.
fn values(config: Option<&str>, class: &str) -> Result<BTreeMap<String, String>, CommandError> {
    let Some(config) = config else { return Ok(BTreeMap::new()) };
    let path = Path::new(config);
    if !path.is_file() {
        // The original drops what is no option; alone it can only be a file that is not there.
        if !config.trim().is_empty() && !config.contains([':', '{']) {
            let message = format!("--config {config}: neither KEY:VALUE nor a file that is there");
            return Err(CommandError::local(message));
        }
        return config_text::decode(config)
            .map_err(|reason| CommandError::local(format!("--config {reason}")));
    }
    let failed = |reason: String| CommandError::local(format!("--config {config}: {reason}"));
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    match config_text::is_json(&text) {
        true => config_text::decode(&text),
        false => option_file::options(&text, class),
    }
    .map_err(failed)
}

/// The endpoints, with a tunnel to them if circusd is elsewhere. The end of the tunnel is the end of ssh.
fn surroundings(
    arguments: &Arguments,
    name: String,
) -> Result<(Surroundings, Option<Tunnel>), CommandError> {
    let mut endpoint = Endpoint::choose(Service::Controller, Some(&arguments.endpoint), None, None);
    let mut pubsub = Endpoint::choose(Service::Events, Some(&arguments.pubsub), None, None);
    let far = vec![&mut endpoint, &mut pubsub];
    let open = |host: &String| through_ssh(host, None, far, SSH_PATIENCE);
    let tunnel = arguments.ssh.as_ref().map(open).transpose()?;
    Ok((Surroundings { endpoint, pubsub, name }, tunnel))
}

fn no_python(error: &PythonError) -> CommandError {
    let report = CommandError::local(error.to_string());
    match error {
        PythonError::Missing { .. } => {
            report.hint("install python3, or name one in the variable CIRCUS_PYTHON")
        }
        PythonError::Start { source, .. } => report.cause(source.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_options_are_a_text_or_in_a_file() {
        let folder = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.display().to_string()
        };
        let ini = write("circus.ini", "[plugin:x]\nuse = a.B\nport = 1\n");
        let json = write("options.json", "{\"port\": \"1\"}");
        for config in ["port:1", &ini, &json] {
            let values = values(Some(config), "a.B").expect("readable");
            assert_eq!(values.get("port").map(String::as_str), Some("1"), "{config}");
        }
        let error = values(Some(&ini), "c.D").expect_err("not there").to_string();
        assert!(error.ends_with("circus.ini: has no [plugin:NAME] with `use = c.D`"), "{error}");
        assert!(values(None, "a.B").expect("nothing").is_empty());
        assert!(values(Some(""), "a.B").expect("nothing").is_empty());
        let gone = folder.path().join("gone").display().to_string();
        for config in ["port", &gone, &folder.path().display().to_string()] {
            let error = values(Some(config), "a.B").expect_err("no option").to_string();
            assert!(error.ends_with(": neither KEY:VALUE nor a file that is there"), "{error}");
        }
    }
}
