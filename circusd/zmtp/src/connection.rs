//! One client: greeting it, reading what it sends and writing what waits for it, until it leaves.

use crate::frame::{self, Frame, Violation};
use crate::handshake::{Greeted, Handshake, Kind};
use crate::outgoing::{Left, Outgoing};
use crate::stream::{CHUNK, Read, Stream};
use crate::subscriptions::Subscriptions;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::io::Interest;
use tokio::{task, time};

/// How long a client may take to say what it is; libzmq gives it as long (`ZMQ_HANDSHAKE_IVL`).
const GREETING_PATIENCE: Duration = Duration::from_secs(30);
/// Messages of one client that are dealt with, and pieces that are sent to it, before others get their turn.
const BURST: usize = 64;
/// A buffer that has grown beyond so many bytes is not kept.
const KEPT: usize = 2 * CHUNK;
/// Bytes of a heartbeat that come back; libzmq sends back no more either.
const LONGEST_CONTEXT: usize = 16;

/// What others know of a client.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// What waits for it.
    pub(crate) outgoing: Outgoing,
    /// The name that it gave itself.
    pub(crate) identity: OnceLock<Bytes>,
    /// The events that it wants.
    pub(crate) subscriptions: Mutex<Subscriptions>,
}

/// What is done with the frames of a client.
pub(crate) trait Inbound: Send + 'static {
    /// What clients connect to.
    const KIND: Kind;
    /// Longest frame that is taken, in bytes.
    const LONGEST: usize;

    /// Takes a frame, when there is room for it.
    fn take(
        &mut self,
        frame: Frame,
        peer: &Peer,
    ) -> impl Future<Output = Result<(), Violation>> + Send;
}

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Violation(#[from] Violation),
    #[error("it did not say what it is")]
    Silent(#[from] time::error::Elapsed),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves a client until it leaves, or until its queue is closed and everything is sent.
pub(crate) async fn serve<I: Inbound>(
    stream: Stream,
    peer: Arc<Peer>,
    inbound: I,
) -> Result<(), Fault> {
    let mut connection = Connection {
        stream,
        peer: &peer,
        inbound,
        received: BytesMut::new(),
        sending: VecDeque::new(),
    };
    let greeted = tokio::select! {
        greeted = time::timeout(GREETING_PATIENCE, connection.greet()) => greeted??,
        // Nothing can wait for who has not been greeted: the endpoint is closed.
        () = peer.outgoing.changed() => return Ok(()),
    };
    if let Some(Greeted { identity }) = greeted {
        // Nobody else sets it.
        let _ = peer.identity.set(identity);
        connection.run().await?;
    }
    Ok(())
}

struct Connection<'a, I> {
    stream: Stream,
    peer: &'a Peer,
    inbound: I,
    received: BytesMut,
    sending: VecDeque<Bytes>,
}

impl<I: Inbound> Connection<'_, I> {
    /// None when it leaves meanwhile.
    async fn greet(&mut self) -> Result<Option<Greeted>, Fault> {
        let (mut handshake, first) = Handshake::begin(I::KIND);
        self.sending.push_back(first);
        loop {
            while !self.write()? {
                self.stream.ready(Interest::WRITABLE).await?;
            }
            let mut reply = BytesMut::new();
            let taken = handshake.take(&mut self.received, &mut reply);
            let answered = !reply.is_empty();
            if answered {
                self.sending.push_back(reply.freeze());
            }
            match taken {
                Ok(Some(greeted)) => return Ok(Some(greeted)),
                Ok(None) if answered => {}
                Ok(None) => {
                    self.stream.ready(Interest::READABLE).await?;
                    if self.stream.read(&mut self.received)? == Read::End {
                        return Ok(None);
                    }
                }
                Err(violation) => {
                    // What we are tells it why it is cut off.
                    self.write()?;
                    return Err(violation.into());
                }
            }
        }
    }

    async fn run(&mut self) -> Result<(), Fault> {
        let mut deaf = false;
        loop {
            // A client that sends as fast as it is read would never let go of the loop.
            task::consume_budget().await;
            let mut left = Left::Some;
            if self.sending.is_empty() {
                left = self.peer.outgoing.take_into(&mut self.sending, BURST);
            }
            let written = self.write().unwrap_or_else(|_| {
                // It does not want to hear any more. What it said before it left still counts.
                deaf = true;
                self.sending = VecDeque::new();
                self.peer.outgoing.discard();
                true
            });
            if left == Left::NothingEver && written && !deaf {
                return Ok(());
            }
            let read_all = self.deal_with_burst().await?;
            if !read_all || (left == Left::Some && written && !deaf) {
                task::yield_now().await;
                if read_all && self.stream.read(&mut self.received)? == Read::End {
                    return Ok(());
                }
                continue;
            }
            let interest =
                if written { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
            tokio::select! {
                () = self.peer.outgoing.changed(), if written && !deaf => {}
                ready = self.stream.ready(interest) => {
                    ready?;
                    if self.stream.read(&mut self.received)? == Read::End {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Deals with the frames that have come whole. False: there may be more of them.
    async fn deal_with_burst(&mut self) -> Result<bool, Fault> {
        for _ in 0..BURST {
            let Some(frame) = frame::take(&mut self.received, I::LONGEST)? else {
                if self.received.is_empty() && self.received.capacity() > KEPT {
                    self.received = BytesMut::new();
                }
                return Ok(true);
            };
            if let Some(pong) = pong(&frame)? {
                self.peer.outgoing.push([pong]);
            } else {
                self.inbound.take(frame, self.peer).await?;
            }
        }
        Ok(false)
    }

    /// Writes what is on its way; true when nothing is left of it.
    fn write(&mut self) -> io::Result<bool> {
        while !self.sending.is_empty() {
            let pieces: Vec<_> =
                self.sending.iter().take(BURST).map(|piece| IoSlice::new(piece)).collect();
            let Some(mut count) = self.stream.write(&pieces)? else { return Ok(false) };
            while let Some(piece) = self.sending.front_mut() {
                let part = count.min(piece.len());
                piece.advance(part);
                count -= part;
                if !piece.is_empty() {
                    break;
                }
                self.sending.pop_front();
            }
        }
        Ok(true)
    }
}

/// What a client that asks whether we are alive is told (ZMTP 3.1: a time to live, then a context of at most 16 bytes
/// that comes back).
pub(crate) fn pong(frame: &Frame) -> Result<Option<Bytes>, Violation> {
    if !frame.command {
        return Ok(None);
    }
    let (name, data) = frame::command_parts(&frame.body)?;
    if name != b"PING" {
        return Ok(None);
    }
    let context = data.get(2..).ok_or(Violation::Command)?;
    Ok(Some(frame::command("PONG", &context[..context.len().min(LONGEST_CONTEXT)])))
}
