//! The memory file that carries what one program leaves to the next.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// A memory file with these bytes that nobody can change any more. Close-on-exec.
///
/// # Errors
/// There is no memory or no descriptor for it.
pub fn write_sealed(name: &CStr, content: &[u8]) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create(name, flags)?);
    file.write_all(content)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::all()))?;
    Ok(file.into())
}

/// What a memory file made by [`write_sealed`] holds.
///
/// # Errors
/// When it is something else, could still be changed, is too large or cannot be read.
pub fn read_sealed(file: impl AsFd, largest: usize) -> io::Result<Vec<u8>> {
    let file = File::from(file.as_fd().try_clone_to_owned()?);
    let seals = fcntl(&file, FcntlArg::F_GET_SEALS)?;
    if !SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_WRITE) {
        return Err(io::Error::other("the memory file is not sealed"));
    }
    let size = file.metadata()?.len();
    let length =
        usize::try_from(size).ok().filter(|length| *length <= largest).ok_or_else(|| {
            io::Error::other(format!(
                "the memory file has {size} bytes, more than the limit of {largest}"
            ))
        })?;
    let mut content = vec![0; length];
    // Others may have moved the offset: it is shared.
    file.read_exact_at(&mut content, 0)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_file_is_read_back_only_when_it_is_sealed_and_not_too_large() {
        let file = write_sealed(c"test", b"text").unwrap();
        assert_eq!(read_sealed(&file, 4).unwrap(), b"text");
        assert!(read_sealed(&file, 3).is_err());
        assert!(nix::unistd::write(&file, b"x").is_err());
        let open = tempfile::tempfile().unwrap();
        assert!(read_sealed(&open, 4).is_err());
    }
}
