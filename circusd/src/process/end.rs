//! How following a process can end.

/// The result of the task that follows a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It has ended: exit status, −signal, or unknown.
    Exited(Option<i32>),
    /// It was left running in the kernel.
    Detached,
}
