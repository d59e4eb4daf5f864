//! The task that owns ZeroMQ: a ROUTER for requests and a PUB for events.
//!
//! It moves frames and knows nothing about Circus. It lives on the event loop, since a thread of its own would
//! have to wait for its turn of the processor with each request and each reply. ZeroMQ tells through an fd,
//! and at the edge only: it says that something has changed since the ROUTER was last found empty. Sending
//! can swallow that, so the ROUTER is always read until it is empty *after* anything was sent.

use super::outbox::{Outbox, ToWire};
use circusctl::private_endpoint::{self, BindError};
use nix::unistd::{Uid, chown};
use papa_spawn::child::Credentials;
use papa_spawn::sys::duplicate;
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task;
use tracing::{error, warn};

/// The largest message that the ROUTER accepts, in bytes; a client that sends more is cut off by ZeroMQ.
const MAX_MESSAGE: i64 = 16 * 1024 * 1024;

/// Milliseconds that unsent replies and events get when the daemon ends.
const LINGER: i32 = 500;

/// Messages that are sent before others get their turn on the event loop.
const BURST: usize = 64;

/// One request as it came in.
#[derive(Debug)]
pub struct Incoming {
    /// The ROUTER's name for the client.
    pub client: Vec<u8>,
    /// The frame the client sent.
    pub body: Vec<u8>,
}

/// An endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Binding failed.
    #[error("cannot listen on {endpoint} ([circus] {key}): {reason}")]
    Bind {
        /// The key in `[circus]`.
        key: &'static str,
        /// Its value.
        endpoint: String,
        /// What ZeroMQ or the system says.
        reason: String,
    },
    /// The file of the endpoint cannot be given to its owner.
    #[error("cannot give the endpoint to [circus] endpoint_owner = {owner}: {reason}")]
    Owner {
        /// The user.
        owner: String,
        /// Why not.
        reason: String,
    },
    /// ZeroMQ or the system has no room.
    #[error("cannot set up ZeroMQ: {0}")]
    Setup(#[source] io::Error),
}

/// The bound endpoints, not yet served.
pub struct Wire {
    // Goes first: as long as we listen nobody else has a file of that name.
    _files: EndpointFiles,
    router: zmq::Socket,
    publisher: zmq::Socket,
    // Dropped after the sockets.
    _context: zmq::Context,
}

impl Wire {
    /// Binds both endpoints. The file of an `ipc://` endpoint gets mode 0600; that of `endpoint` is given to
    /// `owner`, a user name or number, if there is one.
    ///
    /// # Errors
    /// [`WireError`], which names the endpoint and its key.
    pub fn bind(
        endpoint: &str,
        pubsub_endpoint: &str,
        owner: Option<&str>,
    ) -> Result<Self, WireError> {
        let mut files = EndpointFiles::default();
        let context = zmq::Context::new();
        let setup = |e: zmq::Error| WireError::Setup(e.into());
        let router = context.socket(zmq::ROUTER).map_err(setup)?;
        router.set_maxmsgsize(MAX_MESSAGE).map_err(setup)?;
        router.set_linger(LINGER).map_err(setup)?;
        bind(&router, "endpoint", endpoint)?;
        files.add(endpoint);
        if let Some((owner, path)) = owner.zip(endpoint.strip_prefix("ipc://")) {
            give_to(path, owner)?;
        }
        let publisher = context.socket(zmq::PUB).map_err(setup)?;
        publisher.set_linger(LINGER).map_err(setup)?;
        bind(&publisher, "pubsub_endpoint", pubsub_endpoint)?;
        files.add(pubsub_endpoint);
        Ok(Self { _files: files, router, publisher, _context: context })
    }

    /// Serves the endpoints until [`ToWire::Close`]. Requests go to `requests`; when it is full the ROUTER is
    /// not read, so clients queue in ZeroMQ. What is queued for sending gets half a second at the end.
    ///
    /// # Errors
    /// The event loop cannot watch ZeroMQ.
    pub fn serve(
        mut self,
        outbox: Outbox,
        requests: mpsc::Sender<Incoming>,
    ) -> io::Result<task::JoinHandle<()>> {
        let changes = changes_of(&self.router)?;
        let subscribers = changes_of(&self.publisher)?;
        Ok(tokio::spawn(async move {
            if let Err(error) = self.run(changes, subscribers, &outbox, &requests).await {
                error!("ZeroMQ failed, no command is answered any more: {error}");
            }
            // What lingers would hold up everybody.
            let _ = task::spawn_blocking(move || drop(self)).await;
        }))
    }

    async fn run(
        &mut self,
        changes: AsyncFd<OwnedFd>,
        subscribers: AsyncFd<OwnedFd>,
        outbox: &Outbox,
        requests: &mpsc::Sender<Incoming>,
    ) -> io::Result<()> {
        loop {
            match self.send_some(outbox) {
                Sent::All => {}
                Sent::Burst => task::yield_now().await,
                Sent::Close => return Ok(()),
            }
            let empty = self.receive_into(requests)?;
            tokio::select! {
                () = outbox.filled() => {}
                // Its room is only looked for: the next turn takes it. When the daemon ends there is none.
                Ok(_) = requests.reserve(), if !empty => {}
                ready = changes.readable(), if empty => ready?.clear_ready(),
                ready = subscribers.readable() => {
                    ready?.clear_ready();
                    // Takes note of who has come and lets go of who has left. Without an event to send nothing
                    // else would, and all of them would be held.
                    uninterrupted(|| self.publisher.get_events())?;
                }
            }
        }
    }

    /// Sends what waits, at most [`BURST`] messages.
    fn send_some(&self, outbox: &Outbox) -> Sent {
        let dropped = outbox.take_dropped();
        if dropped > 0 {
            warn!("{dropped} events dropped: subscribers are too slow");
        }
        for _ in 0..BURST {
            match outbox.take() {
                Some(ToWire::Reply { client, body }) => self.reply(&client, &body),
                Some(ToWire::Event { topic, payload }) => self.publish(&topic, &payload),
                Some(ToWire::Close) => return Sent::Close,
                None => return Sent::All,
            }
        }
        Sent::Burst
    }

    /// Hands over requests until none waits, and then says so, or until there is no room for more.
    fn receive_into(&self, requests: &mpsc::Sender<Incoming>) -> io::Result<bool> {
        loop {
            let room = match requests.try_reserve() {
                Ok(room) => room,
                Err(TrySendError::Full(()) | TrySendError::Closed(())) => return Ok(false),
            };
            match self.receive()? {
                Some(incoming) => room.send(incoming),
                None => return Ok(true),
            }
        }
    }

    /// The next request, or none when nothing waits. Messages that are not two frames are dropped, as in
    /// the original: without the envelope nobody can be answered.
    fn receive(&self) -> Result<Option<Incoming>, zmq::Error> {
        loop {
            match receive(&self.router) {
                Ok(mut frames) if frames.len() == 2 => {
                    let body = frames.pop().unwrap_or_default();
                    let client = frames.pop().unwrap_or_default();
                    return Ok(Some(Incoming { client, body }));
                }
                Ok(frames) => warn!("message of {} frames dropped", frames.len()),
                Err(zmq::Error::EAGAIN) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    fn reply(&self, client: &[u8], body: &[u8]) {
        // A client that has gone, or does not read, is the client's business.
        if let Err(error) = send(&self.router, [client, body]) {
            warn!("reply not sent: {error}");
        }
    }

    fn publish(&self, topic: &str, payload: &[u8]) {
        if let Err(error) = send(&self.publisher, [topic.as_bytes(), payload]) {
            warn!("event {topic} not sent: {error}");
        }
    }
}

/// What was sent.
enum Sent {
    /// Everything that waited.
    All,
    /// As much as one task may do at a time.
    Burst,
    /// Everything that there will ever be.
    Close,
}

/// The frames of a message, without waiting for one. They come together or not at all.
fn receive(socket: &zmq::Socket) -> Result<Vec<Vec<u8>>, zmq::Error> {
    let mut frames = Vec::new();
    loop {
        frames.push(uninterrupted(|| socket.recv_bytes(zmq::DONTWAIT))?);
        if !socket.get_rcvmore()? {
            return Ok(frames);
        }
    }
}

/// Sends two frames without waiting.
fn send(socket: &zmq::Socket, [first, second]: [&[u8]; 2]) -> Result<(), zmq::Error> {
    uninterrupted(|| socket.send(first, zmq::DONTWAIT | zmq::SNDMORE))?;
    uninterrupted(|| socket.send(second, zmq::DONTWAIT))
}

/// Calls ZeroMQ until no signal comes between. Signals are handled on this thread, and ZeroMQ leaves to its
/// callers what they interrupt, even in calls that do not wait (zmq_msg_send(3)).
fn uninterrupted<T>(mut call: impl FnMut() -> Result<T, zmq::Error>) -> Result<T, zmq::Error> {
    loop {
        match call() {
            Err(zmq::Error::EINTR) => {}
            outcome => return outcome,
        }
    }
}

/// Readable when something about the socket has changed.
fn changes_of(socket: &zmq::Socket) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = duplicate(socket.get_fd()?)?;
    #[expect(
        deprecated,
        reason = "its successor is unsafe and asks for what a fd of our own guarantees"
    )]
    AsyncFd::with_interest(fd, Interest::READABLE)
}

fn bind(socket: &zmq::Socket, key: &'static str, endpoint: &str) -> Result<(), WireError> {
    let failed = |error: BindError| WireError::Bind {
        key,
        endpoint: endpoint.to_owned(),
        reason: error.to_string(),
    };
    private_endpoint::bind(socket, endpoint).map_err(failed)
}

/// The files of `ipc://` endpoints, which ZeroMQ would leave behind.
#[derive(Default)]
struct EndpointFiles(Vec<String>);

impl EndpointFiles {
    fn add(&mut self, endpoint: &str) {
        let path = endpoint.strip_prefix("ipc://").filter(|path| !path.starts_with('@'));
        self.0.extend(path.map(str::to_owned));
    }
}

impl Drop for EndpointFiles {
    fn drop(&mut self) {
        for path in &self.0 {
            // A file that somebody else has removed is gone, too.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Runs before the loop serves anybody, so the look-up may take its time.
fn give_to(path: &str, owner: &str) -> Result<(), WireError> {
    let failed = |reason: String| WireError::Owner { owner: owner.to_owned(), reason };
    let credentials =
        Credentials::resolve(Some(owner), None).map_err(|error| failed(error.to_string()))?;
    let uid = credentials.and_then(|credentials| credentials.uid).map(Uid::from_raw);
    chown(path, uid, None).map_err(|error| failed(error.to_string()))
}
