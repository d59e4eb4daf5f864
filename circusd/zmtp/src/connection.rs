//! One client: greeting it, reading what it sends and writing what waits for it, until it leaves.

use crate::allowance::{Allowance, Share};
use crate::frame::{self, Frame, Violation};
use crate::handshake::{Greeted, Handshake, Kind};
use crate::outgoing::{Left, Outgoing};
use crate::stream::{CHUNK, Read, Stream, Writer};
use crate::subscriptions::Subscriptions;
use bytes::{Buf, Bytes, BytesMut};
use std::future::{self, Future};
use std::io::{self, IoSlice};
use std::mem;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::io::Interest;
use tokio::time::Instant;
use tokio::{task, time};

/// How long a client may take to say what it is; libzmq gives it as long (`ZMQ_HANDSHAKE_IVL`).
const GREETING_PATIENCE: Duration = Duration::from_secs(30);
/// Messages of one client that are dealt with before others get their turn.
const BURST: usize = 64;
/// A buffer that has grown beyond so many bytes is not kept.
const KEPT: usize = 2 * CHUNK;
/// Bytes of a heartbeat that come back; libzmq sends back no more either.
const LONGEST_CONTEXT: usize = 16;

/// What others know of a client.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// The way to it.
    pub(crate) writer: Writer,
    /// What waits for it.
    pub(crate) outgoing: Outgoing,
    /// The name that it gave itself.
    pub(crate) identity: OnceLock<Bytes>,
    /// The events that it wants.
    pub(crate) subscriptions: Mutex<Subscriptions>,
}

impl Peer {
    pub(crate) fn new(writer: Writer) -> Self {
        Self { writer, ..Self::default() }
    }
}

/// What is done with the frames of a client.
pub(crate) trait Inbound: Send + 'static {
    /// What clients connect to.
    const KIND: Kind;
    /// Longest frame that is taken, in bytes.
    const LONGEST: usize;

    /// Takes a frame, when there is room for it, and what it holds of the allowance.
    fn take(
        &mut self,
        frame: Frame,
        share: Share,
        peer: &Peer,
    ) -> impl Future<Output = Result<(), Violation>> + Send;
}

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Violation(#[from] Violation),
    #[error("it did not say what it is")]
    Nameless(#[from] time::error::Elapsed),
    #[error("it said nothing for as long as it had announced")]
    Silent,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves a client until it leaves, or until its queue is closed and everything is sent.
pub(crate) async fn serve<I: Inbound>(
    stream: Stream,
    peer: Arc<Peer>,
    inbound: I,
    allowance: Allowance,
) -> Result<(), Fault> {
    let mut connection = Connection {
        stream,
        peer: &peer,
        inbound,
        received: BytesMut::new(),
        allowance,
        share: Share::default(),
        silence: None,
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
    allowance: Allowance,
    /// For what was received.
    share: Share,
    /// It is gone if it says nothing until then.
    silence: Option<Instant>,
}

impl<I: Inbound> Connection<'_, I> {
    /// None when it leaves meanwhile.
    async fn greet(&mut self) -> Result<Option<Greeted>, Fault> {
        let (mut handshake, first) = Handshake::begin(I::KIND);
        let mut sending = BytesMut::from(first);
        let mut greeted = None;
        loop {
            while !self.write(&mut sending)? {
                self.stream.ready(Interest::WRITABLE).await?;
            }
            if greeted.is_some() {
                return Ok(greeted);
            }
            greeted = match handshake.take(&mut self.received, &mut sending) {
                Ok(greeted) => greeted,
                Err(violation) => {
                    // What we are tells it why it is cut off.
                    self.write(&mut sending)?;
                    return Err(violation.into());
                }
            };
            if greeted.is_none() && sending.is_empty() {
                self.stream.ready(Interest::READABLE).await?;
                if self.read()? == Read::End {
                    return Ok(None);
                }
            }
        }
    }

    /// Writes what is on its way; true when nothing is left of it.
    fn write(&self, sending: &mut BytesMut) -> io::Result<bool> {
        while !sending.is_empty() {
            let Some(count) = self.stream.write(&[IoSlice::new(sending)])? else {
                return Ok(false);
            };
            sending.advance(count);
        }
        Ok(true)
    }

    async fn run(&mut self) -> Result<(), Fault> {
        loop {
            // A client that sends as fast as it is read would never let go of the loop.
            task::consume_budget().await;
            let Ok(left) = self.peer.outgoing.write(|pieces| self.stream.write(pieces)) else {
                // It does not want to hear any more. What it said before it left still counts.
                self.peer.outgoing.discard();
                continue;
            };
            if left == Left::NothingEver {
                return Ok(());
            }
            let read_all = self.deal_with_burst().await?;
            if !read_all || left == Left::Some {
                task::yield_now().await;
                if read_all && self.read()? == Read::End {
                    return Ok(());
                }
                continue;
            }
            let blocked = left == Left::Blocked;
            let interest =
                if blocked { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            tokio::select! {
                biased;
                ready = self.stream.ready(interest) => {
                    ready?;
                    if self.read()? == Read::End {
                        return Ok(());
                    }
                }
                () = self.peer.outgoing.changed(), if !blocked => {}
                () = elapsed(self.silence) => return Err(Fault::Silent),
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
            let share = mem::take(&mut self.share);
            if let Some(Ping { patience, pong }) = ping(&frame)? {
                self.silence = patience.map(|patience| Instant::now() + patience);
                self.peer.outgoing.push([pong]);
            } else {
                self.inbound.take(frame, share, self.peer).await?;
            }
        }
        Ok(false)
    }

    fn read(&mut self) -> Result<Read, Fault> {
        let before = self.received.len();
        let read = self.stream.read(&mut self.received)?;
        if self.received.len() > before {
            self.silence = None;
        }
        self.allowance.cover(&mut self.share, self.received.len())?;
        Ok(read)
    }
}

async fn elapsed(end: Option<Instant>) {
    match end {
        Some(end) => time::sleep_until(end).await,
        None => future::pending().await,
    }
}

/// A client asks whether we are alive (ZMTP 3.1: a time to live in tenths of a second, then a context of at most 16
/// bytes that comes back).
pub(crate) struct Ping {
    /// How long it may say nothing after that; none: for ever.
    pub(crate) patience: Option<Duration>,
    /// What it is told.
    pub(crate) pong: Bytes,
}

/// None: it is another frame.
pub(crate) fn ping(frame: &Frame) -> Result<Option<Ping>, Violation> {
    if !frame.command {
        return Ok(None);
    }
    let (name, data) = frame::command_parts(&frame.body)?;
    if name != b"PING" {
        return Ok(None);
    }
    let (tenths, context) = data.split_first_chunk().ok_or(Violation::Command)?;
    let tenths = u64::from(u16::from_be_bytes(*tenths));
    let patience = (tenths > 0).then(|| Duration::from_millis(tenths * 100));
    let pong = frame::command("PONG", &context[..context.len().min(LONGEST_CONTEXT)]);
    Ok(Some(Ping { patience, pong }))
}
