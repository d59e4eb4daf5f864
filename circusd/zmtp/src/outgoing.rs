//! What waits to be sent to one client. Bounded: a client that does not read misses messages.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// Pieces of messages that may wait. libzmq has 1,000 messages (`ZMQ_SNDHWM`); the start of a large stack makes more
/// events than that at once.
const MOST: usize = 10_000;
/// Bytes after which nothing more is taken; a single message may be longer.
const MOST_BYTES: usize = 16 << 20;
/// Pieces that are written at once, before others get their turn.
const BURST: usize = 64;

#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    /// Nothing is taken any more.
    closed: bool,
    /// The client does not hear any more, so nothing is taken either.
    deaf: bool,
    /// A message was dropped.
    overrun: bool,
}

impl Queue {
    /// So many bytes are on their way.
    fn forget(&mut self, mut count: usize) {
        self.bytes -= count;
        while let Some(piece) = self.pieces.front_mut() {
            let part = count.min(piece.len());
            piece.advance(part);
            count -= part;
            if !piece.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
        if self.pieces.capacity() > BURST {
            self.pieces = VecDeque::new();
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It will be sent.
    Taken,
    /// The client reads too slowly: it will never see this message. Told once, then [`Self::Dropped`].
    FirstDropped,
    /// As before, or the client is leaving.
    Dropped,
}

/// What is left in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// More pieces, for which there may be room.
    Some,
    /// More pieces, and no room.
    Blocked,
    /// No piece; more may be queued.
    Nothing,
    /// No piece, and it is closed.
    NothingEver,
}

/// The queue of one client.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    queue: Mutex<Queue>,
    changed: Notify,
}

impl Outgoing {
    /// Queues the pieces of one message, all or none, and wakes who waits for them.
    pub(crate) fn push(&self, pieces: impl IntoIterator<Item = Bytes>) -> Queued {
        let queued = self.add(pieces);
        if queued == Queued::Taken {
            self.changed.notify_one();
        }
        queued
    }

    /// Queues the pieces of one message, and writes what is queued; only what there is no room for is left to who
    /// waits for it.
    pub(crate) fn push_and_write(
        &self,
        pieces: impl IntoIterator<Item = Bytes>,
        write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<Option<usize>>,
    ) -> Queued {
        let queued = self.add(pieces);
        // Who waits meets an error, too, and deals with it.
        if !matches!(self.write(write), Ok(Left::Nothing)) {
            self.changed.notify_one();
        }
        queued
    }

    fn add(&self, pieces: impl IntoIterator<Item = Bytes>) -> Queued {
        self.with(|queue| {
            if queue.closed || queue.deaf {
                return Queued::Dropped;
            }
            if queue.pieces.len() >= MOST || queue.bytes >= MOST_BYTES {
                let first = !std::mem::replace(&mut queue.overrun, true);
                return if first { Queued::FirstDropped } else { Queued::Dropped };
            }
            for piece in pieces {
                queue.bytes += piece.len();
                queue.pieces.push_back(piece);
            }
            Queued::Taken
        })
    }

    /// Takes nothing more; what waits is still sent.
    pub(crate) fn close(&self) {
        self.with(|queue| queue.closed = true);
        self.changed.notify_one();
    }

    /// Takes nothing more, and forgets what waits.
    pub(crate) fn discard(&self) {
        self.with(|queue| {
            *queue = Queue { closed: queue.closed, deaf: true, ..Queue::default() };
        });
    }

    /// Gives what waits to `write`, as far as that takes it, and says what is left. `write` returns how many bytes it
    /// has taken, or that there is no room.
    ///
    /// # Errors
    /// Those of `write`; everything is still there.
    pub(crate) fn write(
        &self,
        write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<Option<usize>>,
    ) -> io::Result<Left> {
        self.with(|queue| {
            if !queue.pieces.is_empty() {
                let pieces: Vec<_> =
                    queue.pieces.iter().take(BURST).map(|piece| IoSlice::new(piece)).collect();
                let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
                let taken = write(&pieces)?.unwrap_or(0);
                queue.forget(taken);
                if taken < offered {
                    return Ok(Left::Blocked);
                }
            }
            Ok(match queue.pieces.is_empty() {
                false => Left::Some,
                true if queue.closed => Left::NothingEver,
                true => Left::Nothing,
            })
        })
    }

    /// Waits until something was queued, or it was closed, since the last time. Only one task may wait.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn with<T>(&self, action: impl FnOnce(&mut Queue) -> T) -> T {
        // A panic in between is none of ours: nothing in the actions panics.
        action(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn piece(length: usize) -> [Bytes; 1] {
        [vec![0; length].into()]
    }

    /// A socket with room for so many bytes.
    fn room(room: usize) -> impl FnOnce(&[IoSlice<'_>]) -> io::Result<Option<usize>> {
        move |pieces| Ok(Some(room.min(pieces.iter().map(|piece| piece.len()).sum())))
    }

    fn no_room(_: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        Ok(None)
    }

    #[test]
    fn who_does_not_read_misses_messages_and_that_is_told_once() {
        let outgoing = Outgoing::default();
        assert!((0..MOST).all(|_| outgoing.push(piece(1)) == Queued::Taken));
        assert_eq!(outgoing.push(piece(1)), Queued::FirstDropped);
        assert_eq!(outgoing.push(piece(1)), Queued::Dropped);
        assert_eq!(outgoing.write(no_room).unwrap(), Left::Blocked);
        assert_eq!(outgoing.push(piece(1)), Queued::Dropped);
        assert_eq!(outgoing.write(room(10)).unwrap(), Left::Blocked);
        assert_eq!(outgoing.push(piece(1)), Queued::Taken);
        let mut bursts = 1;
        while outgoing.write(room(MOST)).unwrap() == Left::Some {
            bursts += 1;
        }
        assert_eq!(bursts, (MOST - 10 + 1).div_ceil(BURST));
    }

    #[test]
    fn bytes_are_bounded_but_for_a_single_message() {
        let outgoing = Outgoing::default();
        assert_eq!(outgoing.push(piece(MOST_BYTES * 2)), Queued::Taken);
        assert_eq!(outgoing.push(piece(1)), Queued::FirstDropped);
        assert_eq!(outgoing.write(room(MOST_BYTES)).unwrap(), Left::Blocked);
        assert_eq!(outgoing.push(piece(1)), Queued::Dropped, "a part of it is no room");
        assert_eq!(outgoing.write(room(1)).unwrap(), Left::Blocked);
        assert_eq!(outgoing.push(piece(1)), Queued::Taken);
    }

    #[test]
    fn what_waited_when_it_was_closed_is_still_sent() {
        let outgoing = Outgoing::default();
        outgoing.push([piece(1), piece(2)].concat());
        outgoing.close();
        assert_eq!(outgoing.push(piece(3)), Queued::Dropped);
        assert_eq!(outgoing.write(room(2)).unwrap(), Left::Blocked);
        assert_eq!(outgoing.write(room(2)).unwrap(), Left::NothingEver);
    }

    #[test]
    fn who_does_not_hear_gets_nothing_until_it_is_closed() {
        let outgoing = Outgoing::default();
        outgoing.push(piece(1));
        outgoing.discard();
        assert_eq!(outgoing.push(piece(1)), Queued::Dropped);
        let nothing = |_: &[IoSlice<'_>]| unreachable!("nothing waits");
        assert_eq!(outgoing.write(nothing).unwrap(), Left::Nothing);
        outgoing.close();
        outgoing.discard();
        assert_eq!(outgoing.write(nothing).unwrap(), Left::NothingEver);
    }

    #[test]
    fn what_is_written_at_once_keeps_its_turn_and_wakes_nobody() {
        let outgoing = Outgoing::default();
        let woken = || {
            let changed = pin!(outgoing.changed());
            changed.poll(&mut Context::from_waker(Waker::noop())).is_ready()
        };
        assert_eq!(outgoing.push_and_write(piece(1), room(1)), Queued::Taken);
        assert!(!woken());
        outgoing.push_and_write([Bytes::from_static(b"first")], no_room);
        assert!(woken(), "the rest is left to who waits");
        let mut written: Vec<u8> = Vec::new();
        outgoing.push_and_write([Bytes::from_static(b"second")], |pieces| {
            written = pieces.iter().flat_map(|piece| piece.to_vec()).collect();
            Ok(Some(written.len()))
        });
        assert_eq!(written, b"firstsecond");
        let failure = |_: &[IoSlice<'_>]| Err(io::ErrorKind::BrokenPipe.into());
        assert_eq!(outgoing.push_and_write(piece(1), failure), Queued::Taken);
        assert!(woken(), "who waits meets the error, too");
    }
}
