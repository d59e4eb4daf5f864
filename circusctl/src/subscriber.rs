//! Listens to the events of circusd: SUB to its PUB socket, two frames per event.
//!
//! Used by `listen`. Does not interpret topics or payloads.

use crate::client::CallError;
use crate::endpoint::Endpoint;
use crate::interrupt;

/// One message of a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Such as `watcher.web.spawn`; bytes that are not UTF-8 are replaced.
    pub topic: String,
    /// JSON as it came; bytes that are not UTF-8 are replaced.
    pub payload: String,
}

/// A subscription that never ends by itself.
pub struct Subscriber {
    endpoint: Endpoint,
    socket: zmq::Socket,
}

impl Subscriber {
    /// Subscribes to every topic that begins with one of the prefixes, or to all if there are none.
    ///
    /// # Errors
    /// [`CallError::InvalidEndpoint`], and [`CallError::Socket`] when the process is out of fds.
    pub fn connect(endpoint: Endpoint, prefixes: &[String]) -> Result<Self, CallError> {
        let socket = open(prefixes)
            .map_err(|source| CallError::Socket { endpoint: endpoint.clone(), source })?;
        endpoint.connect(&socket)?;
        Ok(Self { endpoint, socket })
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// [`CallError::Socket`].
    pub fn wait(&mut self) -> Result<Published, CallError> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        loop {
            match self.socket.recv_multipart(0).as_deref() {
                Ok([topic, payload]) => {
                    return Ok(Published { topic: text(topic), payload: text(payload) });
                }
                Err(zmq::Error::EINTR) if interrupt::pending() => {
                    return Err(CallError::Interrupted);
                }
                // Other numbers of frames are not from a circusd.
                Ok(_) | Err(zmq::Error::EINTR) => {}
                Err(source) => {
                    return Err(CallError::Socket {
                        endpoint: self.endpoint.clone(),
                        source: *source,
                    });
                }
            }
        }
    }
}

fn open(prefixes: &[String]) -> Result<zmq::Socket, zmq::Error> {
    let socket = zmq::Context::new().socket(zmq::SUB)?;
    socket.set_linger(0)?;
    if prefixes.is_empty() {
        socket.set_subscribe(b"")?;
    }
    for prefix in prefixes {
        socket.set_subscribe(prefix.as_bytes())?;
    }
    Ok(socket)
}
