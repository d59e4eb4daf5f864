//! What is to be started, and what came of it.

use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use nix::sys::resource::Resource;

use super::{Credentials, PidFd};

/// Where standard input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Input {
    /// /dev/null.
    #[default]
    Null,
    /// The caller's.
    Inherit,
    /// A copy of this descriptor of the caller.
    Fd(RawFd),
}

/// Where standard output or standard error goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// /dev/null.
    #[default]
    Null,
    /// The caller's.
    Inherit,
    /// A pipe that the caller reads.
    Pipe,
    /// For standard error only: the same as standard output.
    Stdout,
}

/// A process to start.
#[derive(Debug, Clone, Default)]
pub struct ChildSpec {
    /// Program and arguments. A program without a slash is looked up in the PATH of `env`, or in
    /// the system's default path, after the working directory was entered.
    pub argv: Vec<Vec<u8>>,
    /// The whole environment.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where to start; the caller's directory if absent.
    pub working_dir: Option<PathBuf>,
    /// Whom to run as; the caller if absent.
    pub credentials: Option<Credentials>,
    /// Soft and hard limit; `None` is unlimited.
    pub rlimits: Vec<(Resource, Option<u64>)>,
    /// File mode creation mask; the caller's if absent.
    pub umask: Option<u32>,
    /// Standard input.
    pub stdin: Input,
    /// Standard output.
    pub stdout: Output,
    /// Standard error.
    pub stderr: Output,
    /// Descriptors above 2 that the process gets under the same number.
    pub keep_fds: Vec<RawFd>,
    /// It gets SIGKILL when the **thread** that starts it ends (prctl(2), PR_SET_PDEATHSIG), so start it
    /// from one that lives as long as the program.
    pub die_with_parent: bool,
}

/// A process that was started.
#[derive(Debug)]
pub struct Spawned {
    /// Its number, also that of its session and process group.
    pub pid: i32,
    /// The handle to wait and signal with.
    pub pidfd: PidFd,
    /// Our end of its output, non-blocking and close-on-exec.
    pub stdout: Option<OwnedFd>,
    /// Our end of its error output, non-blocking and close-on-exec.
    pub stderr: Option<OwnedFd>,
}
