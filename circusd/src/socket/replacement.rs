//! Putting other sockets in the place of some, while the rest stays open.
//!
//! What can be opened while the old sockets are still there is opened first, so that a port that cannot be
//! had is known before anything is stopped. What needs the place of an old socket is opened after it was
//! closed; if that fails, the old one comes back.

use super::{Direct, SocketError, SocketTable, open_direct};
use crate::config::diff::{SocketChange, SocketStep};
use crate::config::model::SocketConfig;
use crate::papa::client::{KernelClient, PapaError};
use nix::sys::socket::{Shutdown, shutdown};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use tokio::task;
use tracing::warn;

/// A change of the sockets that is ready to be carried out.
pub struct Replacement {
    kernel: Option<KernelClient>,
    /// Sockets that go, with their settings.
    going: Vec<SocketConfig>,
    /// Sockets that are open already.
    opened: SocketTable,
    /// Sockets that take the place of one that goes.
    late: Vec<SocketConfig>,
    /// Sockets that we have made in the kernel.
    made: Vec<String>,
}

/// A socket that should have taken the place of an old one.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct NotOpened {
    /// The socket.
    pub name: String,
    /// Why.
    pub error: SocketError,
}

/// Prepares the change from `old` to `new` as `steps` say. Nothing that is there is touched.
///
/// # Errors
/// [`SocketError`] names the first socket that cannot be opened; nothing is left of the others.
pub async fn prepare(
    steps: &[SocketStep],
    old: &[SocketConfig],
    new: &[SocketConfig],
    kernel: Option<KernelClient>,
) -> Result<Replacement, SocketError> {
    let is = |socket: &SocketConfig, change: &[SocketChange]| {
        steps.iter().any(|step| step.name == socket.name && change.contains(&step.change))
    };
    let goes = |socket: &&SocketConfig| is(socket, &[SocketChange::Close, SocketChange::Reopen]);
    let comes = |socket: &&SocketConfig| is(socket, &[SocketChange::Open, SocketChange::Reopen]);
    let going: Vec<SocketConfig> = old.iter().filter(goes).cloned().collect();
    let mut ready = Replacement {
        kernel,
        going,
        opened: SocketTable::default(),
        late: Vec::new(),
        made: Vec::new(),
    };
    for socket in new.iter().filter(comes) {
        if ready.going.iter().any(|old| is_in_the_way(old, socket)) {
            ready.late.push(socket.clone());
        } else if let Err(error) = ready.open(socket).await {
            ready.abandon().await;
            return Err(error);
        }
    }
    Ok(ready)
}

/// Whether `new` can only be opened when `old` is closed. A name that may be the same address counts.
fn is_in_the_way(old: &SocketConfig, new: &SocketConfig) -> bool {
    let same_in_kernel = old.use_papa && new.use_papa && old.name == new.name;
    let same_place = match (&old.path, &new.path) {
        (Some(old), Some(new)) => old == new,
        (None, None) => old.port == new.port && new.port != 0,
        _ => false,
    };
    same_in_kernel || same_place
}

impl Replacement {
    async fn open(&mut self, config: &SocketConfig) -> Result<(), SocketError> {
        match self.kernel.as_ref().filter(|_| config.use_papa) {
            Some(kernel) => {
                let papa = |source| SocketError::Papa { name: config.name.clone(), source };
                let name = super::hosted_name(&config.name);
                let known = kernel.list_sockets(&name).await.map_err(papa)?;
                self.opened.hold(config, kernel).await.map_err(papa)?;
                if known.is_empty() {
                    self.made.push(name);
                }
            }
            None => {
                let socket = Arc::new(open_beside_the_loop(config.clone()).await?);
                self.opened.direct.insert(config.name.clone(), socket);
            }
        }
        Ok(())
    }

    /// Takes everything back that was opened for nothing.
    pub async fn abandon(self) {
        self.opened.unlink();
        if let Some(kernel) = &self.kernel {
            for name in &self.made {
                if let Err(error) = kernel.remove_sockets(name).await {
                    warn!("cannot remove the socket {name} from papa: {error}");
                }
            }
        }
    }

    /// Closes what goes, opens the rest and gives the table to use from now on. Processes that work with
    /// what goes must have ended.
    ///
    /// What could not be opened is told; where an old socket had the place it is back.
    pub async fn carry_out(mut self, table: &SocketTable) -> (SocketTable, Vec<NotOpened>) {
        let mut result = table.clone();
        for socket in &self.going {
            if let Some(direct) = result.direct.remove(&socket.name) {
                close(&direct);
            }
            result.outdated.remove(&socket.name);
            if result.hosted.remove(&socket.name).is_some()
                && let Err(error) = self.remove_hosted(&socket.name).await
            {
                warn!("cannot remove the socket {} from papa: {error}", socket.name);
            }
        }
        let mut failed = Vec::new();
        for socket in std::mem::take(&mut self.late) {
            let Err(error) = self.open(&socket).await else { continue };
            failed.push(NotOpened { name: socket.name.clone(), error });
            let before = self.going.iter().find(|old| old.name == socket.name).cloned();
            if let Some(before) = before
                && let Err(error) = self.open(&before).await
            {
                warn!("the old socket {} cannot be had again: {error}", before.name);
            }
        }
        result.direct.append(&mut self.opened.direct);
        result.hosted.append(&mut self.opened.hosted);
        result.outdated.append(&mut self.opened.outdated);
        (result, failed)
    }

    async fn remove_hosted(&self, name: &str) -> Result<(), PapaError> {
        match &self.kernel {
            Some(kernel) => kernel.remove_sockets(&super::hosted_name(name)).await,
            None => Ok(()),
        }
    }
}

/// Ends a socket of circusd's own, for everybody.
///
/// Processes of other watchers may have got it with `use_sockets`, although they do not work with it. Closing
/// our copy alone would leave connections waiting for ever and the port taken.
fn close(socket: &Direct) {
    // Fails for sockets that do not listen, which nobody can connect to.
    let _ = shutdown(socket.bound.fd.as_raw_fd(), Shutdown::Both);
    socket.unlink();
}

/// Looking up a host can take its time.
async fn open_beside_the_loop(config: SocketConfig) -> Result<Direct, SocketError> {
    let name = config.name.clone();
    task::spawn_blocking(move || open_direct(&config)).await.unwrap_or_else(|_| {
        let source = io::Error::other("circusd is shutting down");
        let source = papa_spawn::socket::BindError::Socket { step: "open", source };
        Err(SocketError::Bind { name, source })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{SocketFamily, SocketKind};
    use std::net::TcpStream;

    fn socket(name: &str, port: u16) -> SocketConfig {
        SocketConfig {
            name: name.to_owned(),
            host: "127.0.0.1".to_owned(),
            port,
            family: SocketFamily::Inet,
            kind: SocketKind::Stream,
            proto: None,
            backlog: 5,
            path: None,
            umask: SocketConfig::DEFAULT_UMASK,
            replace: false,
            interface: None,
            so_reuseport: false,
            blocking: false,
            use_papa: false,
            outdated: false,
            raw: indexmap::IndexMap::new(),
        }
    }

    fn step(name: &str, change: SocketChange) -> SocketStep {
        SocketStep { name: name.to_owned(), change, keys: Vec::new() }
    }

    fn port_of(table: &SocketTable, name: &str) -> u16 {
        table.direct[name].bound.port.unwrap()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_socket_changes_on_its_port_although_a_copy_is_held() {
        let first = socket("web", 0);
        let table = SocketTable::open(std::slice::from_ref(&first), None).await.unwrap();
        let port = port_of(&table, "web");
        let held = table.copies(&Default::default());
        let old = [SocketConfig { port, ..first }];
        let new = [SocketConfig { backlog: 7, ..old[0].clone() }];
        let steps = [step("web", SocketChange::Reopen)];
        let ready = prepare(&steps, &old, &new, None).await.unwrap();
        let (changed, failed) = ready.carry_out(&table).await;
        assert!(failed.is_empty(), "{failed:?}");
        assert_eq!(port_of(&changed, "web"), port);
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        drop(held);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_closed_socket_refuses_although_a_copy_is_held_and_the_rest_stays() {
        let configs = [socket("a", 0), socket("b", 0)];
        let table = SocketTable::open(&configs, None).await.unwrap();
        let _held = table.copies(&Default::default());
        let steps = [step("b", SocketChange::Close)];
        let ready = prepare(&steps, &configs, &configs[..1], None).await.unwrap();
        let (changed, _) = ready.carry_out(&table).await;
        let fd = |table: &SocketTable| table.fd("a");
        assert_eq!(fd(&changed), fd(&table), "the same descriptor, never closed");
        assert!(TcpStream::connect(("127.0.0.1", port_of(&table, "b"))).is_err());
        TcpStream::connect(("127.0.0.1", port_of(&changed, "a"))).unwrap();
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_port_that_is_taken_is_known_before_anything_is_closed() {
        let somebody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = somebody.local_addr().unwrap().port();
        let old = [socket("a", 0)];
        let table = SocketTable::open(&old, None).await.unwrap();
        let new = [socket("a", taken)];
        let steps = [step("a", SocketChange::Reopen)];
        let Err(error) = prepare(&steps, &old, &new, None).await else { panic!("refused") };
        assert!(error.to_string().contains("[socket:a]"), "{error}");
        TcpStream::connect(("127.0.0.1", port_of(&table, "a"))).unwrap();
    }

    #[tokio::test(flavor = "current_thread")]
    async fn two_unix_sockets_can_swap_their_paths() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| Some(dir.path().join(name).display().to_string());
        let unix = |name: &str, file: &str| SocketConfig {
            family: SocketFamily::Unix,
            path: path(file),
            ..socket(name, 0)
        };
        let old = [unix("a", "x"), unix("b", "y")];
        let new = [unix("a", "y"), unix("b", "x")];
        let table = SocketTable::open(&old, None).await.unwrap();
        let steps = [step("a", SocketChange::Reopen), step("b", SocketChange::Reopen)];
        let ready = prepare(&steps, &old, &new, None).await.unwrap();
        let (changed, failed) = ready.carry_out(&table).await;
        assert!(failed.is_empty(), "{failed:?}");
        for file in ["x", "y"] {
            std::os::unix::net::UnixStream::connect(dir.path().join(file)).unwrap();
        }
        changed.unlink();
    }
}
