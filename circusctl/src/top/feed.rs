//! Receives the statistics feed: a SUB socket and a monitor that tells whether it is connected.

use super::model::Link;
use crate::client::CallError;
use crate::endpoint::Endpoint;
use std::time::Duration;

/// Messages of a batch at most, so that a busy feed does not keep the screen from being drawn.
const BATCH: usize = 1000;

/// Messages that may wait here; more are lost, and the next round brings new ones.
const WAITING: i32 = 50_000;

/// A topic and its payload.
pub type Message = (String, Vec<u8>);

/// What came in.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// Messages, in the order in which they came.
    Messages(Vec<Message>),
    /// The connection was made or lost.
    Link(Link),
    /// Nothing within the time.
    Nothing,
}

/// A subscription to the feed.
pub struct Feed {
    socket: zmq::Socket,
    monitor: zmq::Socket,
    endpoint: Endpoint,
}

impl Feed {
    /// Subscribes. Nothing waits here: ZeroMQ connects in the background, and again when a connection is
    /// lost.
    ///
    /// # Errors
    /// [`CallError::InvalidEndpoint`], and [`CallError::Socket`] when the process is out of fds.
    pub fn subscribe(endpoint: Endpoint) -> Result<Self, CallError> {
        let (socket, monitor) =
            open().map_err(|source| CallError::Socket { endpoint: endpoint.clone(), source })?;
        endpoint.connect(&socket)?;
        Ok(Self { socket, monitor, endpoint })
    }

    /// Waits for something to come in.
    ///
    /// # Errors
    /// [`CallError::Socket`].
    pub fn receive(&self, timeout: Duration) -> Result<Received, CallError> {
        self.try_receive(timeout)
            .map_err(|source| CallError::Socket { endpoint: self.endpoint.clone(), source })
    }

    fn try_receive(&self, timeout: Duration) -> Result<Received, zmq::Error> {
        let milliseconds =
            i64::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX);
        let mut items =
            [self.socket.as_poll_item(zmq::POLLIN), self.monitor.as_poll_item(zmq::POLLIN)];
        match zmq::poll(&mut items, milliseconds) {
            Ok(_) | Err(zmq::Error::EINTR) => {}
            Err(error) => return Err(error),
        }
        let changed = items.get(1).is_some_and(zmq::PollItem::is_readable);
        if changed && let Some(link) = self.link()? {
            return Ok(Received::Link(link));
        }
        let mut messages = Vec::new();
        while messages.len() < BATCH {
            match self.socket.recv_multipart(zmq::DONTWAIT) {
                Ok(frames) => {
                    // Other numbers of frames are not from a circusd-stats.
                    let Ok([topic, payload]) = <[Vec<u8>; 2]>::try_from(frames) else { continue };
                    messages.push((String::from_utf8_lossy(&topic).into_owned(), payload));
                }
                Err(zmq::Error::EAGAIN) => break,
                Err(zmq::Error::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(if messages.is_empty() { Received::Nothing } else { Received::Messages(messages) })
    }

    /// What the monitor has to say, as far as it matters.
    fn link(&self) -> Result<Option<Link>, zmq::Error> {
        let frames = self.monitor.recv_multipart(zmq::DONTWAIT)?;
        let Some([low, high, ..]) = frames.first().map(Vec::as_slice) else { return Ok(None) };
        let event = u16::from_ne_bytes([*low, *high]);
        Ok(if event == zmq::SocketEvent::HANDSHAKE_SUCCEEDED.to_raw() {
            Some(Link::Up)
        } else if event == zmq::SocketEvent::DISCONNECTED.to_raw() {
            Some(Link::Away)
        } else {
            None
        })
    }
}

fn open() -> Result<(zmq::Socket, zmq::Socket), zmq::Error> {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::SUB)?;
    socket.set_linger(0)?;
    socket.set_rcvhwm(WAITING)?;
    // A peer that has gone without a word, as with its network, is noticed.
    socket.set_heartbeat_ivl(5_000)?;
    socket.set_heartbeat_timeout(15_000)?;
    socket.set_subscribe(b"stat.")?;
    let events = [zmq::SocketEvent::HANDSHAKE_SUCCEEDED, zmq::SocketEvent::DISCONNECTED];
    let mask = events.into_iter().fold(0, |mask, event| mask | i32::from(event.to_raw()));
    socket.monitor("inproc://feed", mask)?;
    let monitor = context.socket(zmq::PAIR)?;
    monitor.set_linger(0)?;
    monitor.connect("inproc://feed")?;
    Ok((socket, monitor))
}
