//! The socket of the feed, and whether anybody listens to it.
//!
//! An XPUB is a PUB that also tells of subscriptions, so that nothing is measured for nobody.

use super::message::{Message, PREFIX};
use crate::private_endpoint::{self, BindError};
use std::collections::HashSet;

/// Messages that may wait for a subscriber; beyond that it misses some. Enough for two rounds of 10,000
/// processes.
const WAITING: i32 = 20_000;

/// The bound feed.
pub struct Publisher {
    socket: zmq::Socket,
    topics: HashSet<Vec<u8>>,
}

impl Publisher {
    /// Binds the feed to an endpoint.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(context: &zmq::Context, endpoint: &str) -> Result<Self, BindError> {
        let socket = open(context)?;
        private_endpoint::bind_socket(&socket, endpoint)?;
        Ok(Self { socket, topics: HashSet::new() })
    }

    /// What to poll for new subscriptions.
    pub fn socket(&self) -> &zmq::Socket {
        &self.socket
    }

    /// Takes in who came and went.
    ///
    /// # Errors
    /// ZeroMQ's.
    pub fn take_subscriptions(&mut self) -> Result<(), zmq::Error> {
        loop {
            let message = match self.socket.recv_bytes(zmq::DONTWAIT) {
                Ok(message) => message,
                Err(zmq::Error::EAGAIN) => return Ok(()),
                Err(zmq::Error::EINTR) => continue,
                Err(error) => return Err(error),
            };
            match message.split_first() {
                Some((1, topic)) if reaches_us(topic) => drop(self.topics.insert(topic.to_owned())),
                Some((0, topic)) => drop(self.topics.remove(topic)),
                Some(_) | None => {}
            }
        }
    }

    /// Somebody wants messages of this feed.
    pub fn has_subscribers(&self) -> bool {
        !self.topics.is_empty()
    }

    /// Sends messages; a subscriber that is too slow misses them.
    ///
    /// # Errors
    /// ZeroMQ's.
    pub fn send(&self, messages: Vec<Message>) -> Result<(), zmq::Error> {
        for Message { topic, payload } in messages {
            match self.socket.send_multipart([topic.into_bytes(), payload], zmq::DONTWAIT) {
                Ok(()) | Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn open(context: &zmq::Context) -> Result<zmq::Socket, zmq::Error> {
    let socket = context.socket(zmq::XPUB)?;
    socket.set_linger(0)?;
    socket.set_sndhwm(WAITING)?;
    Ok(socket)
}

/// A subscription to topics among which ours are.
fn reaches_us(topic: &[u8]) -> bool {
    topic.starts_with(PREFIX.as_bytes()) || PREFIX.as_bytes().starts_with(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_subscriptions_that_ours_can_match_count() {
        assert!(reaches_us(b""));
        assert!(reaches_us(b"sta"));
        assert!(reaches_us(b"stat.web."));
        assert!(!reaches_us(b"watcher."));
    }
}
