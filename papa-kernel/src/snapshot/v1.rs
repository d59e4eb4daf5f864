//! Format 1. Frozen once released: a change is a new format.
//!
//! Descriptors are given by their numbers, which stay valid over an exec.

use bincode::{BorrowDecode, Encode};

/// Everything.
#[derive(Debug, Clone, PartialEq, Encode, BorrowDecode)]
pub(crate) struct State<'a> {
    /// Version of the kernel that wrote this.
    pub(crate) version: &'a str,
    /// The file that kernel was started from.
    pub(crate) program: &'a [u8],
    /// The file that is to take over.
    pub(crate) successor: &'a [u8],
    /// The arguments that the kernel serves with, without the program's name.
    pub(crate) arguments: Vec<&'a [u8]>,
    /// The client that asked for the upgrade.
    pub(crate) requester: u64,
    /// A client asked for the end and nobody has come since.
    pub(crate) exit_requested: bool,
    /// What hosted processes must not inherit from the kernel.
    pub(crate) shield: Option<Shield>,
    pub(crate) listener: Listener<'a>,
    pub(crate) sockets: Vec<Socket<'a>>,
    /// By name.
    pub(crate) values: Vec<(&'a str, &'a [u8])>,
    pub(crate) processes: Vec<Process<'a>>,
    /// Number of the next process.
    pub(crate) next_process: u64,
    /// Pipes that outlive their process.
    pub(crate) leftovers: Vec<Leftover>,
    /// Pidfds of children that nobody lists and that are still to be reaped.
    pub(crate) doomed: Vec<i32>,
    /// Bytes that rings of processes that are gone had to drop.
    pub(crate) dropped: u64,
    /// Bytes that were read from leftover pipes.
    pub(crate) discarded: u64,
    pub(crate) clients: Vec<Client<'a>>,
    /// Number of the next client.
    pub(crate) next_client: u64,
}

/// Limits as they were before the kernel changed its own.
#[derive(Debug, Clone, Copy, PartialEq, Encode, BorrowDecode)]
pub(crate) struct Shield {
    /// Soft and hard limit of open files.
    pub(crate) nofile: (u64, u64),
    /// The kernel is protected from the OOM killer.
    pub(crate) reset_oom: bool,
}

/// Where clients come in.
#[derive(Debug, Clone, PartialEq, Encode, BorrowDecode)]
pub(crate) struct Listener<'a> {
    pub(crate) fd: i32,
    /// Of a unix socket; otherwise it is a port on loopback.
    pub(crate) path: Option<&'a [u8]>,
}

/// A managed socket.
#[derive(Debug, Clone, PartialEq, Encode, BorrowDecode)]
pub(crate) struct Socket<'a> {
    /// The exact request line that makes it.
    pub(crate) request: Vec<u8>,
    pub(crate) fd: Option<i32>,
    pub(crate) host: Option<&'a str>,
    pub(crate) port: Option<u16>,
    pub(crate) path: Option<&'a [u8]>,
}

/// A hosted process.
#[derive(Debug, Clone, PartialEq, Encode, BorrowDecode)]
pub(crate) struct Process<'a> {
    pub(crate) id: u64,
    /// Whether its name is in the list; otherwise it is reaped or removed and only still read.
    pub(crate) listed: bool,
    /// The exact request line that makes it.
    pub(crate) request: Vec<u8>,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) pid: i32,
    pub(crate) pidfd: i32,
    /// Seconds since 1970.
    pub(crate) started: f64,
    pub(crate) exit: Option<Exit>,
    pub(crate) removed: bool,
    pub(crate) stdout: Option<i32>,
    pub(crate) stderr: Option<i32>,
    pub(crate) ring: Ring<'a>,
    pub(crate) acknowledged: u64,
    pub(crate) followers: Vec<Follower>,
}

/// A pipe that outlives its process.
#[derive(Debug, Clone, Copy, PartialEq, Encode, BorrowDecode)]
pub(crate) struct Leftover {
    /// Number of the process.
    pub(crate) process: u64,
    pub(crate) stderr: bool,
    pub(crate) fd: i32,
}

/// Whom a process runs as.
#[derive(Debug, Clone, PartialEq, Encode, BorrowDecode)]
pub(crate) struct Credentials {
    pub(crate) uid: Option<u32>,
    pub(crate) gid: u32,
    pub(crate) groups: Option<Vec<u32>>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Encode, BorrowDecode)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

/// Unread output.
#[derive(Debug, Clone, PartialEq, Encode, BorrowDecode)]
pub(crate) struct Ring<'a> {
    /// Bytes it may hold.
    pub(crate) limit: u64,
    pub(crate) heads: Vec<Head>,
    /// The bytes of all heads, in two parts.
    pub(crate) data: (&'a [u8], &'a [u8]),
    pub(crate) first_seq: u64,
    pub(crate) first_offset: u64,
    pub(crate) released_offset: u64,
    pub(crate) shown: u64,
    pub(crate) dropped: u64,
}

/// A record of a ring without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Encode, BorrowDecode)]
pub(crate) struct Head {
    /// Seconds since 1970.
    pub(crate) timestamp: f64,
    pub(crate) length: u32,
    pub(crate) kind: Kind,
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Encode, BorrowDecode)]
pub(crate) enum Kind {
    Out,
    Err,
    /// With the code as papa shows it.
    Closed(i32),
}

/// How far a client has read a process.
#[derive(Debug, Clone, Copy, PartialEq, Encode, BorrowDecode)]
pub(crate) struct Follower {
    pub(crate) client: u64,
    pub(crate) next: u64,
    pub(crate) acknowledged: u64,
    pub(crate) offset: u64,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Encode, BorrowDecode)]
pub(crate) struct Client<'a> {
    pub(crate) id: u64,
    pub(crate) fd: i32,
    /// Received and not yet handled.
    pub(crate) input: &'a [u8],
    /// Not yet written.
    pub(crate) output: &'a [u8],
    /// Bytes thrown away since it was told to leave.
    pub(crate) drained: u64,
    pub(crate) mode: Mode,
    pub(crate) ended: bool,
    pub(crate) broken: bool,
    pub(crate) shut: bool,
}

/// What a connection is for.
#[derive(Debug, Clone, PartialEq, Encode, BorrowDecode)]
pub(crate) enum Mode {
    Commands,
    Watching(Watch),
    Leaving,
    /// Waits for the end of an upgrade.
    Upgrading,
}

/// The stream of a client.
#[derive(Debug, Clone, PartialEq, Encode, BorrowDecode)]
pub(crate) struct Watch {
    /// Asked for in the exact form.
    pub(crate) exact: bool,
    /// Numbers of processes.
    pub(crate) followed: Vec<u64>,
    pub(crate) changed: Vec<u64>,
    /// What the unanswered block went up to, by process.
    pub(crate) unanswered: Vec<(u64, u64)>,
    pub(crate) resume_after: Option<u64>,
}
