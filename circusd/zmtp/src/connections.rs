//! The clients of one endpoint: accepting them, finding them, letting go of those that have left.

use crate::connection::{self, Fault, Inbound, Peer};
use crate::listener::{Accepting, Listener};
use crate::stream::Stream;
use nix::sys::resource::{Resource, getrlimit};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{self, Instant};
use tracing::{debug, warn};

/// Clients of an endpoint at the same time, however many descriptors there are.
const MOST: usize = 1024;
/// How long nobody is accepted when the system has no descriptor left.
const RECOVERY: Duration = Duration::from_millis(200);

/// The clients of one endpoint.
#[derive(Debug)]
pub(crate) struct Connections {
    accepting: Accepting,
    peers: HashMap<u64, Arc<Peer>>,
    tasks: JoinSet<u64>,
    last: u64,
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
            peers: HashMap::new(),
            tasks: JoinSet::new(),
            last: 0,
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
                    Ok(number) => drop(self.peers.remove(&number)),
                    // Its task has dropped its half.
                    Err(_) => self.peers.retain(|_, peer| Arc::strong_count(peer) > 1),
                },
            }
        }
    }

    fn admit<I: Inbound>(&mut self, stream: Stream, inbound: impl Fn(u64) -> I) {
        if self.peers.len() >= self.places {
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
        let (number, peer) = (self.last, Arc::new(Peer::default()));
        self.peers.insert(number, Arc::clone(&peer));
        let inbound = inbound(number);
        self.tasks.spawn(async move {
            match connection::serve(stream, peer, inbound).await {
                // Who leaves in the middle of something just leaves.
                Ok(()) | Err(Fault::Io(_)) => {}
                Err(fault) => debug!("a client was cut off: {fault}"),
            }
            number
        });
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Arc<Peer>> {
        self.peers.get(&number)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.peers.values()
    }

    /// Accepts nobody any more and sends what waits, for at most `patience`.
    pub(crate) async fn close(self, patience: Duration) {
        let Self { accepting, peers, mut tasks, .. } = self;
        drop(accepting);
        for peer in peers.values() {
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
