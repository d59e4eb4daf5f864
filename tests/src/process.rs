//! Processes from outside: who carries the mark of a test, whether they live, their end.
//!
//! Waits on pidfds; a number that has been given to another process is never waited for or signalled.

use crate::waiting::eventually;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
pub use rustix::process::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use std::time::{Duration, Instant};

/// The variable that the processes of a test have in their environment.
pub const MARK: &str = "CIRCUS_TEST_ID";

/// A file in /proc of a living process that is never empty for long: the system has no words and no environment of one
/// that is just becoming its program.
///
/// # Panics
/// When the process has gone, or nothing comes.
pub fn words(pid: i32, name: &str) -> Vec<u8> {
    eventually(&format!("{name} of {pid}"), || {
        let bytes = std::fs::read(format!("/proc/{pid}/{name}")).expect("it runs");
        (!bytes.is_empty()).then_some(bytes)
    })
}

/// A process that can be signalled and waited for, whoever its parent is.
pub struct Handle(OwnedFd);

impl Handle {
    /// Takes hold of a process; none when it has gone.
    pub fn open(pid: i32) -> Option<Self> {
        pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok().map(Self)
    }

    /// Sends SIGKILL; one that has gone does not mind.
    pub fn kill(&self) {
        let _ = pidfd_send_signal(&self.0, Signal::KILL);
    }

    /// Sends SIGTERM; one that has gone does not mind.
    pub fn terminate(&self) {
        let _ = pidfd_send_signal(&self.0, Signal::TERM);
    }

    /// Sends a signal; one that has gone does not mind.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.0, signal);
    }

    /// Waits for the end, at most so long.
    pub fn wait(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).expect("a timeout of seconds fits");
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout)) {
                Ok(ready) => return ready > 0,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("poll on a pidfd failed: {error}"),
            }
        }
    }

    /// The descriptor, which becomes readable at the end.
    pub fn fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.0)
    }
}

/// A process runs under this number. A zombie does not run.
pub fn is_alive(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which stands in brackets and may contain some itself.
    let state = status.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !"ZX".contains(state))
}

/// The children of a process, whichever of its threads has started them.
pub fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok());
    let pids = |text: String| -> Vec<i32> {
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    };
    lists.flat_map(pids).collect()
}

/// The pids of all processes that carry this mark in their environment or in the name of their working
/// directory, ours excepted.
pub fn marked(id: &str) -> Vec<i32> {
    let mark = format!("{MARK}={id}");
    let own = i32::try_from(std::process::id()).expect("pids fit");
    let processes = std::fs::read_dir("/proc").expect("/proc is mounted");
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let carries = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
            || directory.to_string_lossy().contains(&format!("-{id}-"))
    };
    pids.filter(|pid| *pid != own).filter(carries).collect()
}

/// Kills all processes that carry this mark and waits for their end.
///
/// # Errors
/// The pids that are still there when patience has run out.
pub fn kill_marked(id: &str, patience: Duration) -> Result<(), Vec<i32>> {
    let deadline = Instant::now() + patience;
    loop {
        // Again and again, because a process may have made another one before it died.
        let pids = marked(id);
        if pids.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(pids);
        }
        let handles: Vec<_> = pids.into_iter().filter_map(Handle::open).collect();
        handles.iter().for_each(Handle::kill);
        for handle in handles {
            handle.wait(deadline.saturating_duration_since(Instant::now()));
        }
    }
}
