//! The ROUTER: requests come in with the client that sent them, and replies go to that client.

use crate::allowance::Share;
use crate::connection::{Inbound, Peer};
use crate::connections::{Connections, Peers};
use crate::frame::{self, Frame, Violation};
use crate::handshake::Kind;
use crate::listener::Listener;
use crate::outgoing::Queued;
use bytes::Bytes;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::{debug, warn};

/// Whom a request came from, and the way back.
#[derive(Debug, Clone)]
pub struct Client {
    connection: u64,
    identity: Bytes,
    peers: Arc<Peers>,
}

impl Client {
    /// Queues a reply, which is sent together with others when the client has its turn on the event loop. A client
    /// that has gone, or that does not read its replies, does without; one that came back under its name gets what
    /// was meant for it.
    pub fn reply(&self, body: Bytes) {
        self.send(|peer| peer.outgoing.push(frame::message(body)));
    }

    /// As [`Client::reply`], but sends it now: for who has nothing else to say for the moment.
    pub fn reply_now(&self, body: Bytes) {
        self.send(|peer| {
            let write = |pieces: &[IoSlice<'_>]| peer.writer.write(pieces);
            peer.outgoing.push_and_write(frame::message(body), write)
        });
    }

    fn send(&self, send: impl FnOnce(&Peer) -> Queued) {
        let Some(peer) = self.peer() else { return };
        if send(&peer) == Queued::FirstDropped {
            warn!("a client does not read its replies; those that it has no room for are dropped");
        }
    }

    fn peer(&self) -> Option<Arc<Peer>> {
        let peers = self.peers.lock();
        let namesake = |peer: &&Arc<Peer>| {
            !self.identity.is_empty() && peer.identity.get() == Some(&self.identity)
        };
        peers.get(&self.connection).or_else(|| peers.values().find(namesake)).cloned()
    }
}

/// One request as it came in.
#[derive(Debug)]
pub struct Incoming {
    /// Who gets the reply.
    pub client: Client,
    /// The frame that the client sent.
    pub body: Vec<u8>,
    /// Until it is dealt with it counts among those that have come.
    _share: Share,
}

/// The longest request that is taken, in bytes; a client that sends more is cut off.
const LONGEST: usize = 16 << 20;

/// A ROUTER that is served.
#[derive(Debug)]
pub struct Router {
    connections: Connections,
    requests: mpsc::Sender<Incoming>,
}

impl Router {
    /// Serves an endpoint, as long as [`Router::attend`] is waited for. When nobody takes requests, clients are not
    /// read, so that they wait in their sockets.
    ///
    /// # Errors
    /// The event loop cannot watch the endpoint.
    pub fn serve(listener: Listener, requests: mpsc::Sender<Incoming>) -> io::Result<Self> {
        Ok(Self { connections: Connections::new(listener)?, requests })
    }

    /// Accepts clients. Nothing is lost when it is no longer waited for.
    pub async fn attend(&mut self) -> Infallible {
        let requests = &self.requests;
        let peers = Arc::clone(self.connections.peers());
        let inbound = |connection| Requests {
            connection,
            peers: Arc::clone(&peers),
            requests: requests.clone(),
            follows: false,
        };
        self.connections.attend(inbound).await
    }

    /// Accepts nobody any more and sends the replies that wait, for at most `patience`.
    pub async fn close(self, patience: Duration) {
        drop(self.requests);
        self.connections.close(patience).await;
    }
}

/// What a client asks for.
struct Requests {
    connection: u64,
    peers: Arc<Peers>,
    requests: mpsc::Sender<Incoming>,
    /// The frame before said that there is more, so this one begins nothing.
    follows: bool,
}

impl Inbound for Requests {
    const KIND: Kind = Kind::Router;
    const LONGEST: usize = LONGEST;

    /// A message of several frames is dropped: circusd's clients send one.
    async fn take(&mut self, frame: Frame, share: Share, peer: &Peer) -> Result<(), Violation> {
        if frame.command {
            return Ok(());
        }
        let alone = !frame.more && !self.follows;
        self.follows = frame.more;
        if alone {
            let identity = peer.identity.get().cloned().unwrap_or_default();
            let peers = Arc::clone(&self.peers);
            let client = Client { connection: self.connection, identity, peers };
            // When nobody takes them any more they are for nobody.
            let _ = self.requests.send(Incoming { client, body: frame.body, _share: share }).await;
        } else if !frame.more {
            debug!("a message of several frames was dropped");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use tokio::{task, time};

    /// How long something that must happen may take.
    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn who_does_not_want_to_hear_any_more_does_not_hold_up_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e");
        let listener = Listener::bind(&format!("ipc://{}", path.display())).unwrap();
        let (requests, mut incoming) = mpsc::channel(1);
        let mut router = Router::serve(listener, requests).unwrap();
        let deaf = task::spawn_blocking(move || {
            let mut socket = UnixStream::connect(path).unwrap();
            let mut greeting = b"\xff\0\0\0\0\0\0\0\0\x7f\x03\0NULL".to_vec();
            greeting.resize(64, 0);
            greeting.extend(b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER");
            socket.write_all(&greeting).unwrap();
            socket.read_exact(&mut [0; 64 + 30]).unwrap();
            socket.shutdown(Shutdown::Read).unwrap();
            socket.write_all(b"\0\x03one\0\x03two").unwrap();
            socket
        });
        for body in [b"one", b"two"] {
            let request = tokio::select! {
                request = incoming.recv() => request.unwrap(),
                never = router.attend() => match never {},
            };
            // What it says still counts, although it does not hear the answer.
            assert_eq!(request.body, body);
            request.client.reply_now(Bytes::from_static(b"answer"));
        }
        let _deaf = deaf.await.unwrap();
        time::timeout(PATIENCE, router.close(100 * PATIENCE)).await.unwrap();
    }
}
