//! The descriptors that came over an exec: only what the snapshot lists, each once, and each what
//! it is said to be.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;

use nix::sys::eventfd::{EfdFlags, EventFd};
use papa_spawn::child::PidFd;
use papa_spawn::sys;

use crate::descriptor::Kind;
use crate::kernel::State;
use crate::refusal::Refusal;

/// Checks all descriptors, without owning any.
pub(super) fn verify(state: &State) -> Result<(), Refusal> {
    verify_numbers(state)?;
    state.descriptors().try_for_each(|(fd, kind)| {
        let number = fd.as_raw_fd();
        let file = || std::fs::metadata(format!("/proc/self/fd/{number}")).map(|of| of.file_type());
        let (is, expected) = match kind {
            Kind::Socket => (file().is_ok_and(|kind| kind.is_socket()), "a socket"),
            Kind::Pipe => (file().is_ok_and(|kind| kind.is_fifo()), "a pipe"),
            Kind::Child { ended } => (is_child(number, ended), "a child of this kernel"),
        };
        if is {
            Ok(())
        } else {
            Err(Refusal::new(format!("descriptor {number} is not {expected}")))
        }
    })
}

/// Asking is what tells a process from anything else. One that is reaped is no child any more.
fn is_child(number: RawFd, may_be_reaped: bool) -> bool {
    sys::duplicate(number).is_ok_and(|copy| match PidFd::from(copy).peek() {
        Ok(_) => true,
        Err(error) => error.raw_os_error() == Some(libc::ECHILD) && may_be_reaped,
    })
}

/// Puts something open in the place of each descriptor.
pub(super) fn stand_in(state: &State) -> Result<(), Refusal> {
    verify_numbers(state)?;
    state.descriptors().try_for_each(|(fd, _)| {
        let empty = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC)
            .map_err(|errno| Refusal::to("open a descriptor")(errno.into()))?;
        fd.renumber(OwnedFd::from(empty).into_raw_fd());
        Ok(())
    })
}

pub(super) fn verify_numbers(state: &State) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    let again = state.descriptors().map(|(fd, _)| fd.as_raw_fd()).find(|fd| !seen.insert(*fd));
    again.map_or(Ok(()), |number| {
        Err(Refusal::new(format!("descriptor {number} is in the snapshot twice")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;
    use crate::kernel::Kernel;
    use crate::snapshot::encode;

    fn golden() -> State {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/v1-stack.bin");
        State::decode(&std::fs::read(path).unwrap()).unwrap()
    }

    fn numbers(state: &State) -> Vec<RawFd> {
        state.descriptors().map(|(fd, _)| fd.as_raw_fd()).collect()
    }

    #[test]
    fn a_golden_snapshot_makes_a_kernel_that_writes_the_same_one() {
        let state = golden();
        stand_in(&state).unwrap();
        let others = numbers(&state);
        let before = encode(&state).unwrap();
        let kernel = Kernel::resume(state, Access::default()).unwrap();
        assert_eq!(numbers(&kernel.state), others);
        assert_eq!(encode(&kernel.state).unwrap(), before);
    }

    #[test]
    fn descriptors_that_are_listed_twice_are_refused() {
        let state = golden();
        let (all, mut fds) = (numbers(&state), state.descriptors());
        let (first, second) = (fds.next().unwrap().0, fds.nth(3).unwrap().0);
        assert_ne!(first.as_raw_fd(), second.as_raw_fd());
        second.renumber(all[0]);
        let text = verify(&state).unwrap_err().to_string();
        assert_eq!(text, format!("descriptor {} is in the snapshot twice", all[0]));
    }

    #[test]
    fn descriptors_must_be_what_the_snapshot_says() {
        let open = |fd: OwnedFd| fd.into_raw_fd();
        let wrong = |state: &State| verify(state).unwrap_err().to_string();
        let state = golden();
        // Everything is as it should be but for the children, which are none.
        for (fd, kind) in state.descriptors() {
            fd.renumber(match kind {
                Kind::Socket => open(std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into()),
                Kind::Pipe => open(std::io::pipe().unwrap().0.into()),
                Kind::Child { .. } => open(tempfile::tempfile().unwrap().into()),
            });
        }
        let is_child = |found: &(_, Kind)| matches!(found.1, Kind::Child { .. });
        let child = state.descriptors().find(is_child).unwrap().0;
        let text = format!("descriptor {} is not a child of this kernel", child.as_raw_fd());
        assert_eq!(wrong(&state), text);
        for (kind, expected) in [(Kind::Pipe, "a pipe"), (Kind::Socket, "a socket")] {
            let fd = state.descriptors().find(|(_, found)| *found == kind).unwrap().0;
            fd.renumber(open(tempfile::tempfile().unwrap().into()));
            let text = format!("descriptor {} is not {expected}", fd.as_raw_fd());
            assert_eq!(wrong(&state), text);
        }
    }
}
