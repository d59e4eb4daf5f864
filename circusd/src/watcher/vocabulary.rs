//! The words of the watcher machine: the rules it keeps, what goes in and what comes out.

use super::wid::Wid;
use crate::hook::call::HookCall;
use crate::hook::outcome::Outcome;
use crate::hook::point::HookPoints;
use protocol::circus::event::EventKind;
use protocol::signal::Signal;
use std::fmt;
use std::time::Duration;

/// The options that steer the life cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// At most one process; resizing is refused by the caller.
    pub singleton: bool,
    /// Replace processes that end.
    pub respawn: bool,
    /// Start only when somebody connects; `Start` alone does nothing.
    pub on_demand: bool,
    /// Pause after each spawn that was asked for.
    pub warmup_delay: Duration,
    /// Time between the stop signal and SIGKILL.
    pub graceful_timeout: Duration,
    /// The signal that asks a process to end.
    pub stop_signal: Signal,
    /// Failed attempts in a row before the watcher is stopped; none means no limit.
    pub max_retry: Option<u32>,
    /// Ceiling of the respawn delay.
    pub check_delay: Duration,
    /// Where hooks are to be asked.
    pub hooks: HookPoints,
}

/// What a watcher is doing, as `circusctl status` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// No process, none wanted.
    Stopped,
    /// Processes are being spawned.
    Starting,
    /// Running and kept at its number.
    Active,
    /// Processes have been asked to end.
    Stopping,
}

impl Status {
    /// Returns the word that replies carry, such as `active`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Stopping => "stopping",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names the operation that a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// What an operation did, pids in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Processes that are there now and were not before.
    pub started: Vec<i32>,
    /// Processes that were there before and are gone.
    pub stopped: Vec<i32>,
    /// Processes that lived through it.
    pub kept: Vec<i32>,
}

/// What happens to a watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The kernel hosts a process of an earlier circusd. Only before the first `Start`.
    Adopted {
        /// Its slot.
        wid: Wid,
        /// Its pid.
        pid: i32,
        /// It has not ended yet. One that has ended meanwhile still has output and an exit status to
        /// deliver, and keeps its slot until then.
        running: bool,
        /// How long it may still live.
        lifetime: Option<Duration>,
    },
    /// Start, or spawn what is missing.
    Start(Token),
    /// Go on with processes that were adopted.
    Resume(Token),
    /// Stop every process.
    Stop(Token),
    /// Stop, then start.
    Restart(Token),
    /// Replace every process. Starts a stopped watcher.
    Reload(Token, Renewal),
    /// Somebody connects to a socket of an on-demand watcher.
    Demand,
    /// The rules have changed.
    Rules(Rules),
    /// Want this many processes from now on; nobody waits for it.
    Want(u32),
    /// Ask one process to end; it is replaced like one that ended by itself.
    Kill {
        /// Its slot.
        wid: Wid,
        /// The signal that asks.
        signal: Signal,
        /// Time until SIGKILL.
        grace: Duration,
    },
    /// Want this many processes from now on.
    Resize(Token, u32),
    /// Wait neither for graceful timeouts nor for hooks any longer.
    Hurry,
    /// The hook that was asked for has ended.
    HookDone(Outcome),
    /// A spawn succeeded.
    Spawned {
        /// Its slot.
        wid: Wid,
        /// The new process.
        pid: i32,
        /// How long it may live.
        lifetime: Option<Duration>,
    },
    /// A spawn failed.
    SpawnFailed {
        /// Its slot.
        wid: Wid,
        /// The cause may pass (no memory, process table full), so it pays to wait before the next try.
        transient: bool,
    },
    /// A process has ended and its output has been dealt with.
    Exited {
        /// Its slot.
        wid: Wid,
        /// Exit status, −signal, or unknown.
        exit_code: Option<i32>,
    },
    /// Time has passed; look at the deadlines.
    Tick,
}

/// How a reload replaces the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// All new ones first, then the old ones go.
    Overlap,
    /// One after the other, each in the slot of its predecessor.
    OneByOne,
}

/// What the task must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Spawn a process; answered by `Spawned` or `SpawnFailed`.
    Spawn(Wid),
    /// Ask a process to end with this signal.
    Signal(Wid, Signal),
    /// The grace period is over: SIGKILL to a process and all its descendants.
    Escalate(Wid),
    /// Run a hook; answered by `HookDone`, and nothing else is taken up until then.
    RunHook(HookCall),
    /// The slot's process is in the table no more.
    Forget(Wid),
    /// Tell the subscribers.
    Publish(EventKind),
    /// An operation has ended.
    Done(Token, Changes),
    /// No process is left and none will come: streams can be closed.
    CloseStreams,
}
