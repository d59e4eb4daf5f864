//! The command line of circus-top.

use super::circusd;
use super::feed::Feed;
use super::history::Symbols;
use super::once::Look;
use super::session::{self, Ended, Settings};
use super::view::{SortKey, View};
use crate::colour::Colour;
use crate::endpoint::Service;
use crate::python_text;
use crate::report::{CommandError, Kind};
use crate::session::{Place, Session};
use crate::ui;
use clap::Parser;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Show what the processes of a circusd use, as circusd-stats publishes it
///
/// Press h for the keys.
#[derive(Debug, Parser)]
#[command(
    name = "circus-top",
    disable_version_flag = true,
    args_override_self = true,
    infer_long_args = true
)]
pub struct Arguments {
    /// Where circusd-stats publishes [default: the configuration file, else tcp://127.0.0.1:5557]
    #[arg(long)]
    endpoint: Option<String>,
    /// Where circusd answers, for states, restarts and details [default: $CIRCUSCTL_ENDPOINT, else the
    /// configuration file, else tcp://127.0.0.1:5555]
    #[arg(long, value_name = "ENDPOINT")]
    circusd: Option<String>,
    /// The ini file of circusd to take the endpoints from [default: /etc/circus/circus.ini and the like]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Reach both through ssh; endpoints are then those of that machine
    #[arg(long, value_name = "[USER@]HOST[:PORT]")]
    ssh: Option<String>,
    /// The key for ssh
    #[arg(long = "ssh_keyfile", alias = "ssh-keyfile", value_name = "FILE")]
    ssh_keyfile: Option<PathBuf>,
    /// After so long without a message a process is not shown any more
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    process_timeout: u32,
    /// Print the list once and end, after two rounds of messages
    #[arg(long)]
    once: bool,
    /// The same as JSON: the last message about each process, watcher and socket
    #[arg(long)]
    json: bool,
    /// Seconds to wait for data with --once and --json
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    timeout: u32,
    /// Order of the processes of a watcher
    #[arg(long, value_name = "KEY", value_enum, default_value_t = SortKey::Cpu)]
    sort: SortKey,
    /// Show only what has this in the name of the watcher, the pid, the program or the address
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Show the children of processes
    #[arg(long)]
    tree: bool,
    /// Show all processes of a watcher instead of the first ten
    #[arg(long)]
    all: bool,
    /// Print the version
    #[arg(long)]
    version: bool,
}

/// The columns of `--once`, which has no screen to fit.
const ONCE_WIDTH: u16 = 100;

/// How a run ends when it does not simply succeed.
enum Ending {
    ReaderGone,
    Signal(i32),
    Failed(CommandError),
}

impl<E: Into<CommandError>> From<E> for Ending {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Runs circus-top with these arguments, the program's name not among them. Exit codes: 0 also when the user
/// quits, 1 for a failure, 2 for a wrong command line, 128 and the number of a signal that ended it.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let name = OsString::from("circus-top");
    let arguments = Arguments::parse_from([name].into_iter().chain(arguments));
    match arguments.run() {
        Ok(()) | Err(Ending::ReaderGone) => ExitCode::SUCCESS,
        Err(Ending::Signal(number)) => {
            ExitCode::from(u8::try_from(128 + number).unwrap_or(Kind::Local.code()))
        }
        Err(Ending::Failed(error)) => {
            ui::err(&error.text(Colour::of_stderr()));
            ExitCode::from(error.kind.code())
        }
    }
}

impl Arguments {
    fn run(self) -> Result<(), Ending> {
        if self.version {
            return print(concat!(env!("CARGO_PKG_VERSION"), "\n"));
        }
        let session = Session::open(self.place(), &[Service::Stats, Service::Controller])?;
        // `--endpoint` names the feed, so an endpoint given for circusd needs a look-up, and with ssh a
        // tunnel, of its own. Held until the end, which is the end of ssh.
        let given = self.circusd.as_deref().map(|address| {
            let place = Place { endpoint: Some(address), ..self.place() };
            Session::open(place, &[Service::Controller])
        });
        let given = given.transpose()?;
        let controller = given.as_ref().unwrap_or(&session).endpoint(Service::Controller);
        let endpoint = session.endpoint(Service::Stats);
        let address = endpoint.address.clone();
        let feed = Feed::subscribe(endpoint)?;
        let view = View {
            sort: self.sort,
            filter: self.filter.clone(),
            tree: self.tree,
            all: self.all,
            ..View::default()
        };
        if self.once || self.json {
            let patience = Duration::from_secs(self.timeout.into());
            let look = Look::take(&feed, &address, patience)?;
            let text = if self.json {
                python_text::json(&look.json(&view)) + "\n"
            } else {
                look.text(&view, ONCE_WIDTH)
            };
            return print(&text);
        }
        let settings = Settings {
            view,
            patience: Duration::from_secs(self.process_timeout.into()),
            endpoint: address,
            symbols: Symbols::for_locale(|name| std::env::var(name).ok()),
        };
        let (inputs, inbox) = session::inputs();
        session::follow(feed, inputs.clone());
        let questions = circusd::ask(controller, inputs.clone());
        match session::run(settings, &inputs, &inbox, questions)? {
            Ended::Quit => Ok(()),
            Ended::Signal(number) => Err(Ending::Signal(number)),
        }
    }

    fn place(&self) -> Place<'_> {
        Place {
            endpoint: self.endpoint.as_deref(),
            config: self.config.as_deref(),
            ssh: self.ssh.as_deref(),
            ssh_keyfile: self.ssh_keyfile.as_deref(),
            timeout: Duration::from_secs(10),
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
