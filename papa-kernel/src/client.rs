//! One connection: its buffers, both bounded, and whether it commands, watches or is on its way
//! out.
//!
//! Reads and writes bytes; what the lines mean is `session`'s business.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use bincode::de::{Decode, Decoder};
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError, EncodeError};
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{Shutdown, shutdown};
use papa_handover::field::Entry;
use papa_handover::{Descriptor, Refusal};
use papa_spawn::peer;
use protocol::papa::{Reply, RequestLines};

use crate::budget::can_grow_to;
use crate::poller::ClientId;
use crate::watch::Watch;

/// The longest request line, in bytes. Twice what Linux passes to a program, so that an exact
/// line still fits when much of it is escaped.
const LONGEST_LINE: usize = 4 << 20;
/// A client with this much unread output is not served until it has read some of it.
const MOST_OUTPUT: usize = 1 << 20;
/// What is read from one client before others get their turn.
const READ_PER_TURN: usize = 256 << 10;
/// What a client may still send after its connection has ended, before it is cut off.
const MOST_DRAINED: usize = 64 << 20;
/// Buffers larger than this are given back when they are empty.
const KEPT_CAPACITY: usize = 64 << 10;

/// What a connection is for.
#[derive(Debug, Clone, PartialEq, bincode::Encode, bincode::Decode)]
pub(crate) enum Mode {
    /// Lines are commands.
    Commands,
    /// Lines are answers to blocks.
    Watching(Watch),
    /// The last reply is on its way; input is thrown away until the client hangs up, since
    /// closing over unread input would reset the connection and lose that reply.
    Leaving,
    /// The client asked for an upgrade, and hears how it ended before anything else.
    Upgrading,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) fd: Descriptor,
    input: RequestLines,
    drained: usize,
    pub(crate) output: Vec<u8>,
    written: usize,
    pub(crate) mode: Mode,
    /// The client will send nothing more.
    pub(crate) ended: bool,
    /// The client will read nothing more either.
    pub(crate) broken: bool,
    shut: bool,
    pub(crate) interest: EpollFlags,
    /// Its share of the memory for clients, as last counted.
    pub(crate) share: usize,
    /// Since when the first block of a stream waits: see [`Client::hold_back`].
    held_since: Option<Instant>,
}

impl Client {
    pub(crate) fn new(id: ClientId, fd: Descriptor) -> Self {
        Self {
            id,
            fd,
            input: RequestLines::default(),
            drained: 0,
            output: Vec::new(),
            written: 0,
            mode: Mode::Commands,
            ended: false,
            broken: false,
            shut: false,
            interest: EpollFlags::empty(),
            share: 0,
            held_since: None,
        }
    }

    /// Begins a stream.
    ///
    /// The client library of papa 1.0.6 takes a block that comes together with the line before it
    /// into its own memory. Who then waits for the socket to become readable, as circus 0.17.2
    /// does, waits for ever. Papa itself sends no block for some 50 ms; here the first one waits
    /// until the line has been read. The exact form needs no such care.
    pub(crate) fn watch(&mut self, watch: Watch) {
        self.held_since = (!watch.is_exact()).then(Instant::now);
        self.mode = Mode::Watching(watch);
    }

    /// How long to wait before the client is looked at again, if it has not read what comes before
    /// its first block.
    pub(crate) fn hold_back(&mut self) -> Option<Duration> {
        const SHORTEST: Duration = Duration::from_millis(1);
        const LONGEST: Duration = Duration::from_millis(100);
        /// A client that reads nothing for so long does not wait for the socket.
        const PATIENCE: Duration = Duration::from_secs(10);
        let held = self.held_since?.elapsed();
        if held > PATIENCE || (self.is_flushed() && peer::has_read_all(&self.fd)) {
            self.held_since = None;
            return None;
        }
        Some(held.clamp(SHORTEST, LONGEST))
    }

    /// The memory of its buffers, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.input.capacity() + self.output.capacity()
    }

    /// Reads what is there, up to the share of one turn. An error says why no more can be held.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Refusal> {
        let mut share = READ_PER_TURN;
        while share > 0 && !self.ended && self.has_room() {
            match nix::unistd::read(&self.fd, buffer) {
                Ok(0) => self.ended = true,
                Ok(count) if matches!(self.mode, Mode::Leaving) => {
                    self.drained += count;
                    share = share.saturating_sub(count);
                }
                Ok(count) => {
                    if self.input.room() < count {
                        // Doubling would hold twice what a long line needs.
                        let held = self.input.capacity() - self.input.room();
                        let more = count.max(held.min(READ_PER_TURN));
                        if !can_grow_to(held + more) {
                            return Err(no_memory());
                        }
                        self.input.reserve(more);
                    }
                    self.input.feed(buffer.get(..count).unwrap_or_default());
                    share = share.saturating_sub(count);
                }
                Err(nix::Error::EAGAIN) => break,
                Err(nix::Error::EINTR) => {}
                Err(_) => (self.ended, self.broken) = (true, true),
            }
        }
        if self.drained > MOST_DRAINED {
            (self.ended, self.broken) = (true, true);
        }
        Ok(())
    }

    /// The next whole line without its line feed.
    pub(crate) fn take_line(&mut self) -> Result<Option<Vec<u8>>, Refusal> {
        let whole = self.input.next_length();
        if whole.unwrap_or(self.input.rest().len()) > LONGEST_LINE {
            return Err(Refusal::new(format!("A line may have {LONGEST_LINE} bytes at most")));
        }
        // Small ones find room in any case; the others are copied, cut into words and kept.
        if whole.is_some_and(|length| length > KEPT_CAPACITY && !can_grow_to(5 * length)) {
            return Err(no_memory());
        }
        Ok(self.input.take_line(KEPT_CAPACITY))
    }

    /// Whether a whole line waits.
    pub(crate) fn has_line(&self) -> bool {
        self.input.has_line()
    }

    /// Whether more input can be held: one line, and what one turn reads.
    fn has_room(&self) -> bool {
        matches!(self.mode, Mode::Leaving) || self.input.rest().len() <= LONGEST_LINE
    }

    /// Whether the client must read before it is served again.
    pub(crate) fn is_congested(&self) -> bool {
        self.output.len() - self.written > MOST_OUTPUT
    }

    /// Whether everything has been written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.output.len() == self.written
    }

    /// Writes what the connection takes now.
    pub(crate) fn flush(&mut self) {
        while !self.is_flushed() && !self.broken {
            match nix::unistd::write(&self.fd, self.output.get(self.written..).unwrap_or_default())
            {
                Ok(count) => self.written += count,
                Err(nix::Error::EAGAIN) => break,
                Err(nix::Error::EINTR) => {}
                Err(_) => (self.ended, self.broken) = (true, true),
            }
        }
        if self.is_flushed() {
            self.output.clear();
            self.written = 0;
            if self.output.capacity() > KEPT_CAPACITY {
                self.output = Vec::new();
            }
            if matches!(self.mode, Mode::Leaving) && !self.shut {
                self.shut = true;
                if shutdown(self.fd.as_raw_fd(), Shutdown::Write).is_err() {
                    self.broken = true;
                }
            }
        }
    }

    /// Says why its line was not taken, and ends the connection: where the next one begins is not
    /// known. A stream is ended before, by `session`.
    pub(crate) fn refuse(&mut self, why: &Refusal) {
        Reply::Error(why.to_string()).print(&mut self.output);
        self.leave(b"");
    }

    /// Sends a last text and ends the connection once it is out.
    pub(crate) fn leave(&mut self, last: &[u8]) {
        self.output.extend_from_slice(last);
        self.mode = Mode::Leaving;
        self.drained += self.input.rest().len();
        self.input = RequestLines::default();
    }

    /// Whether the connection can be closed.
    pub(crate) fn is_done(&self) -> bool {
        let waiting = matches!(self.mode, Mode::Watching(_) | Mode::Upgrading) || self.has_line();
        self.broken || (self.ended && self.is_flushed() && !waiting)
    }

    /// What the poller should report. A broken connection is always reported.
    pub(crate) fn wanted(&self) -> EpollFlags {
        let mut wanted = EpollFlags::empty();
        let serves = matches!(self.mode, Mode::Leaving) || !self.is_congested();
        if !self.ended && serves && self.has_room() {
            wanted |= EpollFlags::EPOLLIN;
        }
        if !self.is_flushed() {
            wanted |= EpollFlags::EPOLLOUT;
        }
        wanted
    }
}

fn no_memory() -> Refusal {
    Refusal::new("The kernel has no memory for this request")
}

impl Entry for Client {
    type Key = ClientId;

    fn key(&self) -> ClientId {
        self.id
    }
}

impl Encode for Client {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let input = self.input.rest();
        let output = self.output.get(self.written..).unwrap_or_default();
        let Self { id, fd, drained, mode, ended, broken, shut, .. } = self;
        (id, fd, input, output, drained, mode, ended, broken, shut).encode(encoder)
    }
}

bincode::impl_borrow_decode!(Client);

impl<C> Decode<C> for Client {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let (id, fd, input, output, drained, mode, ended, broken, shut) =
            <(_, _, Vec<u8>, _, _, _, _, _, _)>::decode(decoder)?;
        let new = Self::new(id, fd);
        let input = RequestLines::from(input);
        let mut client = Self { input, output, drained, ended, broken, shut, ..new };
        match mode {
            Mode::Watching(watch) => client.watch(watch),
            mode => client.mode = mode,
        }
        Ok(client)
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (UnixStream, Client) {
        let (theirs, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (theirs, Client::new(ClientId(1), OwnedFd::from(ours).into()))
    }

    #[test]
    fn lines_come_whole_however_they_were_sent() {
        let (mut theirs, mut client) = pair();
        let mut buffer = [0; 100];
        theirs.write_all(b"se").unwrap();
        client.fill(&mut buffer).unwrap();
        assert_eq!(client.take_line(), Ok(None));
        theirs.write_all(b"t a\nget a\nle").unwrap();
        client.fill(&mut buffer).unwrap();
        assert_eq!(client.take_line(), Ok(Some(b"set a".to_vec())));
        assert!(client.has_line());
        assert_eq!(client.take_line(), Ok(Some(b"get a".to_vec())));
        assert_eq!(client.take_line(), Ok(None));
        drop(theirs);
        client.fill(&mut buffer).unwrap();
        assert!(client.ended && client.is_done());
    }

    #[test]
    fn a_line_without_end_is_refused_and_not_kept() {
        let (mut theirs, mut client) = pair();
        let writer = std::thread::spawn(move || {
            // Ends with an error once the other side has been dropped.
            let _ = theirs.write_all(&vec![b'x'; 3 * LONGEST_LINE]);
        });
        let mut buffer = vec![0; 64 << 10];
        while client.take_line().is_ok() {
            client.fill(&mut buffer).unwrap();
        }
        assert!(client.input.rest().len() <= LONGEST_LINE + READ_PER_TURN + buffer.len());
        client.leave(b"Error: no\n> ");
        assert_eq!(client.input.capacity(), 0);
        drop(client);
        writer.join().unwrap();
    }
}
