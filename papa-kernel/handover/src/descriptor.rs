//! A descriptor that may have come over an exec.
//!
//! One from a snapshot is a number until it is claimed. A program that fails to take over leaves it open,
//! for its predecessor to find it there again.

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use bincode::de::{Decode, Decoder};
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError, EncodeError};
use papa_spawn::sys;

use crate::field::wrong;

/// An open file, kept in a snapshot as its number, which stays valid over an exec.
#[derive(Debug)]
pub struct Descriptor {
    number: Cell<RawFd>,
    /// It is closed with this.
    owned: Cell<bool>,
}

/// What a descriptor is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A socket.
    Socket,
    /// A pipe.
    Pipe,
    /// A pidfd; of a child that has ended and may be reaped already, or of one that is still to be.
    Child {
        /// Whether it has ended.
        ended: bool,
    },
}

impl Descriptor {
    /// From now on it is closed with this.
    pub(crate) fn claim(&self) {
        self.owned.set(true);
    }

    /// Whether it is closed with this.
    pub fn is_owned(&self) -> bool {
        self.owned.get()
    }

    /// Puts the number of another one in the place of one that is not owned.
    pub(crate) fn renumber(&self, other: RawFd) {
        self.number.set(other);
    }
}

impl From<OwnedFd> for Descriptor {
    fn from(fd: OwnedFd) -> Self {
        Self { number: Cell::new(fd.into_raw_fd()), owned: Cell::new(true) }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        sys::borrow(self)
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.number.get()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if self.is_owned() {
            drop(sys::adopt(self.as_raw_fd()));
        }
    }
}

impl Encode for Descriptor {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.as_raw_fd().encode(encoder)
    }
}

bincode::impl_borrow_decode!(Descriptor);

impl<C> Decode<C> for Descriptor {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let number = RawFd::decode(decoder)?;
        if number <= libc::STDERR_FILENO {
            return Err(wrong(format!("descriptor {number} cannot belong to a kernel")));
        }
        Ok(Self { number: Cell::new(number), owned: Cell::new(false) })
    }
}
