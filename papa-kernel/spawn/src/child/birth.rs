//! The moment in which one process becomes two.
//!
//! clone(2) with a stack of its own. Usually the child borrows our memory until it executes its program, and
//! the thread that starts it waits: nothing is copied, and no page of a large and busy daemon has to be copied
//! on the next write as after a fork(2). A child that changes its user gets a copy of our memory instead: else
//! processes of that user could look into ours through it (ptrace(2), `PR_SET_DUMPABLE`).

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;

use super::PidFd;
use crate::sys;

/// The stack of the child, in bytes, without the page that holds what it reports.
const STACK: usize = 64 * 1024;
/// The lowest page of the mapping: the report. The stack grows down towards it.
const REPORT: usize = 4096;

/// What runs in the child. Makes only async-signal-safe calls on data prepared before, and allocates nothing.
pub(super) trait Unborn {
    /// Becomes the program. Comes back only with a number, not 0, that says what failed.
    fn carry_out(&mut self) -> i32;

    /// The child may use our memory until it runs its program.
    fn may_share_memory(&self) -> bool;
}

/// A child could not be made.
pub(super) enum Stillbirth {
    /// By the system.
    System(io::Error),
    /// The number with which [`Unborn::carry_out`] came back.
    Step(i32),
}

impl From<io::Error> for Stillbirth {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Memory that parent and child both see: the report of the child and its stack.
struct Stage(*mut c_void);

impl Stage {
    /// Under a limit (RLIMIT_AS) what the program has freed may be all that is left, and still be held by the
    /// allocator, where no mapping can have it. So that is given back before there is no memory.
    fn new() -> io::Result<Self> {
        Self::map().or_else(|_| {
            sys::give_freed_memory_back();
            Self::map()
        })
    }

    fn map() -> io::Result<Self> {
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
        );
        // SAFETY: a new mapping that replaces nothing.
        let base = unsafe { libc::mmap(ptr::null_mut(), REPORT + STACK, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(base))
    }

    fn report(&self) -> &AtomicI32 {
        // SAFETY: the mapping begins on a page, is zeroed and lives as long as `self`.
        unsafe { &*self.0.cast::<AtomicI32>() }
    }

    fn top(&self) -> *mut c_void {
        // SAFETY: one past the end of the mapping.
        unsafe { self.0.byte_add(REPORT + STACK) }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // SAFETY: our own mapping; the child has left it, since clone(2) returned.
        unsafe { libc::munmap(self.0, REPORT + STACK) };
    }
}

struct Child<'a> {
    unborn: &'a mut dyn Unborn,
    report: &'a AtomicI32,
}

extern "C" fn live(child: *mut c_void) -> libc::c_int {
    // SAFETY: the `Child` of `give_birth`, which waits until we are gone from its memory.
    let child = unsafe { &mut *child.cast::<Child<'_>>() };
    let failed = child.unborn.carry_out();
    child.report.store(failed, Ordering::Release);
    // SAFETY: ends the child without running any of the parent's code.
    unsafe { libc::_exit(127) }
}

/// Starts a child and returns its pid when it runs its program, or was killed before.
pub(super) fn give_birth(unborn: &mut dyn Unborn) -> Result<(i32, PidFd), Stillbirth> {
    let stage = Stage::new()?;
    let memory = if unborn.may_share_memory() { libc::CLONE_VM } else { 0 };
    let flags = memory | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut child = Child { unborn, report: stage.report() };
    let mut pidfd: libc::c_int = -1;
    // A signal that came to the child before it has its own handlers would run ours in our memory.
    let before = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK);
    let before = before.map_err(io::Error::from)?;
    // SAFETY: `live` gets a stack of its own and a pointer to a `Child` that outlives it, since CLONE_VFORK
    // holds this thread up until the child has left this memory. It makes only async-signal-safe calls.
    let pid = unsafe {
        let child = (&raw mut child).cast::<c_void>();
        libc::clone(live, stage.top(), flags, child, &raw mut pidfd)
    };
    let cloned = if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // The mask was in force before, so it is accepted.
    let _ = before.thread_set_mask();
    cloned?;
    // SAFETY: CLONE_PIDFD has just made this descriptor for us, close-on-exec.
    let pidfd = PidFd::from(unsafe { OwnedFd::from_raw_fd(pidfd) });
    match stage.report().load(Ordering::Acquire) {
        0 => Ok((pid, pidfd)),
        failed => {
            bury(&pidfd);
            Err(Stillbirth::Step(failed))
        }
    }
}

/// Waits for a child that is about to exit.
fn bury(pidfd: &PidFd) {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    while poll(&mut fds, PollTimeout::NONE) == Err(nix::Error::EINTR) {}
    // Nobody else waits for it.
    let _ = pidfd.reap();
}
