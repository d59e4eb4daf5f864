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
        verify_child(process.pidfd, process.exit.is_some())?;
    }
    for leftover in &state.leftovers {
        expect(leftover.fd, "a pipe", &|kind| kind.is_fifo())?;
    }
    state.doomed.iter().try_for_each(|number| verify_child(*number, false))
}

/// Asking is what tells a process from anything else. One that is reaped is no child any more.
fn verify_child(number: RawFd, may_be_reaped: bool) -> Result<(), ReceivedError> {
    let wrong = || ReceivedError::OtherKind { number, expected: "a child of this kernel" };
    let pidfd = PidFd::from(sys::duplicate(number).map_err(|_| wrong())?);
    match pidfd.peek() {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) && may_be_reaped => Ok(()),
        Err(_) => Err(wrong()),
    }
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

pub(super) fn verify_numbers(state: &v1::State<'_>) -> Result<(), ReceivedError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;
    use crate::kernel::Kernel;
    use crate::origin::Origin;
    use crate::snapshot::decode;

    fn golden() -> Vec<u8> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/v1-stack.bin");
        std::fs::read(path).unwrap()
    }

    #[test]
    fn a_golden_snapshot_makes_a_kernel_that_freezes_to_the_same_state() {
        let golden = golden();
        let state = decode(&golden).unwrap();
        let open = placeholders(&state).unwrap();
        let mut origin = Origin::new(crate::kernel::arguments(&state));
        origin.program = "/usr/bin/papa-kernel".into();
        let kernel = Kernel::thaw(&state, origin, Access::default(), open).unwrap();
        let again = kernel.freeze(crate::poller::ClientId(9), b"/usr/bin/papa-kernel");
        assert_eq!(again.values, state.values);
        assert_eq!(again.arguments, state.arguments);
        // The descriptors are others, since they stand for those of another process.
        let pipes = |state: &v1::State<'_>| -> Vec<_> {
            state.leftovers.iter().map(|pipe| (pipe.process, pipe.stderr)).collect()
        };
        assert_eq!(pipes(&again), pipes(&state));
        assert_eq!(again.doomed.len(), state.doomed.len());
        assert_eq!((again.dropped, again.discarded), (state.dropped, state.discarded));
        assert_eq!(again.processes.len(), state.processes.len());
        for (again, was) in again.processes.iter().zip(&state.processes) {
            assert_eq!(
                (again.id, again.listed, again.pid, again.exit),
                (was.id, was.listed, was.pid, was.exit)
            );
            assert_eq!(
                (&again.ring.heads, again.ring.first_seq),
                (&was.ring.heads, was.ring.first_seq)
            );
            assert_eq!((again.ring.dropped, again.ring.shown), (was.ring.dropped, was.ring.shown));
            assert_eq!((&again.followers, again.acknowledged), (&was.followers, was.acknowledged));
        }
        let clients = |state: &v1::State<'_>| -> Vec<_> {
            let client = |client: &v1::Client<'_>| {
                (
                    client.id,
                    client.input.to_vec(),
                    client.output.to_vec(),
                    client.mode.clone(),
                    client.ended,
                )
            };
            state.clients.iter().map(client).collect()
        };
        assert_eq!(clients(&again), clients(&state));
    }

    #[test]
    fn descriptors_that_are_listed_twice_or_belong_to_nobody_are_refused() {
        let golden = golden();
        let mut state = decode(&golden).unwrap();
        state.processes[0].stdout = Some(10);
        assert_eq!(
            verify(&state).unwrap_err().to_string(),
            "descriptor 10 is in the snapshot twice"
        );
        state.processes[0].stdout = Some(2);
        let text = placeholders(&state).unwrap_err().to_string();
        assert_eq!(text, "descriptor 2 cannot belong to a kernel");
    }

    #[test]
    fn descriptors_must_be_what_the_snapshot_says() {
        use std::os::fd::AsRawFd;
        let golden = golden();
        let mut state = decode(&golden).unwrap();
        (state.sockets, state.processes, state.clients) = (Vec::new(), Vec::new(), Vec::new());
        (state.leftovers, state.doomed) = (Vec::new(), Vec::new());
        let (file, socket) =
            (tempfile::tempfile().unwrap(), std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        state.listener.fd = socket.as_raw_fd();
        assert!(verify(&state).is_ok());
        state.listener.fd = file.as_raw_fd();
        let text = verify(&state).unwrap_err().to_string();
        assert_eq!(text, format!("descriptor {} is not a socket", file.as_raw_fd()));
        let mut process = decode(&golden).unwrap().processes.remove(1);
        process.pidfd = file.as_raw_fd();
        (state.listener.fd, state.processes) = (socket.as_raw_fd(), vec![process]);
        let text = verify(&state).unwrap_err().to_string();
        assert_eq!(text, format!("descriptor {} is not a child of this kernel", file.as_raw_fd()));
    }
}
