//! The PUB: events go to every client that subscribed to the beginning of their topic.

use crate::allowance::Share;
use crate::connection::{Inbound, Peer};
use crate::connections::Connections;
use crate::frame::{self, Frame, Violation};
use crate::handshake::Kind;
use crate::listener::Listener;
use crate::outgoing::Queued;
use std::convert::Infallible;
use std::io;
use std::sync::PoisonError;
use std::time::Duration;
use tracing::warn;

/// The longest frame that is taken from a subscriber, in bytes: a topic.
const LONGEST: usize = 64 << 10;

/// A PUB that is served.
#[derive(Debug)]
pub struct Publisher {
    connections: Connections,
}

impl Publisher {
    /// Serves an endpoint, as long as [`Publisher::attend`] is waited for.
    ///
    /// # Errors
    /// The event loop cannot watch the endpoint.
    pub fn serve(listener: Listener) -> io::Result<Self> {
        Ok(Self { connections: Connections::new(listener)? })
    }

    /// Accepts subscribers. Nothing is lost when it is no longer waited for.
    pub async fn attend(&mut self) -> Infallible {
        self.connections.attend(|_| Topics).await
    }

    /// Sends an event to those who want it. A subscriber that does not read misses it.
    pub fn publish(&self, topic: &[u8], payload: &[u8]) {
        let mut message = None;
        for peer in self.connections.peers().lock().values().filter(|peer| wants(peer, topic)) {
            let message = message.get_or_insert_with(|| frame::pair(topic, payload)).clone();
            if peer.outgoing.push([message]) == Queued::FirstDropped {
                warn!("a subscriber is too slow; events that it has no room for are dropped");
            }
        }
    }

    /// Accepts nobody any more and sends the events that wait, for at most `patience`.
    pub async fn close(self, patience: Duration) {
        self.connections.close(patience).await;
    }
}

fn wants(peer: &Peer, topic: &[u8]) -> bool {
    peer.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).want(topic)
}

/// What a subscriber sends.
struct Topics;

impl Inbound for Topics {
    const KIND: Kind = Kind::Publisher;
    const LONGEST: usize = LONGEST;

    async fn take(&mut self, frame: Frame, _: Share, peer: &Peer) -> Result<(), Violation> {
        peer.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).take(&frame)
    }
}
