//! Starting a process: everything between a description of it and its pid.
//!
//! Used by the kernel for hosted processes and by circusd for its own. All lookups happen before
//! the child is there; in it only async-signal-safe calls run, on data prepared before.
//! Never decides when to start, stop or signal anything.
#![expect(unsafe_code, reason = "the step from one process to two")]

mod birth;
mod credentials;
mod error;
mod pidfd;
mod program;
mod shield;
mod spec;
mod steps;

pub use crate::exit::Exit;
pub use credentials::Credentials;
pub use error::SpawnError;
pub use nix::sys::resource::Resource;
pub use pidfd::PidFd;
pub use shield::{Shield, raise_own_limits, restore_shield, shield};
pub use spec::{ChildSpec, Input, Output, Spawned};

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::sys;
use birth::{Stillbirth, give_birth};
use steps::{Steps, explain};

/// The limit of this name: `nofile`, `NOFILE` and `RLIMIT_NOFILE` are the same.
pub fn resource_by_name(name: &str) -> Option<Resource> {
    let upper = name.to_ascii_uppercase();
    Some(match upper.strip_prefix("RLIMIT_").unwrap_or(&upper) {
        "AS" => Resource::RLIMIT_AS,
        "CORE" => Resource::RLIMIT_CORE,
        "CPU" => Resource::RLIMIT_CPU,
        "DATA" => Resource::RLIMIT_DATA,
        "FSIZE" => Resource::RLIMIT_FSIZE,
        "LOCKS" => Resource::RLIMIT_LOCKS,
        "MEMLOCK" => Resource::RLIMIT_MEMLOCK,
        "MSGQUEUE" => Resource::RLIMIT_MSGQUEUE,
        "NICE" => Resource::RLIMIT_NICE,
        "NOFILE" | "OFILE" => Resource::RLIMIT_NOFILE,
        "NPROC" => Resource::RLIMIT_NPROC,
        "RSS" => Resource::RLIMIT_RSS,
        "RTPRIO" => Resource::RLIMIT_RTPRIO,
        "RTTIME" => Resource::RLIMIT_RTTIME,
        "SIGPENDING" => Resource::RLIMIT_SIGPENDING,
        "STACK" => Resource::RLIMIT_STACK,
        _ => return None,
    })
}

/// Starts the process, in a session of its own, with default signals and only the descriptors it
/// was given. May be called from any thread, which it holds up until the program runs.
///
/// # Errors
/// [`SpawnError`] names what failed; nothing is left behind then.
pub fn spawn(spec: &ChildSpec) -> Result<Spawned, SpawnError> {
    let system = |step| move |source| SpawnError::System { step, source };
    let stdin = match spec.stdin {
        Input::Null => Some(null().map_err(system("open /dev/null"))?),
        Input::Inherit => None,
        Input::Fd(fd) => Some(sys::duplicate(fd).map_err(system("copy the input"))?),
    };
    let (ours_out, stdout) = output(spec.stdout, None)?;
    let (ours_err, stderr) = output(spec.stderr, stdout.as_ref())?;
    let mut steps = Steps::new(spec, [stdin, stdout, stderr])?;
    match give_birth(&mut steps) {
        Ok((pid, pidfd)) => Ok(Spawned { pid, pidfd, stdout: ours_out, stderr: ours_err }),
        Err(Stillbirth::System(error)) => Err(system("start a process")(error)),
        Err(Stillbirth::Step(failed)) => Err(explain(spec, failed)),
    }
}

/// Our end and the child's of an output; none of the child's where it has ours.
fn output(
    output: Output,
    stdout: Option<&OwnedFd>,
) -> Result<(Option<OwnedFd>, Option<OwnedFd>), SpawnError> {
    let system = |step| move |source| SpawnError::System { step, source };
    match output {
        Output::Null => Ok((None, Some(null().map_err(system("open /dev/null"))?))),
        Output::Inherit => Ok((None, None)),
        Output::Pipe => {
            let (ours, theirs) = output_pipe().map_err(system("make a pipe"))?;
            Ok((Some(ours), Some(theirs)))
        }
        Output::Stdout => {
            let fd = stdout.map_or(1, AsRawFd::as_raw_fd);
            Ok((None, Some(sys::duplicate(fd).map_err(system("copy the output"))?)))
        }
    }
}

fn null() -> io::Result<OwnedFd> {
    above_stdio(File::options().read(true).write(true).open("/dev/null")?.into())
}

/// Our end (non-blocking) and the child's end (blocking) of a pipe.
fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((ours, above_stdio(theirs)?))
}

/// The same with a number above 2, so that it is not overwritten before it was copied there.
fn above_stdio(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { sys::duplicate(fd.as_raw_fd()) }
}

#[cfg(test)]
#[path = "child/tests.rs"]
mod tests;
