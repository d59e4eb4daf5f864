//! The few raw system calls that no safe wrapper offers.
//!
//! With `child` the only module that may use `unsafe`. Each function makes one call and turns its
//! result into an `io::Result`; none of them knows what it is used for.
#![expect(unsafe_code, reason = "raw system calls, each wrapped in one safe function")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::exit::Exit;

fn checked(result: libc::c_long) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(result).map_err(io::Error::other)
}

/// A descriptor for the process `pid`, close-on-exec (pidfd_open(2)).
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let fd = checked(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal (pidfd_send_signal(2)).
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let info = std::ptr::null::<libc::siginfo_t>();
    let fd = pidfd.as_raw_fd();
    // SAFETY: a null siginfo is allowed and means that of kill(2).
    checked(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, info, 0) })?;
    Ok(())
}

/// The end of a child, if it has come; `keep` leaves the child waitable (waitid(2)).
pub(crate) fn wait_pidfd(pidfd: BorrowedFd<'_>, keep: bool) -> io::Result<Option<Exit>> {
    // SAFETY: siginfo_t is plain data, for which all zeros is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | if keep { libc::WNOWAIT } else { 0 };
    let fd = libc::id_t::try_from(pidfd.as_raw_fd()).map_err(io::Error::other)?;
    // SAFETY: `info` is a valid siginfo_t that outlives the call.
    let result = unsafe { libc::waitid(libc::P_PIDFD, fd, &raw mut info, flags) };
    checked(result.into())?;
    // SAFETY: waitid filled `info` in as for SIGCHLD, or left it zero when no child had ended.
    let pid = unsafe { info.si_pid() };
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    Ok(Some(match info.si_code {
        libc::CLD_EXITED => Exit::Code(status),
        _ => Exit::Signal(status),
    }))
}

/// A close-on-exec copy of a descriptor given by number.
///
/// # Errors
/// It is not open, or none is left.
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes an integer; a number that is not open gives EBADF.
    let copy = checked(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) }.into())?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Bytes that were written to a socket and have not reached the other end: its system over TCP, its
/// program over a unix socket (tcp(7), unix(7)).
pub(crate) fn unsent_bytes(socket: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    let mut count: libc::c_int = 0;
    // SAFETY: `count` is an integer that outlives the call, which fills it in.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    checked(result.into())?;
    Ok(count)
}

/// The supplementary groups of the other end of a unix connection (SO_PEERGROUPS, unix(7)).
pub(crate) fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0u32; 32];
    loop {
        let room = groups.len() * size_of::<u32>();
        let mut length = libc::socklen_t::try_from(room).map_err(io::Error::other)?;
        let (fd, buffer) = (socket.as_raw_fd(), groups.as_mut_ptr().cast());
        let (level, name) = (libc::SOL_SOCKET, libc::SO_PEERGROUPS);
        // SAFETY: `buffer` has room for `length` bytes, and both outlive the call.
        let result = unsafe { libc::getsockopt(fd, level, name, buffer, &raw mut length) };
        let needed = length as usize / size_of::<u32>();
        match checked(result.into()) {
            Ok(_) => {
                groups.truncate(needed);
                return Ok(groups);
            }
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) && needed > groups.len() => {
                groups.resize(needed, 0);
            }
            Err(error) => return Err(error),
        }
    }
}

/// The descriptor that `owner` has the number of. Only numbers above 2 are known to be in use as long as
/// their owner lives: they were opened here, or came over an exec and were looked at since.
pub fn borrow(owner: &impl AsRawFd) -> BorrowedFd<'_> {
    // SAFETY: it is open as long as its owner lives, as said above, and no owner has the number -1.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}

/// The descriptor of this number, which has no other owner: it came over an exec or was just made.
///
/// # Errors
/// When it is not open.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD takes an integer; a number that is not open gives EBADF.
    checked(unsafe { libc::fcntl(fd, libc::F_GETFD) }.into())?;
    // SAFETY: it is open, and the caller takes each number once, before anything else in this
    // program can own it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes `target` a copy of `fd` that stays open at an exec (dup2(2)).
pub(crate) fn copy_onto(fd: RawFd, target: RawFd) -> io::Result<()> {
    // SAFETY: the caller is a new process that executes its program next, so nothing there owns `target`.
    checked(unsafe { libc::dup2(fd, target) }.into()).map(drop)
}

/// What the system does by itself with this signal (signal(2)). One that cannot be set is left alone.
pub(crate) fn set_default_action(signal: libc::c_int) {
    // SAFETY: sets a default disposition; numbers that cannot be set give an error.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// The supplementary groups of the calling thread alone. The C library's setgroups(3) would also look for its
/// other threads, which in a child that borrows our memory are ours.
pub(crate) fn set_own_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the kernel reads as many numbers as there are.
    let result = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    checked(result).map(drop)
}

/// The group of the calling thread alone; see [`set_own_groups`].
pub(crate) fn set_own_group(gid: u32) -> io::Result<()> {
    // SAFETY: takes an integer.
    checked(unsafe { libc::syscall(libc::SYS_setgid, gid) }).map(drop)
}

/// The user of the calling thread alone; see [`set_own_groups`].
pub(crate) fn set_own_user(uid: u32) -> io::Result<()> {
    // SAFETY: takes an integer.
    checked(unsafe { libc::syscall(libc::SYS_setuid, uid) }).map(drop)
}

/// Says whether the descriptor of this number is closed at an exec.
///
/// # Errors
/// It is not open.
pub fn set_close_on_exec(fd: RawFd, closed: bool) -> io::Result<()> {
    let flag = if closed { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: F_SETFD takes integers; a number that is not open gives EBADF.
    checked(unsafe { libc::fcntl(fd, libc::F_SETFD, flag) }.into()).map(drop)
}

/// Closes all descriptors above 2 at an exec (close_range(2)).
///
/// # Errors
/// The system does not know the call.
pub fn close_all_on_exec() -> io::Result<()> {
    // SAFETY: only sets flags; the descriptors stay open.
    checked(
        unsafe { libc::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) }.into(),
    )
    .map(drop)
}

/// Closes all descriptors above 2 (close_range(2)). Only for a program that has just begun and owns none.
pub(crate) fn close_all() -> io::Result<()> {
    // SAFETY: the caller owns no descriptor above 2, so nobody's is closed behind its back.
    checked(unsafe { libc::close_range(3, u32::MAX, 0) }.into()).map(drop)
}

/// A program to become when this one crashes: prepared here, since a signal handler must not
/// allocate.
#[derive(Debug)]
struct Fallback {
    program: RawFd,
    /// Both end with a null pointer. The strings are never freed.
    words: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
}

static FALLBACK: AtomicPtr<Fallback> = AtomicPtr::new(std::ptr::null_mut());

/// How long the calling thread runs before others get their turn (sched_setattr(2)); none is what the system
/// thinks right. With a short slice it is let in sooner when it wakes, since Linux 6.12; older ones ignore it.
/// Threads and processes that it starts from then on inherit it.
pub fn set_time_slice(slice: Option<Duration>) -> io::Result<()> {
    // SAFETY: sched_attr is plain data, for which all zeros is a value.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::sched_attr>();
    let own = 0;
    // SAFETY: the system fills in at most `size` bytes of `attributes`, which outlives the call.
    let read = unsafe { libc::syscall(libc::SYS_sched_getattr, own, &raw mut attributes, size, 0) };
    checked(read)?;
    if attributes.sched_policy != 0 {
        // Somebody has given it a policy with turns of another kind.
        return Ok(());
    }
    attributes.size = u32::try_from(size).map_err(io::Error::other)?;
    let slice = slice.map_or(Ok(0), |slice| u64::try_from(slice.as_nanos()));
    attributes.sched_runtime = slice.map_err(io::Error::other)?;
    // SAFETY: reads `attributes`, which outlives the call.
    checked(unsafe { libc::syscall(libc::SYS_sched_setattr, own, &raw const attributes, 0) })
        .map(drop)
}

/// Gives the system what the allocator holds and nobody uses (malloc_trim(3)), where the allocator can.
pub(crate) fn give_freed_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: changes nothing that is in use.
    let _ = unsafe { libc::malloc_trim(0) };
}

/// The signals by which a program says that it has crashed.
pub(crate) const CRASHES: [Signal; 5] =
    [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGABRT];

/// What handled crashes before [`arm`].
pub(crate) type Handlers = Vec<(Signal, SigAction)>;

/// From now on these signals turn this process into `program`, instead of ending it.
pub(crate) fn arm(
    signals: &[Signal],
    program: RawFd,
    words: &[CString],
    environment: &[CString],
) -> io::Result<Handlers> {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        let kept = strings.iter().map(|string| Box::leak(string.clone().into_boxed_c_str()));
        kept.map(|string: &mut CStr| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let fallback = Fallback { program, words: pointers(words), environment: pointers(environment) };
    FALLBACK.store(Box::leak(Box::new(fallback)), Ordering::Release);
    // Not blocked while it is handled: the mask would stay over the exec.
    let flags = SaFlags::SA_ONSTACK | SaFlags::SA_NODEFER;
    let action = SigAction::new(SigHandler::Handler(fall_back), flags, SigSet::empty());
    let mut before = Vec::new();
    for signal in signals.iter().copied() {
        // SAFETY: `fall_back` makes only async-signal-safe calls.
        before.push((signal, unsafe { sigaction(signal, &action) }?));
    }
    Ok(before)
}

/// Puts back what handled crashes before [`arm`].
pub(crate) fn disarm(before: Handlers) {
    for (signal, action) in before {
        // SAFETY: `action` was in force before.
        let _ = unsafe { sigaction(signal, &action) };
    }
}

extern "C" fn fall_back(_: libc::c_int) {
    // SAFETY: null, or a leaked `Fallback` that nobody changes.
    if let Some(to) = unsafe { FALLBACK.load(Ordering::Acquire).as_ref() } {
        let (words, environment) = (to.words.as_ptr(), to.environment.as_ptr());
        // SAFETY: both are arrays of C strings that end with a null pointer and are never freed.
        unsafe { libc::fexecve(to.program, words, environment) };
    }
    // SAFETY: ends the process without running any of its code.
    unsafe { libc::_exit(1) };
}

/// The two processes after [`fork`].
pub(crate) enum Fork {
    /// In the process that called it.
    Parent,
    /// In the new one.
    Child,
}

/// Splits the process in two. Refused when there is more than one thread.
pub(crate) fn fork() -> io::Result<Fork> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other("only a process with one thread can become a daemon"));
    }
    // SAFETY: there is one thread, so the child's copy of every lock and allocator is consistent.
    let pid = checked(unsafe { libc::fork() }.into())?;
    Ok(if pid == 0 { Fork::Child } else { Fork::Parent })
}
