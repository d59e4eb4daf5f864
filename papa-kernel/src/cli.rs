//! The command line: arguments, the way into the background, and the only texts printed.

mod request;

use std::ffi::{CString, OsString};
use std::fmt::Display;
use std::io::Write;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use nix::sys::stat::{Mode, umask};
use papa_handover::{Handover, REHEARSE, Refusal, rehearse};
use papa_spawn::background::{self, Launcher, Side};
use papa_spawn::child;

use crate::access::Access;
use crate::kernel::{Kernel, State};
use crate::listener::Listener;

const VERSION: &str = concat!("papa-kernel ", env!("CARGO_PKG_VERSION"));

/// The port of papa 1.0.6.
const DEFAULT_PORT: u16 = 20202;

const USAGE: &str = "\
Usage: papa-kernel [OPTION...]

Holds sockets, processes and values for circusd and serves them to its own user.

  -p, --port PORT         listen on 127.0.0.1:PORT (20202)
  -u, --unix-socket PATH  listen on a unix socket instead
  -d, --debug             log what happens to standard error
      --allow-user USER   serve this user as well (name or number; may be repeated)
      --allow-group GROUP serve the members of this group as well (may be repeated)
      --daemonize         go into the background once clients can connect
      --title NAME        be shown as \"papa daemon from NAME\"
      --upgrade[=PATH]    make the running kernel go on as PATH, by default as its
                          own file, keeping everything
  -h, --help              print this text
  -V, --version           print the version";

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq, Default)]
struct Options {
    place: Place,
    debug: bool,
    daemonize: bool,
    title: Option<String>,
    allowed_users: Vec<String>,
    allowed_groups: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Port(u16),
    Path(PathBuf),
}

impl Default for Place {
    fn default() -> Self {
        Self::Port(DEFAULT_PORT)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Request {
    Serve(Options),
    Upgrade(Place, Option<PathBuf>),
    /// The number of the snapshot.
    Rehearse(RawFd),
    Help,
    Version,
}

/// Runs the program with these arguments (without its name) and returns its exit code: 0 after a
/// proper end, 1 when it could not serve, 2 for arguments it does not understand.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let said = match (Handover::from_environment(), parse(arguments.iter().cloned())) {
        (Err(error), _) => Err(error),
        (Ok(Some(handover)), request) => take_over(&handover, request).map(|()| None),
        (Ok(None), Err(error)) => return fail(format_args!("{error}; see papa-kernel --help"), 2),
        (Ok(None), Ok(request)) => match request {
            Request::Help => Ok(Some(USAGE.to_owned())),
            Request::Version => Ok(Some(VERSION.to_owned())),
            Request::Rehearse(snapshot) => rehearse(snapshot, resume).map(Some),
            Request::Upgrade(place, path) => request::upgrade(&place, path).map(Some),
            Request::Serve(options) => start(&options, arguments).map(|()| None),
        },
    };
    match said {
        Ok(text) => {
            match text.map(|text| writeln!(std::io::stdout(), "{text}")) {
                // A reader that has gone wants no more of it.
                Some(Err(error)) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    fail(format_args!("cannot write to standard output: {error}"), 1)
                }
                _ => ExitCode::SUCCESS,
            }
        }
        Err(error) => fail(error, 1),
    }
}

fn fail(text: impl Display, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {text}");
    ExitCode::from(code)
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Request, Refusal> {
    let mut options = Options::default();
    let mut upgrade = None;
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy().into_owned();
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(OsString::from(value))),
            _ => (text.as_str(), None),
        };
        let mut value = || {
            let value = attached.clone().or_else(|| arguments.next());
            value.ok_or_else(|| Refusal::new(format!("{name} needs a value")))
        };
        let mut word = || value().map(|value| value.to_string_lossy().into_owned());
        match name {
            "-h" | "--help" => return Ok(Request::Help),
            "-V" | "--version" => return Ok(Request::Version),
            "-d" | "--debug" => options.debug = true,
            "--daemonize" => options.daemonize = true,
            "-u" | "--unix-socket" => options.place = Place::Path(value()?.into()),
            "--title" => options.title = Some(word()?),
            "--allow-user" => options.allowed_users.push(word()?),
            "--allow-group" => options.allowed_groups.push(word()?),
            "--upgrade" => upgrade = Some(attached.map(PathBuf::from)),
            REHEARSE => {
                let number = number(&word()?, 3, "the number of a descriptor");
                return number.map(Request::Rehearse);
            }
            "-p" | "--port" => {
                let port = number(&word()?, 1, "a port; use a number from 1 to 65535");
                options.place = port.map(Place::Port)?;
            }
            _ => return Err(Refusal::new(format!("unknown argument `{text}`"))),
        }
    }
    Ok(match upgrade {
        Some(path) => Request::Upgrade(options.place, path),
        None => Request::Serve(options),
    })
}

fn number<N: FromStr + PartialOrd>(text: &str, least: N, what: &str) -> Result<N, Refusal> {
    let number = text.parse().ok().filter(|number| *number >= least);
    number.ok_or_else(|| Refusal::new(format!("`{text}` is not {what}")))
}

/// The options of a kernel that served with what was read of its arguments, which may be another version.
fn options_of(request: Result<Request, Refusal>) -> Result<Options, Refusal> {
    match request {
        Ok(Request::Serve(options)) => Ok(options),
        Ok(_) => Err(Refusal::new("the kernel's arguments do not ask for a kernel")),
        Err(error) => {
            Err(Refusal::new(format!("the kernel's arguments are not understood: {error}")))
        }
    }
}

impl Options {
    /// Whom they admit.
    fn access(&self) -> Result<Access, Refusal> {
        Access::new(&self.allowed_users, &self.allowed_groups)
    }
}

/// Makes a kernel of what another program holds, to show that it can be done.
fn resume(state: State) -> Result<(), Refusal> {
    let options = options_of(parse(state.origin.arguments().into_iter()))?;
    Kernel::new(state, options.access()?).map(drop)
}

/// Goes on where another program has left off, or back to that program.
fn take_over(handover: &Handover, request: Result<Request, Refusal>) -> Result<(), Refusal> {
    let guard = handover.guard();
    let kernel = options_of(request).and_then(|options| {
        start_logging(options.debug);
        show_title(options.title.as_deref().unwrap_or_default());
        Kernel::take_over(guard?, options.access()?)
    });
    serve(kernel.map_err(|error| Refusal::new(handover.roll_back(&error.to_string())))?)
}

/// Listens and serves; with `--daemonize` in a process of its own.
fn start(options: &Options, arguments: Vec<OsString>) -> Result<(), Refusal> {
    let mut launcher = None;
    if options.daemonize {
        match background::split().map_err(no_background)? {
            Side::Launcher(told) => return told.map_err(Refusal::new),
            Side::Daemon(waiting) => launcher = Some(waiting),
        }
    }
    start_logging(options.debug);
    match (prepare(options, arguments), launcher) {
        (Ok(kernel), launcher) => {
            launcher.into_iter().for_each(Launcher::ready);
            serve(kernel)
        }
        (Err(error), Some(launcher)) => {
            launcher.failed(&error.to_string());
            Ok(()) // The launcher reports it.
        }
        (Err(error), None) => Err(error),
    }
}

fn serve(kernel: Kernel) -> Result<(), Refusal> {
    kernel.run().map_err(|error| Refusal::new(format!("the kernel's loop failed: {error}")))
}

fn prepare(options: &Options, arguments: Vec<OsString>) -> Result<Kernel, Refusal> {
    if let Some(title) = &options.title {
        show_title(title);
    }
    let access = options.access()?;
    let listener = match &options.place {
        Place::Port(port) => Listener::on_port(*port)?,
        Place::Path(path) => Listener::on_path(path, &access)?,
    };
    child::raise_own_limits();
    // A circusd that starts us has a short one, and what we start would get it. No harm if it stays.
    let _ = papa_spawn::sys::set_time_slice(None);
    let kernel = Kernel::new(State::new(listener, arguments), access)?;
    if options.daemonize {
        leave_surroundings().map_err(no_background)?;
    }
    Ok(kernel)
}

/// Shows what the kernel belongs to; without a name, what it is. After an upgrade the system would
/// show a number.
fn show_title(title: &str) {
    let name = match title {
        "" => "papa-kernel".to_owned(),
        title => format!("papa daemon from {title}").replace('\0', ""),
    };
    if let Ok(name) = CString::new(name) {
        // Only the name in /proc/PID/comm; Linux keeps its first 15 bytes.
        let _ = nix::sys::prctl::set_name(&name);
    }
}

fn start_logging(debug: bool) {
    let level = if debug { tracing::Level::DEBUG } else { tracing::Level::WARN };
    let log = tracing_subscriber::fmt().with_max_level(level).with_ansi(false);
    // Whoever runs the kernel inside its own program may have a log already.
    let _ = log.with_writer(std::io::stderr).try_init();
}

/// Lets go of the launcher's session, directory, mask and terminal, as papa's daemon does.
fn leave_surroundings() -> std::io::Result<()> {
    nix::unistd::setsid()?;
    std::env::set_current_dir("/")?;
    umask(Mode::from_bits_truncate(0o027));
    background::leave_standard_streams()
}

fn no_background(error: std::io::Error) -> Refusal {
    Refusal::new(format!("cannot go into the background: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Request, Refusal> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn papas_flags_are_understood() {
        let options = Options {
            place: Place::Path("/run/papa.sock".into()),
            debug: true,
            daemonize: true,
            title: Some("circusd".to_owned()),
            allowed_users: vec!["www".to_owned(), "33".to_owned()],
            allowed_groups: vec!["adm".to_owned()],
        };
        let arguments = "-d --daemonize -u /run/papa.sock --title=circusd --allow-user www \
                         --allow-user=33 --allow-group adm";
        let arguments: Vec<&str> = arguments.split_ascii_whitespace().collect();
        assert_eq!(parsed(&arguments), Ok(Request::Serve(options)));
        let Ok(Request::Serve(options)) = parsed(&["--port", "1234"]) else { panic!() };
        assert_eq!(options.place, Place::Port(1234));
        let Ok(Request::Serve(options)) = parsed(&[]) else { panic!() };
        assert_eq!(options.place, Place::Port(20202));
    }

    #[test]
    fn arguments_that_mean_nothing_are_named() {
        let text = |arguments: &[&str]| parsed(arguments).unwrap_err().to_string();
        assert_eq!(text(&["-x"]), "unknown argument `-x`");
        assert_eq!(text(&["-p"]), "-p needs a value");
        assert_eq!(text(&["-p", "0"]), "`0` is not a port; use a number from 1 to 65535");
    }
}
