//! What spawning needs to know, to its snapshot and back.

use std::os::fd::OwnedFd;

use super::{Credentials, PidFd, SHIELD};
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

/// What children must not inherit, as [`super::raise_own_limits`] found it.
pub(crate) fn freeze_shield() -> Option<v1::Shield> {
    SHIELD.get().copied()
}

/// Does what [`super::raise_own_limits`] did, in a program whose own limits are raised already.
pub(crate) fn thaw_shield(frozen: Option<v1::Shield>) {
    if let Some(shield) = frozen {
        // Set once in the life of a program, and this is its beginning.
        let _ = SHIELD.set(shield);
    }
}
