//! The command line: arguments, the way into the background, and the only texts printed.

mod request;

use std::ffi::{CString, OsString};
use std::io::Write;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::sys::stat::{Mode, umask};
use papa_handover::{Handover, REHEARSE, Refusal, rehearse};
use papa_spawn::background::{self, Side};
use papa_spawn::child;

use crate::access::Access;
use crate::kernel::{Kernel, State};
use crate::listener::Listener;

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
  -V, --version           print the version
";

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
    match Handover::from_environment() {
        Ok(None) => {}
        Ok(Some(handover)) => return take_over(handover, arguments),
        Err(error) => return fail(&error.to_string(), 1),
    }
    match parse(arguments.iter().cloned()) {
        Ok(Request::Help) => print(USAGE),
        Ok(Request::Version) => print(concat!("papa-kernel ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Request::Rehearse(snapshot)) => match rehearse(snapshot, resume) {
            Ok(text) => print(&format!("{text}\n")),
            Err(error) => fail(&error.to_string(), 1),
        },
        Ok(Request::Upgrade(place, path)) => match request::upgrade(&place, path) {
            Ok(text) => print(&format!("{text}\n")),
            Err(text) => fail(&text, 1),
        },
        Ok(Request::Serve(options)) => match start(&options, arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(text) => fail(&text, 1),
        },
        Err(error) => fail(&format!("{error}; see papa-kernel --help"), 2),
    }
}

fn print(text: &str) -> ExitCode {
    // A reader that has gone wants no more text.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn fail(text: &str, code: u8) -> ExitCode {
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
            attached
                .clone()
                .or_else(|| arguments.next())
                .ok_or_else(|| Refusal::new(format!("{name} needs a value")))
        };
        match name {
            "-h" | "--help" => return Ok(Request::Help),
            "-V" | "--version" => return Ok(Request::Version),
            "-d" | "--debug" => options.debug = true,
            "--daemonize" => options.daemonize = true,
            "-u" | "--unix-socket" => options.place = Place::Path(value()?.into()),
            "--title" => options.title = Some(value()?.to_string_lossy().into_owned()),
            "--allow-user" => options.allowed_users.push(value()?.to_string_lossy().into_owned()),
            "--allow-group" => options.allowed_groups.push(value()?.to_string_lossy().into_owned()),
            "--upgrade" => upgrade = Some(attached.map(PathBuf::from)),
            REHEARSE => {
                let text = value()?.to_string_lossy().into_owned();
                let number = text.parse().ok().filter(|number| *number > 2);
                let bad = || Refusal::new(format!("`{text}` is not the number of a descriptor"));
                return number.map(Request::Rehearse).ok_or_else(bad);
            }
            "-p" | "--port" => {
                let text = value()?.to_string_lossy().into_owned();
                let port = text.parse().ok().filter(|port| *port != 0);
                let bad = || format!("`{text}` is not a port; use a number from 1 to 65535");
                options.place = Place::Port(port.ok_or_else(|| Refusal::new(bad()))?);
            }
            _ => return Err(Refusal::new(format!("unknown argument `{text}`"))),
        }
    }
    Ok(match upgrade {
        Some(path) => Request::Upgrade(options.place, path),
        None => Request::Serve(options),
    })
}

/// Whether a kernel could serve with these arguments, which another version of it got.
fn check_arguments(arguments: Vec<OsString>) -> Result<Options, Refusal> {
    match parse(arguments.into_iter()) {
        Ok(Request::Serve(options)) => Ok(options),
        Ok(_) => Err(Refusal::new("the kernel's arguments do not ask for a kernel")),
        Err(error) => {
            Err(Refusal::new(format!("the kernel's arguments are not understood: {error}")))
        }
    }
}

/// Makes a kernel of what another program holds.
fn resume(state: State) -> Result<(), Refusal> {
    let options = check_arguments(state.origin.arguments())?;
    Kernel::new(state, access(&options)?).map(drop)
}

/// Whom the arguments admit.
fn access(options: &Options) -> Result<Access, Refusal> {
    Access::new(&options.allowed_users, &options.allowed_groups)
}

/// Goes on where another program has left off, or back to that program.
fn take_over(handover: Handover, arguments: Vec<OsString>) -> ExitCode {
    let guard = handover.guard();
    let kernel = check_arguments(arguments).and_then(|options| {
        start_logging(options.debug);
        show_title(options.title.as_deref().unwrap_or_default());
        let access = access(&options)?;
        Kernel::take_over(guard?, access)
    });
    match kernel {
        Ok(kernel) => match kernel.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("the kernel's loop failed: {error}"), 1),
        },
        Err(error) => fail(&handover.roll_back(&error.to_string()), 1),
    }
}

/// Listens and serves; with `--daemonize` in a process of its own.
fn start(options: &Options, arguments: Vec<OsString>) -> Result<(), String> {
    let launcher = if options.daemonize {
        match background::split().map_err(no_background)? {
            Side::Launcher(told) => return told,
            Side::Daemon(launcher) => Some(launcher),
        }
    } else {
        None
    };
    start_logging(options.debug);
    let prepared =
        prepare(options, arguments).map_err(|error| error.to_string()).and_then(|kernel| {
            if options.daemonize {
                leave_surroundings()?;
            }
            Ok(kernel)
        });
    match (prepared, launcher) {
        (Ok(kernel), launcher) => {
            if let Some(launcher) = launcher {
                launcher.ready();
            }
            kernel.run().map_err(|error| format!("the kernel's loop failed: {error}"))
        }
        (Err(text), Some(launcher)) => {
            launcher.failed(&text);
            Ok(()) // The launcher reports it.
        }
        (Err(text), None) => Err(text),
    }
}

fn prepare(options: &Options, arguments: Vec<OsString>) -> Result<Kernel, Refusal> {
    if let Some(title) = &options.title {
        show_title(title);
    }
    let access = access(options)?;
    let listener = match &options.place {
        Place::Port(port) => Listener::on_port(*port)?,
        Place::Path(path) => Listener::on_path(path, &access)?,
    };
    child::raise_own_limits();
    // A circusd that starts us has a short one, and what we start would get it. No harm if it stays.
    let _ = papa_spawn::sys::set_time_slice(None);
    Kernel::new(State::new(listener, arguments), access)
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
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .finish();
    // Whoever runs the kernel inside its own program may have a log already.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Lets go of the launcher's session, directory, mask and terminal, as papa's daemon does.
fn leave_surroundings() -> Result<(), String> {
    nix::unistd::setsid().map_err(|errno| no_background(errno.into()))?;
    std::env::set_current_dir("/").map_err(no_background)?;
    umask(Mode::from_bits_truncate(0o027));
    background::leave_standard_streams().map_err(no_background)
}

fn no_background(error: std::io::Error) -> String {
    format!("cannot go into the background: {error}")
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
