//! Waiting for the first connection to an on-demand watcher.
//!
//! Only looks whether a socket is readable; accepting is the business of the processes.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tracing::warn;

/// The sockets that somebody may connect to.
#[derive(Default)]
pub struct Demand {
    sockets: Vec<AsyncFd<Listener>>,
}

struct Listener(OwnedFd);

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Demand {
    /// Watches these sockets, which are copies of circusd's own.
    pub fn on(sockets: Vec<OwnedFd>) -> Self {
        let watched = sockets.into_iter().filter_map(|socket| {
            #[expect(
                deprecated,
                reason = "its successor is unsafe and asks for what `Listener` guarantees: it owns its fd"
            )]
            let watched = AsyncFd::with_interest(Listener(socket), Interest::READABLE);
            watched.inspect_err(|error| warn!("cannot wait for connections: {error}")).ok()
        });
        Self { sockets: watched.collect() }
    }

    /// Returns when a connection waits on one of the sockets; never without sockets. May be given up and
    /// called again.
    pub async fn wait(&self) {
        let waits: Vec<_> =
            self.sockets.iter().map(|socket| Box::pin(connection(socket))).collect();
        if waits.is_empty() {
            future::pending::<()>().await;
        }
        first(waits).await;
    }
}

/// The first of several futures.
async fn first<F: Future<Output = ()> + Unpin>(mut waits: Vec<F>) {
    future::poll_fn(|context| {
        let ready = waits.iter_mut().any(|wait| std::pin::Pin::new(wait).poll(context).is_ready());
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// Readiness is remembered by the event loop although somebody else has accepted meanwhile, so the socket
/// itself is asked.
async fn connection(socket: &AsyncFd<Listener>) {
    loop {
        let Ok(mut ready) = socket.readable().await else {
            return future::pending().await;
        };
        match is_readable(socket.get_ref()) {
            Ok(true) => return,
            Ok(false) => ready.clear_ready(),
            Err(error) => {
                warn!("cannot wait for connections: {error}");
                return future::pending().await;
            }
        }
    }
}

fn is_readable(listener: &Listener) -> io::Result<bool> {
    let mut fds = [PollFd::new(listener.0.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut fds, PollTimeout::ZERO)? > 0)
}
