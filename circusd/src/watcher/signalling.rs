//! Sending signals to the processes of a watcher and to their descendants.
//!
//! Every signal goes through a pidfd. A descendant's pid is turned into a pidfd first and then looked up
//! again, so a pid that has been given to a stranger in between is never hit.

use super::handle::{SignalError, SignalScope};
use crate::process::tree;
use nix::errno::Errno;
use papa_spawn::child::PidFd;
use protocol::signal::Signal;
use std::sync::Arc;

/// Sends one signal to one process.
///
/// # Errors
/// [`SignalError::NoProcess`] when it has ended, [`SignalError::Os`] when the system refuses.
pub fn send_one(pidfd: &PidFd, signal: Signal) -> Result<(), SignalError> {
    pidfd.send_signal(signal.number()).map_err(|error| match error.raw_os_error() {
        Some(code) if Errno::from_raw(code) == Errno::ESRCH => SignalError::NoProcess(0),
        Some(code) => SignalError::Os(format!("[Errno {code}] {}", Errno::from_raw(code).desc())),
        None => SignalError::Os(error.to_string()),
    })
}

/// Sends a signal to a process and to these of its descendants, and returns the descendants that got it.
/// Those that have ended are passed over.
///
/// # Errors
/// [`SignalError::Os`] when the system refuses.
pub fn send_to_tree(
    pid: i32,
    pidfd: &PidFd,
    below: &[i32],
    signal: Signal,
) -> Result<Vec<i32>, SignalError> {
    let below = open(pid, below);
    ignore_gone(send_one(pidfd, signal))?;
    let mut reached = Vec::new();
    for (child, descendant) in below {
        if send_one(&descendant, signal).is_ok() {
            reached.push(child);
        }
    }
    Ok(reached)
}

/// Sends a signal as the `signal` command asks for.
///
/// # Errors
/// [`SignalError`] when a named process is not there or the system refuses.
pub fn send(
    processes: &[(i32, Arc<PidFd>)],
    signal: Signal,
    scope: SignalScope,
) -> Result<(), SignalError> {
    let chosen = processes.iter().filter(|(pid, _)| scope.pid.is_none_or(|only| only == *pid));
    let mut found = false;
    for (pid, pidfd) in chosen {
        found = true;
        if let Some(child) = scope.child {
            if !tree::children_of(*pid).contains(&child) {
                return Err(SignalError::NoProcess(child));
            }
            to_descendants(*pid, &[child], signal)?;
        } else if scope.children {
            to_descendants(*pid, &tree::children_of(*pid), signal)?;
        } else {
            // Collected before the parent gets the signal, because they lose their parent with it.
            let below = if scope.recursive { tree::descendants_of(*pid) } else { Vec::new() };
            send_to_tree(*pid, pidfd, &below, signal)?;
        }
    }
    match scope.pid {
        Some(pid) if !found => Err(SignalError::NoProcess(pid)),
        _ => Ok(()),
    }
}

fn to_descendants(pid: i32, below: &[i32], signal: Signal) -> Result<(), SignalError> {
    open(pid, below).iter().try_for_each(|(_, below)| ignore_gone(send_one(below, signal)))
}

/// Pidfds of those that still are descendants after the pidfd was opened.
fn open(pid: i32, below: &[i32]) -> Vec<(i32, PidFd)> {
    if below.is_empty() {
        return Vec::new();
    }
    let opened: Vec<(i32, PidFd)> =
        below.iter().filter_map(|child| Some((*child, PidFd::open(*child).ok()?))).collect();
    let still = tree::descendants_of(pid);
    opened.into_iter().filter(|(child, _)| still.contains(child)).collect()
}

fn ignore_gone(result: Result<(), SignalError>) -> Result<(), SignalError> {
    match result {
        Err(SignalError::NoProcess(_)) => Ok(()),
        other => other,
    }
}
