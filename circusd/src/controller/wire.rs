//! The task that owns the endpoints: a ROUTER for requests and a PUB for events.
//!
//! It moves frames and knows nothing about Circus. It lives on the event loop and so does ZeroMQ's protocol, since
//! a thread would have to wait for its turn of the processor with each request and each reply.

use super::outbox::{Outbox, ToWire};
use circusctl::private_endpoint;
use nix::unistd::{Uid, chown};
use papa_spawn::child::Credentials;
use std::io;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task;
use tracing::warn;
use zmtp::{Incoming, Listener, Publisher, Router};

/// What unsent replies and events get when the daemon ends.
const LINGER: Duration = Duration::from_millis(500);

/// Events that are published before others get their turn on the event loop.
const BURST: usize = 64;

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
        /// What the system says.
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
}

/// The bound endpoints, not yet served.
pub struct Wire {
    // Goes first: as long as we listen nobody else has a file of that name.
    files: EndpointFiles,
    router: Listener,
    publisher: Listener,
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
        let router = bind("endpoint", endpoint)?;
        files.add(endpoint);
        if let Some((owner, path)) = owner.zip(endpoint.strip_prefix("ipc://")) {
            give_to(path, owner)?;
        }
        let publisher = bind("pubsub_endpoint", pubsub_endpoint)?;
        files.add(pubsub_endpoint);
        Ok(Self { files, router, publisher })
    }

    /// Serves the endpoints until [`ToWire::Close`]. Requests go to `requests`; when it is full clients are not read,
    /// so they queue in their sockets. What is queued for sending gets half a second at the end.
    ///
    /// # Errors
    /// The event loop cannot watch the endpoints.
    pub fn serve(
        self,
        outbox: Outbox,
        requests: mpsc::Sender<Incoming>,
    ) -> io::Result<task::JoinHandle<()>> {
        let Self { files, router, publisher } = self;
        let mut router = Router::serve(router, requests)?;
        let mut publisher = Publisher::serve(publisher)?;
        Ok(tokio::spawn(async move {
            loop {
                match publish_some(&outbox, &publisher) {
                    Sent::All => {}
                    Sent::Burst => {
                        task::yield_now().await;
                        continue;
                    }
                    Sent::Close => break,
                }
                tokio::select! {
                    () = outbox.filled() => {}
                    never = router.attend() => match never {},
                    never = publisher.attend() => match never {},
                }
            }
            drop(files);
            tokio::join!(router.close(LINGER), publisher.close(LINGER));
        }))
    }
}

/// Publishes what waits, at most [`BURST`] events.
fn publish_some(outbox: &Outbox, publisher: &Publisher) -> Sent {
    let dropped = outbox.take_dropped();
    if dropped > 0 {
        warn!("{dropped} events dropped: there were too many at once");
    }
    for _ in 0..BURST {
        match outbox.take() {
            Some(ToWire::Event { topic, payload }) => publisher.publish(topic.as_bytes(), &payload),
            Some(ToWire::Close) => return Sent::Close,
            None => return Sent::All,
        }
    }
    Sent::Burst
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

fn bind(key: &'static str, endpoint: &str) -> Result<Listener, WireError> {
    private_endpoint::bind(endpoint, Listener::bind).map_err(|error| WireError::Bind {
        key,
        endpoint: endpoint.to_owned(),
        reason: error.to_string(),
    })
}

/// The files of `ipc://` endpoints, which would stay behind.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_crowd_of_events_lets_others_in() {
        const EVENTS: usize = 50 * BURST;
        let folder = tempfile::tempdir().unwrap();
        let endpoint = |name| format!("ipc://{}", folder.path().join(name).display());
        let wire = Wire::bind(&endpoint("e"), &endpoint("p"), None).unwrap();
        let outbox = Outbox::default();
        let (requests, _nobody) = mpsc::channel(1);
        for _ in 0..EVENTS {
            outbox.publish("watcher.x.spawn".into(), Vec::new());
        }
        outbox.send(ToWire::Close);
        let serving = wire.serve(outbox, requests).unwrap();
        let mut turns = 0;
        while !serving.is_finished() {
            turns += 1;
            task::yield_now().await;
        }
        assert!(turns >= EVENTS / BURST, "{turns}");
        assert!(!folder.path().join("e").exists() && !folder.path().join("p").exists());
    }
}
