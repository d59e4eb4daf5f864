//! The socket of one client: reading, writing and waiting for either.
//!
//! The event loop watches for room to write only after there was none. A socket gets room whenever its client reads,
//! so else each reply would wake circusd once more when it is read, at the expense of who reads it.

use bytes::BytesMut;
use nix::sys::socket::{MsgFlags, recv, sendmsg};
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Weak};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Bytes that there is always room for when something is read.
pub(crate) const CHUNK: usize = 8192;
/// Bytes that are read at once, where the buffer has grown.
const MOST: usize = 64 << 10;

/// A connection.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Arc<OwnedFd>,
    /// What the event loop watches it for.
    watched: Option<(Interest, AsyncFd<Arc<OwnedFd>>)>,
}

/// What came of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// Bytes, or nothing yet.
    Some,
    /// There will never be any more.
    End,
}

impl Stream {
    /// A stream on a socket that does not block.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket: Arc::new(socket), watched: None }
    }

    /// The way to it for who only writes.
    pub(crate) fn writer(&self) -> Writer {
        Writer(Arc::downgrade(&self.socket))
    }

    /// Waits until it can be read or, if asked for, written.
    pub(crate) async fn ready(&mut self, interest: Interest) -> io::Result<()> {
        let (_, watched) = match self.watched.take() {
            Some(watched) if watched.0 == interest => self.watched.insert(watched),
            other => {
                // It can be watched only once.
                drop(other);
                self.watched.insert((interest, watch(&self.socket, interest)?))
            }
        };
        watched.ready(interest).await?.retain_ready();
        Ok(())
    }

    /// Reads what has come behind what was `received` before.
    pub(crate) fn read(&self, received: &mut BytesMut) -> io::Result<Read> {
        let Some((_, watched)) = &self.watched else { return Ok(Read::Some) };
        let before = received.len();
        received.reserve(CHUNK);
        received.resize(before + (received.capacity() - before).min(MOST), 0);
        let room = &mut received[before..];
        let mut count = None;
        let outcome = watched.try_io(Interest::READABLE, |socket| {
            let read = recv(socket.as_raw_fd(), room, MsgFlags::empty())?;
            count = Some(read);
            // Less than there was room for is everything. Said like this it makes the loop forget what it knew before
            // the read, which saves one that finds nothing, and nothing that came later.
            if read > 0 && read < room.len() { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        received.truncate(before + count.unwrap_or(0));
        match (count, outcome) {
            (Some(0), _) => Ok(Read::End),
            (None, Err(error)) if !passes(&error) => Err(error),
            _ => Ok(Read::Some),
        }
    }

    /// Writes as much as there is room for; none: there is no room.
    pub(crate) fn write(&self, pieces: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let written = match &self.watched {
            Some((interest, watched)) if interest.is_writable() => {
                watched.try_io(Interest::WRITABLE, |socket| send(socket, pieces))
            }
            _ => send(&self.socket, pieces),
        };
        some_or_none(written)
    }
}

/// The way to a stream for who only writes to it, and does not wait until it can.
#[derive(Debug, Default)]
pub(crate) struct Writer(Weak<OwnedFd>);

impl Writer {
    /// The stream is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// As [`Stream::write`].
    pub(crate) fn write(&self, pieces: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let socket = self.0.upgrade().ok_or(ErrorKind::NotConnected)?;
        some_or_none(send(&socket, pieces))
    }
}

fn some_or_none(written: io::Result<usize>) -> io::Result<Option<usize>> {
    match written {
        Ok(count) => Ok(Some(count)),
        Err(error) if passes(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn watch(socket: &Arc<OwnedFd>, interest: Interest) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe and asks for what `Arc<OwnedFd>` guarantees: it owns its fd"
    )]
    AsyncFd::with_interest(Arc::clone(socket), interest)
}

/// It is no fault, only too early.
fn passes(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Not writev(2): a program that has left SIGPIPE as it is would die of a client that has gone.
fn send(socket: &OwnedFd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    Ok(sendmsg::<()>(socket.as_raw_fd(), pieces, &[], MsgFlags::MSG_NOSIGNAL, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{SigSet, Signal};
    use std::future::{Future, poll_fn};
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::pin::pin;
    use std::task::Poll;
    use tokio::task;

    const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

    fn pair() -> (Stream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Stream::new(ours.into()), theirs)
    }

    /// Whether it would have to wait.
    async fn waits(stream: &mut Stream, interest: Interest) -> bool {
        // The loop looks at its sockets when nobody else has anything to do.
        for _ in 0..100 {
            task::yield_now().await;
        }
        let mut ready = pin!(stream.ready(interest));
        poll_fn(|context| Poll::Ready(ready.as_mut().poll(context).is_pending())).await
    }

    #[tokio::test]
    async fn everything_is_read_at_once_and_what_comes_later_is_noticed() {
        let (mut stream, mut client) = pair();
        let mut received = BytesMut::new();
        for text in ["first", "second"] {
            client.write_all(text.as_bytes()).unwrap();
            stream.ready(Interest::READABLE).await.unwrap();
            assert_eq!(stream.read(&mut received).unwrap(), Read::Some);
            assert!(waits(&mut stream, Interest::READABLE).await, "nothing is left to be read");
        }
        assert_eq!(received, "firstsecond");
        let long = vec![7; 3 * MOST];
        let sent = long.clone();
        let client = task::spawn_blocking(move || client.write_all(&sent));
        received.clear();
        let mut read = Read::Some;
        while read == Read::Some {
            stream.ready(Interest::READABLE).await.unwrap();
            read = stream.read(&mut received).unwrap();
        }
        client.await.unwrap().unwrap();
        assert_eq!(received, long);
    }

    #[tokio::test]
    async fn the_loop_watches_for_room_only_after_there_was_none() {
        let (mut stream, mut client) = pair();
        let block = vec![7; MOST];
        let watched = |stream: &Stream| stream.watched.as_ref().map(|(interest, _)| *interest);
        assert!(waits(&mut stream, Interest::READABLE).await);
        assert_eq!(stream.write(&[IoSlice::new(b"reply")]).unwrap(), Some(5));
        client.read_exact(&mut [0; 5]).unwrap();
        assert!(waits(&mut stream, Interest::READABLE).await, "and nothing wakes it");
        assert_eq!(watched(&stream), Some(Interest::READABLE));
        let mut sent = 0;
        while let Some(count) = stream.write(&[IoSlice::new(&block)]).unwrap() {
            sent += count;
        }
        assert!(waits(&mut stream, BOTH).await);
        assert_eq!(stream.write(&[IoSlice::new(&block)]).unwrap(), None, "there is no room yet");
        client.read_exact(&mut vec![0; sent]).unwrap();
        stream.ready(BOTH).await.unwrap();
        assert!(stream.write(&[IoSlice::new(&block)]).unwrap().is_some());
        assert!(waits(&mut stream, Interest::READABLE).await);
        assert_eq!(watched(&stream), Some(Interest::READABLE));
    }

    #[tokio::test]
    async fn writing_to_a_client_that_has_gone_raises_no_signal() {
        // Blocked, it would be pending afterwards, even where it is ignored.
        SigSet::from(Signal::SIGPIPE).thread_block().unwrap();
        let (stream, client) = pair();
        drop(client);
        let error = stream.write(&[IoSlice::new(b"reply")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let pending = status.lines().find_map(|line| line.strip_prefix("SigPnd:")).unwrap();
        assert_eq!(u64::from_str_radix(pending.trim(), 16), Ok(0));
    }
}
