//! What spawning needs to know, to its snapshot and back.

use std::os::fd::OwnedFd;

use super::{Credentials, PidFd};
use crate::snapshot::v1;

impl Credentials {
    /// What a snapshot keeps of them.
    pub(crate) fn freeze(&self) -> v1::Credentials {
        v1::Credentials { uid: self.uid, gid: self.gid, groups: self.groups.clone() }
    }

    /// The credentials of a snapshot.
    pub(crate) fn thaw(frozen: &v1::Credentials) -> Self {
        Self { uid: frozen.uid, gid: frozen.gid, groups: frozen.groups.clone() }
    }
}

impl From<OwnedFd> for PidFd {
    /// A handle that was opened before an exec of this program.
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}
