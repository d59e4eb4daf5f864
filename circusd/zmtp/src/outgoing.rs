//! What waits to be sent to one client. Bounded: a client that does not read misses messages.

use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// Pieces of messages that may wait. libzmq has 1,000 messages (`ZMQ_SNDHWM`); the start of a large stack makes more
/// events than that at once.
const MOST: usize = 10_000;
/// Bytes after which nothing more is taken; a single message may be longer.
const MOST_BYTES: usize = 16 << 20;

#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    /// Nothing is taken any more.
    closed: bool,
    /// A message was dropped.
    overrun: bool,
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
    /// More pieces.
    Some,
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
    /// Queues the pieces of one message, all or none.
    pub(crate) fn push(&self, pieces: impl IntoIterator<Item = Bytes>) -> Queued {
        let queued = self.with(|queue| {
            if queue.closed {
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
        });
        self.changed.notify_one();
        queued
    }

    /// Takes nothing more; what waits is still sent.
    pub(crate) fn close(&self) {
        self.with(|queue| queue.closed = true);
        self.changed.notify_one();
    }

    /// Takes nothing more, and forgets what waits.
    pub(crate) fn discard(&self) {
        self.with(|queue| *queue = Queue { closed: true, ..Queue::default() });
    }

    /// Moves at most `count` pieces into `sending`, and says what is left.
    pub(crate) fn take_into(&self, sending: &mut VecDeque<Bytes>, count: usize) -> Left {
        self.with(|queue| {
            let count = count.min(queue.pieces.len());
            for piece in queue.pieces.drain(..count) {
                queue.bytes -= piece.len();
                sending.push_back(piece);
            }
            if queue.pieces.is_empty() && queue.pieces.capacity() > 64 {
                queue.pieces = VecDeque::new();
            }
            match queue.pieces.is_empty() {
                false => Left::Some,
                true if queue.closed => Left::NothingEver,
                true => Left::Nothing,
            }
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

    fn piece(length: usize) -> [Bytes; 1] {
        [vec![0; length].into()]
    }

    #[test]
    fn who_does_not_read_misses_messages_and_that_is_told_once() {
        let outgoing = Outgoing::default();
        assert!((0..MOST).all(|_| outgoing.push(piece(1)) == Queued::Taken));
        assert_eq!(outgoing.push(piece(1)), Queued::FirstDropped);
        assert_eq!(outgoing.push(piece(1)), Queued::Dropped);
        let mut sending = VecDeque::new();
        assert_eq!(outgoing.take_into(&mut sending, 10), Left::Some);
        assert_eq!((sending.len(), outgoing.push(piece(1))), (10, Queued::Taken));
        assert_eq!(outgoing.take_into(&mut sending, MOST), Left::Nothing);
    }

    #[test]
    fn bytes_are_bounded_but_for_a_single_message() {
        let outgoing = Outgoing::default();
        assert_eq!(outgoing.push(piece(MOST_BYTES * 2)), Queued::Taken);
        assert_eq!(outgoing.push(piece(1)), Queued::FirstDropped);
        outgoing.take_into(&mut VecDeque::new(), 1);
        assert_eq!(outgoing.push(piece(1)), Queued::Taken);
    }

    #[test]
    fn what_waited_when_it_was_closed_is_still_sent() {
        let outgoing = Outgoing::default();
        outgoing.push([piece(1), piece(2)].concat());
        outgoing.close();
        assert_eq!(outgoing.push(piece(3)), Queued::Dropped);
        let mut sending = VecDeque::new();
        assert_eq!(outgoing.take_into(&mut sending, 1), Left::Some);
        assert_eq!(outgoing.take_into(&mut sending, 1), Left::NothingEver);
        assert_eq!(sending.iter().map(Bytes::len).collect::<Vec<_>>(), [1, 2]);
    }
}
