//! What a new process does before it becomes its program, step by step.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, chdir, getpid, getppid, setsid};

use super::birth::Unborn;
use super::credentials::Credentials;
use super::error::SpawnError;
use super::program::Program;
use super::shield::shield;
use super::spec::ChildSpec;
use crate::sys;

/// Which step failed. Travels to the parent in the upper half of a number, over the error number.
#[derive(Clone, Copy)]
enum Step {
    Exec = 1,
    Session = 2,
    WorkingDir = 3,
    Groups = 4,
    Group = 5,
    User = 6,
    Descriptor = 7,
    Parent = 8,
    /// And above: the number of the limit.
    Limit = 16,
}

/// What the child does between its birth and its program.
pub(super) struct Steps {
    program: Program,
    /// What its descriptors 0, 1 and 2 are copies of; their own of ours where absent. None of it is below 3.
    stdio: [Option<OwnedFd>; 3],
    working_dir: Option<CString>,
    limits: Vec<(Resource, u64)>,
    restore_nofile: Option<(u64, u64)>,
    reset_oom: bool,
    credentials: Option<Credentials>,
    umask: Option<Mode>,
    keep_fds: Vec<RawFd>,
    /// The pid of the parent without which it must not live.
    parent: Option<Pid>,
}

impl Steps {
    pub(super) fn new(spec: &ChildSpec, stdio: [Option<OwnedFd>; 3]) -> Result<Self, SpawnError> {
        let shield = shield();
        let own_nofile = |(resource, _): &(Resource, _)| *resource == Resource::RLIMIT_NOFILE;
        let directory = spec.working_dir.as_ref();
        let directory = directory.map(|path| CString::new(path.as_os_str().as_bytes()));
        let limit = |&(resource, limit): &(Resource, Option<u64>)| {
            (resource, limit.unwrap_or(libc::RLIM_INFINITY))
        };
        Ok(Self {
            program: Program::new(spec)?,
            stdio,
            working_dir: directory
                .transpose()
                .map_err(|_| SpawnError::NulByte { what: "working_dir" })?,
            limits: spec.rlimits.iter().map(limit).collect(),
            restore_nofile: shield
                .filter(|_| !spec.rlimits.iter().any(own_nofile))
                .map(|shield| shield.nofile),
            reset_oom: shield.is_some_and(|shield| shield.reset_oom),
            credentials: spec.credentials.clone(),
            umask: spec.umask.map(Mode::from_bits_truncate),
            keep_fds: spec.keep_fds.clone(),
            parent: spec.die_with_parent.then(getpid),
        })
    }

    /// Everything but the program. Runs in the child: no allocation, no lock, no log.
    fn prepare(&self) -> Result<(), i32> {
        let at = |step: Step| move |errno: Errno| failure(step as i32, errno as i32);
        let system = |step: Step| {
            move |error: io::Error| failure(step as i32, error.raw_os_error().unwrap_or_default())
        };
        reset_signals();
        for (target, source) in (0..).zip(&self.stdio) {
            if let Some(source) = source {
                sys::copy_onto(source.as_raw_fd(), target).map_err(system(Step::Descriptor))?;
            }
        }
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
            setrlimit(resource, limit, limit).map_err(at_limit(index))?;
        }
        if let Some(credentials) = &self.credentials {
            if let Some(groups) = &credentials.groups {
                sys::set_own_groups(groups).map_err(system(Step::Groups))?;
            }
            sys::set_own_group(credentials.gid).map_err(system(Step::Group))?;
            if let Some(uid) = credentials.uid {
                sys::set_own_user(uid).map_err(system(Step::User))?;
            }
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
        // Also those that we inherited unmarked.
        sys::close_all_on_exec().map_err(system(Step::Descriptor))?;
        let keep = |fd: &RawFd| sys::set_close_on_exec(*fd, false);
        self.keep_fds.iter().try_for_each(keep).map_err(system(Step::Descriptor))
    }
}

impl Unborn for Steps {
    fn carry_out(&mut self) -> i32 {
        match self.prepare() {
            Ok(()) => failure(Step::Exec as i32, self.program.exec() as i32),
            Err(failed) => failed,
        }
    }

    fn may_share_memory(&self) -> bool {
        self.credentials.is_none()
    }
}

fn failure(step: i32, errno: i32) -> i32 {
    (step << 16) | (errno & 0xffff)
}

fn at_limit(index: i32) -> impl Fn(Errno) -> i32 {
    move |errno| failure(Step::Limit as i32 + index, errno as i32)
}

/// No signal ignored or handled, then none blocked.
fn reset_signals() {
    const LAST_SIGNAL: libc::c_int = 64;
    for signal in 1..=LAST_SIGNAL {
        sys::set_default_action(signal);
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
pub(super) fn explain(spec: &ChildSpec, code: i32) -> SpawnError {
    let (step, source) = (code >> 16, io::Error::from_raw_os_error(code & 0xffff));
    let is = |known: Step| step == known as i32;
    if is(Step::Exec) {
        let program = spec.argv.first().map(Vec::as_slice).unwrap_or_default();
        let program = String::from_utf8_lossy(program).into_owned();
        return match source.raw_os_error() {
            Some(libc::ENOENT) => SpawnError::ProgramNotFound { program },
            // A limit of processes that the change of user went over.
            Some(libc::EAGAIN) => SpawnError::System { step: "start a process", source },
            _ => SpawnError::Exec { program, source },
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
