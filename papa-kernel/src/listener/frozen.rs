//! A listener to its snapshot and back.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use super::Listener;
use crate::snapshot::v1;

impl Listener {
    /// What a snapshot keeps of it.
    pub(crate) fn freeze(&self) -> v1::Listener<'_> {
        let path = match self {
            Self::Tcp(_) => None,
            Self::Unix(_, path) => Some(path.as_os_str().as_bytes()),
        };
        v1::Listener { fd: self.as_fd().as_raw_fd(), path }
    }

    /// The listener of a snapshot, which `fd` belongs to.
    pub(crate) fn thaw(frozen: &v1::Listener<'_>, fd: OwnedFd) -> Self {
        match frozen.path {
            None => Self::Tcp(fd.into()),
            Some(path) => Self::Unix(fd.into(), OsStr::from_bytes(path).into()),
        }
    }
}
