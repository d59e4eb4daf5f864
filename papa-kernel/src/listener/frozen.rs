//! A listener to its snapshot and back.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use super::Listener;
use crate::snapshot::v1;

impl Listener {
    /// What a snapshot keeps of it.
    pub(crate) fn freeze(&self) -> v1::Listener<'_> {
        let path = self.path.as_ref().map(|path| path.as_os_str().as_bytes());
        v1::Listener { fd: self.fd.as_raw_fd(), path }
    }

    /// The listener of a snapshot, which `fd` belongs to.
    pub(crate) fn thaw(frozen: &v1::Listener<'_>, fd: OwnedFd) -> Self {
        Self { fd, path: frozen.path.map(|path| OsStr::from_bytes(path).into()) }
    }
}
