//! The command line of circusctl as a whole: global options, what runs, how it ends.

use crate::client::{self, Client, DEFAULT_ENDPOINT, ENDPOINT_VARIABLE, Endpoint};
use crate::command::{Call, Command, CommandKind, Listen};
use crate::python_text;
use crate::report::{CommandError, Kind};
use crate::subscriber::{DEFAULT_PUBSUB_ENDPOINT, Subscriber};
use crate::ui;
use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// Control a running circusd
#[derive(Debug, Parser)]
#[command(name = "circusctl", version, args_override_self = true, infer_long_args = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command has, before or after its name.
#[derive(Debug, clap::Args)]
struct Global {
    /// Where circusd answers [default: $CIRCUSCTL_ENDPOINT, else tcp://127.0.0.1:5555; for listen
    /// where it publishes, tcp://127.0.0.1:5556]
    #[arg(long, global = true, value_name = "ENDPOINT")]
    endpoint: Option<String>,
    /// Seconds to wait for the answer; 0 does not wait
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 5)]
    timeout: u32,
    /// Print the reply itself
    #[arg(long, global = true)]
    json: bool,
    /// With --json: one key per line, sorted
    #[arg(long, global = true)]
    prettify: bool,
}

/// Runs circusctl with these arguments, the first being the program's name.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let outcome = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli.run(),
        Err(error) => refused_by_clap(&error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ending::ReaderGone) => ExitCode::SUCCESS,
        Err(Ending::Usage(kind, text)) => {
            ui::err(&text);
            ExitCode::from(kind.code())
        }
        Err(Ending::Failed(error)) => {
            ui::err(&error.text());
            ExitCode::from(error.kind.code())
        }
    }
}

/// How a run ends when it does not simply succeed.
enum Ending {
    /// Nobody reads our output any more.
    ReaderGone,
    /// The command line was not understood; the text is clap's.
    Usage(Kind, String),
    /// The command failed.
    Failed(CommandError),
}

impl<E: Into<CommandError>> From<E> for Ending {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Cli {
    fn run(&self) -> Result<(), Ending> {
        match self.command.kind() {
            CommandKind::Call(name, call) => self.call(name, call),
            CommandKind::Listen(listen) => self.listen(listen),
        }
    }

    fn call(&self, name: &str, call: &dyn Call) -> Result<(), Ending> {
        let properties = call.properties()?;
        let variable = std::env::var(ENDPOINT_VARIABLE).ok();
        let endpoint = Endpoint::choose(
            self.global.endpoint.as_deref(),
            variable.as_deref(),
            DEFAULT_ENDPOINT,
        );
        let timeout = Duration::from_secs(self.global.timeout.into());
        let response = Client::connect(endpoint, timeout)?.call(name, properties)?;
        let refusal = client::refusal(&response);
        if self.global.json {
            let value = response.into_value();
            let text = match self.global.prettify {
                true => python_text::pretty_json(&value),
                false => python_text::json(&value),
            };
            print(&(text + "\n"))?;
            return match refusal {
                // The reply itself tells why; only the exit code is missing.
                Some(refusal) => Err(Ending::Usage(refusal.kind, String::new())),
                None => Ok(()),
            };
        }
        match refusal {
            Some(refusal) => Err(refusal.into()),
            None => print(&call.render(&response)?),
        }
    }

    /// Shows events until it is interrupted.
    fn listen(&self, listen: &Listen) -> Result<(), Ending> {
        let option = self.global.endpoint.as_deref();
        let endpoint = Endpoint::choose(option, None, DEFAULT_PUBSUB_ENDPOINT);
        let mut subscriber = Subscriber::connect(endpoint, &listen.topic)?;
        loop {
            print(&Listen::render(&subscriber.wait()?))?;
        }
    }
}

fn print(text: &str) -> Result<(), Ending> {
    ui::out(text).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ending::ReaderGone,
        _ => Ending::Failed(
            CommandError::local("could not write to standard output").cause(error.to_string()),
        ),
    })
}

/// Help and version, which clap reports as errors, and what it refuses.
fn refused_by_clap(error: &clap::Error) -> Result<(), Ending> {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return print(&text);
    }
    Err(Ending::Usage(usage_kind(error), text))
}

/// Circus 0.17.2 takes words of a command itself (exit code 1) and leaves commands and options to
/// its argument parser (2).
fn usage_kind(error: &clap::Error) -> Kind {
    match error.kind() {
        ErrorKind::MissingRequiredArgument => Kind::Local,
        ErrorKind::UnknownArgument
        | ErrorKind::ValueValidation
        | ErrorKind::InvalidValue
        | ErrorKind::TooManyValues => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(argument)) if argument.starts_with('-') => Kind::Usage,
            _ => Kind::Local,
        },
        _ => Kind::Usage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_is_consistent() {
        Cli::command().debug_assert();
    }
}
