//! The clients of one endpoint: accepting them, finding them, letting go of those that have left.

use crate::allowance::Allowance;
use crate::connection::{self, Fault, Inbound, Peer};
use crate::listener::{Accepting, Listener};
use crate::stream::Stream;
use nix::sys::resource::{Resource, getrlimit};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{self, Instant};
use tracing::{debug, warn};

/// Clients of an endpoint at the same time, however many descriptors there are.
const MOST: usize = 1024;
/// How long nobody is accepted when the system has no descriptor left.
const RECOVERY: Duration = Duration::from_millis(200);

/// The clients that are connected to one endpoint, by their numbers. Shared with those who have something for them.
#[derive(Debug, Default)]
pub(crate) struct Peers(Mutex<HashMap<u64, Arc<Peer>>>);

impl Peers {
    pub(crate) fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Peer>>> {
        // Nothing that is done with the table panics halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clients of one endpoint.
#[derive(Debug)]
pub(crate) struct Connections {
    accepting: Accepting,
    peers: Arc<Peers>,
    tasks: JoinSet<u64>,
    last: u64,
    allowance: Allowance,
    /// So many at the same time.
    places: usize,
    /// Somebody had to be turned away since there was room the last time.
    full: bool,
    /// Nobody is accepted before.
    pause: Option<Instant>,
}

impl Connections {
    pub(crate) fn new(listener: Listener) -> io::Result<Self> {
        let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        Ok(Self {
            places: places(descriptors),
            accepting: listener.watch()?,
            peers: Arc::default(),
            tasks: JoinSet::new(),
            last: 0,
            allowance: Allowance::default(),
            full: false,
            pause: None,
        })
    }

    /// Accepts clients and lets go of them, for as long as it is waited for. `inbound` gets the number of each.
    pub(crate) async fn attend<I: Inbound>(&mut self, inbound: impl Fn(u64) -> I) -> Infallible {
        loop {
            tokio::select! {
                accepted = accept(&self.accepting, self.pause) => match accepted {
                    Ok(stream) => {
                        self.pause = None;
                        self.admit(stream, &inbound);
                    }
                    Err(error) if concerns_one(&error) => {}
                    Err(error) => {
                        if self.pause.is_none() {
                            warn!("cannot accept clients for the moment: {error}");
                        }
                        self.pause = Some(Instant::now() + RECOVERY);
                    }
                },
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(number) => drop(self.peers.lock().remove(&number)),
                    Err(_) => self.peers.lock().retain(|_, peer| !peer.writer.is_closed()),
                },
            }
        }
    }

    fn admit<I: Inbound>(&mut self, stream: Stream, inbound: impl Fn(u64) -> I) {
        if self.peers.lock().len() >= self.places {
            if !std::mem::replace(&mut self.full, true) {
                warn!(
                    "{} clients are connected; others are turned away until some leave",
                    self.places
                );
            }
            return;
        }
        self.full = false;
        self.last += 1;
        let (number, peer) = (self.last, Arc::new(Peer::new(stream.writer())));
        self.peers.lock().insert(number, Arc::clone(&peer));
        let (inbound, allowance) = (inbound(number), self.allowance.clone());
        self.tasks.spawn(async move {
            match connection::serve(stream, peer, inbound, allowance).await {
                // Who leaves in the middle of something just leaves.
                Ok(()) | Err(Fault::Io(_)) => {}
                Err(fault) => debug!("a client was cut off: {fault}"),
            }
            number
        });
    }

    pub(crate) fn peers(&self) -> &Arc<Peers> {
        &self.peers
    }

    /// Accepts nobody any more and sends what waits, for at most `patience`.
    pub(crate) async fn close(self, patience: Duration) {
        let Self { accepting, peers, mut tasks, .. } = self;
        drop(accepting);
        for peer in peers.lock().values() {
            peer.outgoing.close();
        }
        // Those that do not read are cut off with the set.
        let _ = time::timeout(patience, async { while tasks.join_next().await.is_some() {} }).await;
    }
}

/// Clients of an endpoint in a process that may have so many descriptors. Two endpoints leave half of them, since
/// nobody who connects may keep processes from being started.
fn places(descriptors: u64) -> usize {
    usize::try_from(descriptors / 4).map_or(MOST, |places| places.min(MOST))
}

/// The next client, not before the end of a pause.
async fn accept(accepting: &Accepting, pause: Option<Instant>) -> io::Result<Stream> {
    if let Some(until) = pause {
        time::sleep_until(until).await;
    }
    accepting.accept().await
}

/// The error is that of a connection that was over before it was accepted (accept(2)), not ours.
fn concerns_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
