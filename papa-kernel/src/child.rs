//! Starting a process: everything between a description of it and its pid.
//!
//! Used by the kernel for hosted processes and by circusd for its own. All lookups happen before
//! the fork; between fork and exec only async-signal-safe calls run, on data prepared before.
//! Never decides when to start, stop or signal anything.
#![expect(unsafe_code, reason = "the step between fork and exec")]

mod credentials;
mod error;
mod frozen;
mod pidfd;

pub use crate::exit::Exit;
pub use credentials::Credentials;
pub use error::SpawnError;
pub(crate) use frozen::{freeze_shield, thaw_shield};
pub use nix::sys::resource::Resource;
pub use pidfd::PidFd;

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Pid, Uid, chdir, getpid, getppid, setgid, setgroups, setsid, setuid};

use crate::snapshot::v1::Shield;
use crate::sys;

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

/// What this process changed about itself and its children must not inherit.
static SHIELD: OnceLock<Shield> = OnceLock::new();

/// Raises this process' own limit of open files to what it may have. Children started after
/// this get the original limit back, and lose a protection from the OOM killer.
pub(crate) fn raise_own_limits() {
    const MOST: u64 = 1 << 20;
    let Ok(original) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let oom = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    let reset_oom = oom.trim().parse::<i32>().is_ok_and(|score| score < 0);
    if SHIELD.set(Shield { nofile: original, reset_oom }).is_ok() {
        let wanted = original.1.max(MOST);
        let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted)
            .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, original.1, original.1));
        if let Err(error) = raised {
            tracing::warn!(%error, "could not raise the limit of open files");
        }
    }
}

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
/// was given. May be called from any thread.
///
/// # Errors
/// [`SpawnError`] names what failed; nothing is left behind then.
pub fn spawn(spec: &ChildSpec) -> Result<Spawned, SpawnError> {
    let program = spec.argv.first().ok_or(SpawnError::NoCommand)?;
    refuse_zero_bytes(spec)?;
    let mut command = Command::new(OsStr::from_bytes(program));
    command.args(spec.argv.iter().skip(1).map(|word| OsStr::from_bytes(word)));
    command.env_clear();
    command.envs(spec.env.iter().map(|(k, v)| (OsStr::from_bytes(k), OsStr::from_bytes(v))));
    let system = |step| move |source| SpawnError::System { step, source };
    command.stdin(match spec.stdin {
        Input::Null => Stdio::null(),
        Input::Inherit => Stdio::inherit(),
        Input::Fd(fd) => Stdio::from(sys::duplicate(fd).map_err(system("copy the input"))?),
    });
    let pipe = |output| match output {
        Output::Pipe => output_pipe().map(Some).map_err(system("make a pipe")),
        _ => Ok(None),
    };
    let (stdout, mut stdout_child) = pipe(spec.stdout)?.unzip();
    let (stderr, stderr_child) = pipe(spec.stderr)?.unzip();
    if let Some(end) = stderr_child {
        command.stderr(end);
    } else {
        command.stderr(match (spec.stderr, spec.stdout, &stdout_child) {
            (Output::Stdout, _, Some(end)) => {
                Stdio::from(end.try_clone().map_err(system("copy a pipe"))?)
            }
            (Output::Stdout, Output::Inherit, None) => {
                Stdio::from(sys::duplicate(1).map_err(system("copy the output"))?)
            }
            (Output::Inherit, ..) => Stdio::inherit(),
            _ => Stdio::null(),
        });
    }
    command.stdout(match (stdout_child.take(), spec.stdout) {
        (Some(end), _) => Stdio::from(end),
        (None, Output::Inherit) => Stdio::inherit(),
        (None, _) => Stdio::null(),
    });

    let plan = Plan::new(spec)?;
    // SAFETY: `Plan::carry_out` makes only async-signal-safe calls on data prepared here.
    unsafe { command.pre_exec(move || plan.carry_out()) };
    let child = command.spawn().map_err(|error| explain(spec, error))?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other).map_err(system("read a pid"))?;
    match PidFd::open(pid) {
        Ok(pidfd) => Ok(Spawned { pid, pidfd, stdout, stderr }),
        Err(error) => {
            let mut child = child;
            // It is our child and not reaped, so the number is still its own.
            let _ = child.kill();
            let _ = child.wait();
            Err(system("watch the new process")(error))
        }
    }
}

fn refuse_zero_bytes(spec: &ChildSpec) -> Result<(), SpawnError> {
    let has_zero = |bytes: &[u8]| bytes.contains(&0);
    let directory = spec.working_dir.as_deref().map(|path| path.as_os_str().as_bytes());
    if spec.argv.iter().any(|word| has_zero(word)) {
        return Err(SpawnError::NulByte { what: "command" });
    }
    if spec.env.iter().any(|(key, value)| has_zero(key) || has_zero(value)) {
        return Err(SpawnError::NulByte { what: "environment" });
    }
    if directory.is_some_and(has_zero) {
        return Err(SpawnError::NulByte { what: "working_dir" });
    }
    Ok(())
}

/// Our end (non-blocking) and the child's end (blocking) of a pipe.
fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((ours, theirs))
}

/// What the child does between fork and exec.
struct Plan {
    working_dir: Option<CString>,
    limits: Vec<(Resource, u64)>,
    restore_nofile: Option<(u64, u64)>,
    reset_oom: bool,
    groups: Option<Vec<Gid>>,
    gid: Option<Gid>,
    uid: Option<Uid>,
    umask: Option<Mode>,
    keep_fds: Vec<RawFd>,
    /// The pid of the parent without which it must not live.
    parent: Option<Pid>,
}

/// Which step of the plan failed. Travels to the parent in the upper half of the error number,
/// the only thing that std passes on.
#[derive(Clone, Copy)]
enum Step {
    Exec = 0,
    Session = 1,
    WorkingDir = 2,
    Groups = 3,
    Group = 4,
    User = 5,
    KeepFd = 6,
    Parent = 7,
    /// And above: the number of the limit.
    Limit = 16,
}

impl Plan {
    fn new(spec: &ChildSpec) -> Result<Self, SpawnError> {
        let shield = SHIELD.get();
        let credentials = spec.credentials.as_ref();
        let limits: Vec<_> = spec
            .rlimits
            .iter()
            .map(|&(resource, limit)| (resource, limit.unwrap_or(libc::RLIM_INFINITY)))
            .collect();
        let own_nofile = limits.iter().any(|(resource, _)| *resource == Resource::RLIMIT_NOFILE);
        let working_dir =
            spec.working_dir.as_ref().map(|path| CString::new(path.as_os_str().as_bytes()));
        Ok(Self {
            working_dir: working_dir
                .transpose()
                .map_err(|_| SpawnError::NulByte { what: "working_dir" })?,
            limits,
            restore_nofile: shield.filter(|_| !own_nofile).map(|shield| shield.nofile),
            reset_oom: shield.is_some_and(|shield| shield.reset_oom),
            groups: credentials.and_then(Credentials::groups),
            gid: credentials.map(|credentials| Gid::from_raw(credentials.gid())),
            uid: credentials.and_then(Credentials::uid).map(Uid::from_raw),
            umask: spec.umask.map(Mode::from_bits_truncate),
            keep_fds: spec.keep_fds.clone(),
            parent: spec.die_with_parent.then(getpid),
        })
    }

    /// Runs in the child. No allocation, no lock, no log.
    fn carry_out(&self) -> io::Result<()> {
        let at = |step: Step| move |errno: nix::Error| failure(step as i32, errno as i32);
        reset_signals();
        setsid().map_err(at(Step::Session))?;
        if let Some(path) = &self.working_dir {
            chdir(path.as_c_str()).map_err(at(Step::WorkingDir))?;
        }
        if self.reset_oom {
            // Failing leaves the child protected from the OOM killer, no worse.
            let _ = reset_oom_score();
        }
        if let Some((soft, hard)) = self.restore_nofile {
            // Lowering is always allowed; a failure would only leave more than was asked for.
            let _ = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
        }
        for (index, &(resource, limit)) in (0..).zip(&self.limits) {
            setrlimit(resource, limit, limit)
                .map_err(|errno| failure(Step::Limit as i32 + index, errno as i32))?;
        }
        if let Some(groups) = &self.groups {
            setgroups(groups).map_err(at(Step::Groups))?;
        }
        if let Some(gid) = self.gid {
            setgid(gid).map_err(at(Step::Group))?;
        }
        if let Some(uid) = self.uid {
            setuid(uid).map_err(at(Step::User))?;
        }
        if let Some(parent) = self.parent {
            // After the change of user, which would take the request back.
            set_pdeathsig(Signal::SIGKILL).map_err(at(Step::Parent))?;
            if getppid() != parent {
                return Err(failure(Step::Parent as i32, libc::ESRCH));
            }
        }
        if let Some(mask) = self.umask {
            umask(mask);
        }
        let keep = |error: io::Error| {
            failure(Step::KeepFd as i32, error.raw_os_error().unwrap_or_default())
        };
        // Also those that we inherited unmarked.
        sys::close_all_on_exec().map_err(keep)?;
        self.keep_fds.iter().try_for_each(|fd| sys::set_close_on_exec(*fd, false).map_err(keep))
    }
}

fn failure(step: i32, errno: i32) -> io::Error {
    io::Error::from_raw_os_error((step << 16) | (errno & 0xffff))
}

/// No signal blocked, none ignored.
fn reset_signals() {
    const LAST_SIGNAL: libc::c_int = 64;
    for signal in 1..=LAST_SIGNAL {
        // SAFETY: sets a default disposition; numbers that cannot be set give an error.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // An empty mask is always accepted.
    let _ = SigSet::empty().thread_set_mask();
}

fn reset_oom_score() -> nix::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let file = open(c"/proc/self/oom_score_adj", flags, Mode::empty())?;
    nix::unistd::write(file, b"0").map(drop)
}

/// Turns the number that came from the child into what failed.
fn explain(spec: &ChildSpec, error: io::Error) -> SpawnError {
    let Some(code) = error.raw_os_error() else {
        return SpawnError::System { step: "start a process", source: error };
    };
    let (step, source) = (code >> 16, io::Error::from_raw_os_error(code & 0xffff));
    let is = |known: Step| step == known as i32;
    let program = || {
        let program = spec.argv.first().map(Vec::as_slice).unwrap_or_default();
        String::from_utf8_lossy(program).into_owned()
    };
    if is(Step::Exec) {
        // The fork itself fails with these, exec does not.
        return match source.raw_os_error() {
            Some(libc::ENOENT) => SpawnError::ProgramNotFound { program: program() },
            Some(libc::EAGAIN | libc::EMFILE | libc::ENFILE) => {
                SpawnError::System { step: "start a process", source }
            }
            _ => SpawnError::Exec { program: program(), source },
        };
    }
    if is(Step::WorkingDir) {
        let path = spec.working_dir.clone().unwrap_or_default();
        return SpawnError::WorkingDir { path, source };
    }
    let credentials =
        [(Step::Groups, "supplementary groups"), (Step::Group, "group"), (Step::User, "user")];
    if let Some((_, what)) = credentials.into_iter().find(|(known, _)| is(*known)) {
        return SpawnError::Credentials { what, source };
    }
    let limit = usize::try_from(step - Step::Limit as i32).ok();
    if let Some((resource, _)) = limit.and_then(|index| spec.rlimits.get(index)) {
        let name = format!("{resource:?}");
        let name = name.strip_prefix("RLIMIT_").unwrap_or(&name).to_ascii_lowercase();
        return SpawnError::Limit { name, source };
    }
    let step = if is(Step::Session) {
        "start a session"
    } else if is(Step::Parent) {
        "tie a process to its parent"
    } else {
        "pass on a descriptor"
    };
    SpawnError::System { step, source }
}

#[cfg(test)]
#[path = "child/tests.rs"]
mod tests;
