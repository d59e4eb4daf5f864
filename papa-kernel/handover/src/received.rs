//! The descriptors that came over an exec: only what the snapshot lists, each once, and each what
//! it is said to be.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;

use nix::sys::eventfd::{EfdFlags, EventFd};
use papa_spawn::child::PidFd;
use papa_spawn::sys;

use crate::carried::Carried;
use crate::descriptor::Kind;
use crate::refusal::Refusal;
use crate::snapshot;

/// Checks all descriptors, without owning any.
pub(crate) fn verify(state: &impl Carried) -> Result<(), Refusal> {
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

/// Puts something open in the place of each descriptor, as for a rehearsal.
///
/// # Errors
/// One is listed twice, or there are no more.
pub fn stand_in(state: &impl Carried) -> Result<(), Refusal> {
    verify_numbers(state)?;
    state.descriptors().try_for_each(|(fd, _)| {
        let empty = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC)
            .map_err(|errno| Refusal::to("open a descriptor")(errno.into()))?;
        fd.renumber(OwnedFd::from(empty).into_raw_fd());
        Ok(())
    })
}

fn verify_numbers(state: &impl Carried) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    let again = state.descriptors().map(|(fd, _)| fd.as_raw_fd()).find(|fd| !seen.insert(*fd));
    again.map_or(Ok(()), |number| {
        Err(Refusal::new(format!("descriptor {number} is in the snapshot twice")))
    })
}

/// Whether a kernel could go on from this payload of a snapshot, as far as that can be told without its
/// descriptors. For tests and fuzzing only.
#[doc(hidden)]
pub fn is_acceptable<S: Carried>(payload: &[u8]) -> bool {
    let _ = S::decode_snapshot(payload);
    S::decode_payload(payload).is_ok_and(|state| {
        let again = snapshot::encode(&state);
        let same = again.is_ok_and(|first| {
            S::decode_snapshot(&first).ok().and_then(|state| snapshot::encode(&state).ok())
                == Some(first.clone())
        });
        assert!(same, "what was decoded survives");
        verify_numbers(&state).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use bincode::{Decode, Encode};

    use super::*;
    use crate::descriptor::Descriptor;
    use crate::origin::Origin;

    /// A descriptor of each kind.
    #[derive(Encode, Decode)]
    struct Held {
        origin: Origin,
        socket: Descriptor,
        pipe: Descriptor,
        child: Descriptor,
    }

    impl Carried for Held {
        fn origin(&mut self) -> &mut Origin {
            &mut self.origin
        }

        fn descriptors(&self) -> impl Iterator<Item = (&Descriptor, Kind)> {
            let child = Kind::Child { ended: false };
            [(&self.socket, Kind::Socket), (&self.pipe, Kind::Pipe), (&self.child, child)]
                .into_iter()
        }

        fn complete(&mut self) -> Result<(), String> {
            Ok(())
        }
    }

    /// What came over an exec, all but the child as it should be.
    fn held() -> Held {
        let state = Held {
            origin: Origin::new(Vec::new()),
            socket: OwnedFd::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).into(),
            pipe: OwnedFd::from(std::io::pipe().unwrap().0).into(),
            child: file().into(),
        };
        let received = Held::decode_snapshot(&snapshot::encode(&state).unwrap()).unwrap();
        std::mem::forget(state);
        received
    }

    fn file() -> OwnedFd {
        tempfile::tempfile().unwrap().into()
    }

    fn wrong(state: &Held) -> String {
        verify(state).unwrap_err().to_string()
    }

    #[test]
    fn descriptors_that_are_listed_twice_are_refused() {
        let state = held();
        let number = state.socket.as_raw_fd();
        state.child.renumber(number);
        assert_eq!(wrong(&state), format!("descriptor {number} is in the snapshot twice"));
    }

    #[test]
    fn descriptors_must_be_what_the_snapshot_says() {
        let state = held();
        let text = |fd: &Descriptor, what| format!("descriptor {} is not {what}", fd.as_raw_fd());
        assert_eq!(wrong(&state), text(&state.child, "a child of this kernel"));
        state.pipe.renumber(file().into_raw_fd());
        assert_eq!(wrong(&state), text(&state.pipe, "a pipe"));
        state.socket.renumber(file().into_raw_fd());
        assert_eq!(wrong(&state), text(&state.socket, "a socket"));
    }

    #[test]
    fn what_stands_in_is_open_and_another_thing() {
        let state = held();
        let before = state.pipe.as_raw_fd();
        stand_in(&state).unwrap();
        assert_ne!(state.pipe.as_raw_fd(), before);
        assert_eq!(
            wrong(&state),
            format!("descriptor {} is not a socket", state.socket.as_raw_fd())
        );
    }
}
