//! Going into the background, and telling the launcher how it went.
//!
//! Used by the kernel and by circusd. The launcher waits on a pipe until the daemon says that it is ready or
//! what failed, so nobody has to ask whether it is there yet.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;

use crate::sys::{Fork, close_all, fork};

/// What the daemon says when it is ready; anything else is what failed.
const READY: &str = "ready";

/// On which side of the fork we are.
pub enum Side {
    /// In the launcher, once the daemon is ready or has said what failed.
    Launcher(Result<(), String>),
    /// In the daemon, which has to tell the launcher.
    Daemon(Launcher),
}

/// The launcher that waits.
pub struct Launcher(OwnedFd);

impl Launcher {
    /// Lets the launcher end successfully.
    pub fn ready(self) {
        self.tell(READY);
    }

    /// Gives the launcher the reason why there will be no daemon.
    pub fn failed(self, reason: &str) {
        self.tell(reason);
    }

    fn tell(self, text: &str) {
        // A launcher that was killed needs no answer.
        let _ = File::from(self.0).write_all(text.as_bytes());
    }
}

/// Splits the process in two; the launcher returns when the daemon has said something or is gone. The daemon
/// is still in the launcher's session.
///
/// # Errors
/// There is more than one thread, or no room for another process.
pub fn split() -> io::Result<Side> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    match fork()? {
        Fork::Child => Ok(Side::Daemon(Launcher(writer))),
        Fork::Parent => {
            drop(writer);
            let mut text = String::new();
            File::from(reader).read_to_string(&mut text)?;
            Ok(Side::Launcher(match text.as_str() {
                READY => Ok(()),
                "" => Err("the daemon ended before it was ready".to_owned()),
                reason => Err(reason.to_owned()),
            }))
        }
    }
}

/// Like [`split`], and lets go of everything that the launcher had: its session and terminal, every open
/// descriptor, the standard three. Directory and umask stay.
///
/// The daemon leads no session, so it never gets a terminal by opening one. Nothing but the standard three may
/// be open that anybody will use again.
///
/// # Errors
/// As [`split`].
pub fn detach() -> io::Result<Side> {
    close_all()?;
    let launcher = match split()? {
        Side::Launcher(told) => return Ok(Side::Launcher(told)),
        Side::Daemon(launcher) => launcher,
    };
    nix::unistd::setsid()?;
    if let Fork::Parent = fork()? {
        // The daemon has its own copy of the pipe, so the launcher goes on waiting.
        std::process::exit(0);
    }
    leave_standard_streams()?;
    Ok(Side::Daemon(launcher))
}

/// Puts /dev/null in the place of the three standard streams.
///
/// # Errors
/// There is no /dev/null.
pub fn leave_standard_streams() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}
