//! The memory file that carries a snapshot from one program to the next.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::header::{LARGEST, SnapshotError};

/// A memory file with these bytes that nobody can change any more. Close-on-exec.
pub(crate) fn write_sealed(snapshot: &[u8]) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create(c"papa-kernel-snapshot", flags)?);
    file.write_all(snapshot)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::all()))?;
    Ok(file.into())
}

/// What a memory file made by [`write_sealed`] holds.
///
/// # Errors
/// When it is something else, could still be changed, is too large or cannot be read.
pub(crate) fn read_sealed(file: impl AsFd) -> io::Result<Vec<u8>> {
    let file = File::from(file.as_fd().try_clone_to_owned()?);
    let seals = fcntl(&file, FcntlArg::F_GET_SEALS)?;
    if !SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_WRITE) {
        return Err(io::Error::other("the snapshot's memory file is not sealed"));
    }
    let size = file.metadata()?.len();
    let length = usize::try_from(size).ok().filter(|length| *length <= LARGEST);
    let mut snapshot = vec![0; length.ok_or_else(|| too_large(size))?];
    // Others may have moved the offset: it is shared.
    file.read_exact_at(&mut snapshot, 0)?;
    Ok(snapshot)
}

fn too_large(size: u64) -> io::Error {
    io::Error::other(SnapshotError::TooLarge(size))
}
