//! What is to be started, and what came of it.

use std::ffi::OsString;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use nix::sys::resource::Resource;
use protocol::papa::{OutputMode, ProcessSpec};

use super::error::SpawnError;
use super::{Credentials, PidFd, resource_by_name};

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

impl ChildSpec {
    /// What a request says about the process by itself: all but its words, its descriptors and whom it runs
    /// as, which have to be looked up.
    ///
    /// # Errors
    /// A limit that does not exist.
    pub fn requested(request: &ProcessSpec) -> Result<Self, SpawnError> {
        let limit = |(name, value): &(String, Option<u64>)| {
            let unknown = || SpawnError::UnknownLimit(name.clone());
            Ok((resource_by_name(name).ok_or_else(unknown)?, *value))
        };
        let output = |mode| match mode {
            OutputMode::Stdout => Output::Stdout,
            OutputMode::Pipe if request.bufsize != Some(0) => Output::Pipe,
            _ => Output::Null,
        };
        let directory = request.working_dir.clone();
        Ok(Self {
            env: request.env.clone(),
            working_dir: directory.map(|path| OsString::from_vec(path).into()),
            rlimits: request.rlimits.iter().map(limit).collect::<Result<_, _>>()?,
            umask: request.umask,
            stdout: output(request.stdout),
            stderr: output(request.stderr),
            ..Self::default()
        })
    }
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
