//! The descriptors that came over an exec: only what the snapshot lists, each once, and each what
//! it is said to be.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::child::PidFd;
use crate::kernel::numbers;
use crate::snapshot::v1;
use crate::sys;

/// A descriptor is not what the snapshot says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceivedError {
    #[error("descriptor {0} is in the snapshot twice")]
    Twice(RawFd),
    #[error("descriptor {0} cannot belong to a kernel")]
    Reserved(RawFd),
    #[error("descriptor {number} is not {expected}")]
    OtherKind { number: RawFd, expected: &'static str },
    #[error("could not open descriptor {number} - {source}")]
    Open { number: RawFd, source: io::Error },
}

/// Checks all descriptors, without owning any.
pub(super) fn verify(state: &v1::State<'_>) -> Result<(), ReceivedError> {
    verify_numbers(state)?;
    let kind = |number: RawFd| std::fs::metadata(format!("/proc/self/fd/{number}")).ok();
    let expect = |number, expected, is: &dyn Fn(std::fs::FileType) -> bool| match kind(number) {
        Some(metadata) if is(metadata.file_type()) => Ok(()),
        _ => Err(ReceivedError::OtherKind { number, expected }),
    };
    let sockets = state.sockets.iter().filter_map(|socket| socket.fd);
    let clients = state.clients.iter().map(|client| client.fd);
    for number in sockets.chain(clients).chain([state.listener.fd]) {
        expect(number, "a socket", &|kind| kind.is_socket())?;
    }
    for process in &state.processes {
        for number in [process.stdout, process.stderr].into_iter().flatten() {
            expect(number, "a pipe", &|kind| kind.is_fifo())?;
        }
        let number = process.pidfd;
        let wrong = || ReceivedError::OtherKind { number, expected: "a child of this kernel" };
        let pidfd = PidFd::from(sys::duplicate(number).map_err(|_| wrong())?);
        // Asking is what tells a process from anything else. One that is reaped is no child.
        match pidfd.peek() {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) && process.exit.is_some() => {}
            Err(_) => return Err(wrong()),
        }
    }
    Ok(())
}

/// Takes all descriptors, which were verified.
pub(super) fn adopt(state: &v1::State<'_>) -> Result<BTreeMap<RawFd, OwnedFd>, ReceivedError> {
    let adopted = |number| match sys::adopt(number) {
        Ok(fd) => Ok((number, fd)),
        Err(source) => Err(ReceivedError::Open { number, source }),
    };
    numbers(state).map(adopted).collect()
}

/// Something open in the place of each descriptor.
pub(super) fn placeholders(
    state: &v1::State<'_>,
) -> Result<BTreeMap<RawFd, OwnedFd>, ReceivedError> {
    verify_numbers(state)?;
    let empty = || EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC).map(OwnedFd::from);
    let placed = |number| match empty() {
        Ok(fd) => Ok((number, fd)),
        Err(errno) => Err(ReceivedError::Open { number, source: errno.into() }),
    };
    numbers(state).map(placed).collect()
}

fn verify_numbers(state: &v1::State<'_>) -> Result<(), ReceivedError> {
    let mut all: Vec<RawFd> = numbers(state).collect();
    all.sort_unstable();
    match all.first() {
        Some(&number) if number <= libc::STDERR_FILENO => Err(ReceivedError::Reserved(number)),
        _ => match all.windows(2).find(|pair| pair.first() == pair.last()) {
            Some(pair) => Err(ReceivedError::Twice(pair.first().copied().unwrap_or_default())),
            None => Ok(()),
        },
    }
}
