//! The managed sockets: listeners of circusd itself, and those that the kernel holds.
//!
//! Opened before any watcher starts, closed at the end; `replacement` changes them in between. Knows nothing
//! about watchers.

pub mod replacement;

use crate::config::model::{SocketConfig, SocketFamily, SocketKind};
use crate::papa::client::{KernelClient, PapaError};
use papa_spawn::socket::{self, BindError, Bound};
use protocol::papa::SocketRow;
use protocol::papa::{Family, Kind, SocketSpec};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::ToSocketAddrs;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use tokio::sync::watch;
use tracing::warn;

/// A socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The system refused.
    #[error("cannot open [socket:{name}]: {source}")]
    Bind {
        /// The socket.
        name: String,
        /// Why.
        #[source]
        source: BindError,
    },
    /// The kernel refused or does not answer.
    #[error("cannot open [socket:{name}] in the papa kernel: {source}")]
    Papa {
        /// The socket.
        name: String,
        /// Why.
        #[source]
        source: PapaError,
    },
    /// The host has no address.
    #[error("cannot open [socket:{name}]: host `{host}` has no address of this family: {reason}")]
    Host {
        /// The socket.
        name: String,
        /// Its `host`.
        host: String,
        /// What the resolver says.
        reason: String,
    },
    /// The path of a unix socket exists.
    #[error(
        "cannot open [socket:{name}]: `{path}` already exists; remove it or set `replace = true`"
    )]
    PathExists {
        /// The socket.
        name: String,
        /// Its `path`.
        path: String,
    },
}

struct Direct {
    bound: Bound,
    spec: SocketSpec,
    path: Option<String>,
}

/// All managed sockets by lower-case name. Never changes: a change makes another table, which shares the
/// sockets that stay.
#[derive(Clone, Default)]
pub struct SocketTable {
    direct: BTreeMap<String, Arc<Direct>>,
    hosted: BTreeMap<String, SocketRow>,
    /// Those of `hosted` that the kernel has from before, with other settings than the file's.
    outdated: BTreeSet<String>,
}

/// What others see of the sockets: always the table in force.
///
/// A table that is held keeps its sockets open, so it is asked for anew each time.
#[derive(Clone)]
pub struct Sockets(watch::Receiver<Arc<SocketTable>>);

impl Sockets {
    /// The view of these sockets, and what puts another table in their place.
    pub fn of(table: SocketTable) -> (watch::Sender<Arc<SocketTable>>, Self) {
        let (sender, receiver) = watch::channel(Arc::new(table));
        (sender, Self(receiver))
    }

    /// The table in force now.
    pub fn now(&self) -> Arc<SocketTable> {
        Arc::clone(&self.0.borrow())
    }
}

impl SocketTable {
    /// Opens every socket of the configuration. Those with `use_papa` are made in the kernel, or taken
    /// over when it holds them already.
    ///
    /// # Errors
    /// [`SocketError`] names the first socket that could not be opened; nothing is left of the others.
    pub async fn open(
        configs: &[SocketConfig],
        kernel: Option<&KernelClient>,
    ) -> Result<Self, SocketError> {
        let mut table = Self::default();
        if let Err(error) = table.open_all(configs, kernel).await {
            table.unlink();
            return Err(error);
        }
        Ok(table)
    }

    /// The same sockets after the kernel was replaced by one that has none: those of circusd's own as they are,
    /// the others made anew, with the ports they had. `configs` describes them.
    ///
    /// # Errors
    /// [`SocketError`] names the first socket that could not be opened.
    pub async fn in_new_kernel(
        &self,
        configs: &[SocketConfig],
        kernel: &KernelClient,
    ) -> Result<Self, SocketError> {
        let mut table = Self { direct: self.direct.clone(), ..Self::default() };
        for (name, before) in &self.hosted {
            let Some(config) = configs.iter().find(|config| config.name == *name) else { continue };
            let port = before.port.unwrap_or(config.port);
            let config = SocketConfig { port, ..config.clone() };
            let held = table.hold(&config, kernel).await;
            held.map_err(|source| SocketError::Papa { name: name.clone(), source })?;
        }
        Ok(table)
    }

    /// Says of each of these whether the kernel holds it with other settings, so that the next reload
    /// replaces it.
    pub fn mark_outdated(&self, configs: &mut [SocketConfig]) {
        for config in configs {
            config.outdated = self.outdated.contains(&config.name);
        }
    }

    /// Makes a socket in the kernel. When it holds one of that name with other settings, that one is kept:
    /// workers that use it are running.
    async fn hold(
        &mut self,
        config: &SocketConfig,
        kernel: &KernelClient,
    ) -> Result<(), PapaError> {
        let mut spec = spec(config);
        if spec.host.is_some()
            && let Ok(host) = resolve(config)
        {
            spec.host = Some(host);
        }
        let row = match kernel.make_socket(&spec).await {
            Err(PapaError::Refused(refused)) => {
                let existing = kernel.list_sockets(&spec.name).await?.pop();
                let row = existing.ok_or_else(|| PapaError::Refused(refused.clone()))?;
                warn!(
                    "socket `{}` exists in papa with other settings and is used as it is, until reloadconfig \
                     replaces it: {refused}",
                    config.name
                );
                self.outdated.insert(config.name.clone());
                row
            }
            result => result?,
        };
        self.hosted.insert(config.name.clone(), row);
        Ok(())
    }

    /// The names in the kernel of the sockets that it holds.
    pub fn hosted_names(&self) -> BTreeSet<String> {
        self.hosted.keys().map(|name| hosted_name(name)).collect()
    }

    async fn open_all(
        &mut self,
        configs: &[SocketConfig],
        kernel: Option<&KernelClient>,
    ) -> Result<(), SocketError> {
        for config in configs {
            match kernel.filter(|_| config.use_papa) {
                Some(kernel) => {
                    let name = || config.name.clone();
                    let held = self.hold(config, kernel).await;
                    held.map_err(|source| SocketError::Papa { name: name(), source })?;
                }
                None => {
                    self.direct.insert(config.name.clone(), Arc::new(open_direct(config)?));
                }
            }
        }
        Ok(())
    }

    /// What `$(circus.sockets.NAME)` stands for, by lower-case name: an fd number, or a reference that the
    /// kernel replaces. A watcher only sees sockets on its own side.
    pub fn references(&self, use_papa: bool) -> BTreeMap<String, String> {
        if use_papa {
            let reference = |name: &String| (name.clone(), hosted_reference(name));
            self.hosted.keys().map(reference).collect()
        } else {
            let number = |(name, socket): (&String, &Arc<Direct>)| {
                (name.clone(), socket.bound.fd.as_raw_fd().to_string())
            };
            self.direct.iter().map(number).collect()
        }
    }

    /// The fd of a socket of circusd's own.
    pub fn fd(&self, name: &str) -> Option<RawFd> {
        self.direct.get(&name.to_lowercase()).map(|socket| socket.bound.fd.as_raw_fd())
    }

    /// A new listening socket for each of these that has `so_reuseport`, by name.
    ///
    /// # Errors
    /// The system refused.
    pub fn fresh(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, OwnedFd>, BindError> {
        let reuseport = |name: &&String| self.direct.get(*name).filter(|s| s.spec.reuseport);
        let found = names.iter().filter_map(|name| Some((name.clone(), reuseport(&name)?)));
        found
            .map(|(name, socket)| {
                let port = socket.bound.port.unwrap_or(0);
                Ok((name, socket::reuseport_clone(&socket.spec, port)?))
            })
            .collect()
    }

    /// Copies of these sockets of circusd's own, or of all when none is named.
    pub fn copies(&self, names: &BTreeSet<String>) -> Vec<OwnedFd> {
        let wanted = |name: &String| names.is_empty() || names.contains(name);
        let chosen = self.direct.iter().filter(|(name, _)| wanted(name));
        chosen.filter_map(|(_, socket)| socket.bound.fd.try_clone().ok()).collect()
    }

    /// The fds of all sockets of circusd's own.
    pub fn fds(&self) -> Vec<RawFd> {
        self.direct.values().map(|socket| socket.bound.fd.as_raw_fd()).collect()
    }

    /// What `listsockets` shows, ordered by fd.
    pub fn listing(&self) -> Vec<Value> {
        let mut rows: Vec<(i64, Value)> = Vec::new();
        for (name, socket) in &self.direct {
            let fd = i64::from(socket.bound.fd.as_raw_fd());
            let place = place(&socket.path, &socket.bound.host, socket.bound.port);
            rows.push((fd, row(fd, name, socket.spec.backlog, place)));
        }
        for (name, socket) in &self.hosted {
            let fd = i64::from(socket.fileno.unwrap_or(-1));
            let path = socket.path.as_ref().map(|path| String::from_utf8_lossy(path).into_owned());
            let place = place(&path, &socket.host, socket.port);
            rows.push((fd, row(fd, name, socket.backlog, place)));
        }
        rows.sort_by_key(|(fd, _)| *fd);
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// Removes the files of circusd's own unix sockets; the fds close with the table.
    pub fn unlink(&self) {
        self.direct.values().for_each(|socket| socket.unlink());
    }
}

impl Direct {
    fn unlink(&self) {
        if let Some(path) = &self.path
            && let Err(error) = std::fs::remove_file(path)
        {
            warn!("cannot remove `{path}`: {error}");
        }
    }
}

/// The name of a circus socket in the kernel.
fn hosted_name(name: &str) -> String {
    format!("circus.{}", name.to_lowercase())
}

fn hosted_reference(name: &str) -> String {
    format!("$(socket.{}.fileno)", hosted_name(name))
}

fn place(path: &Option<String>, host: &Option<String>, port: Option<u16>) -> Map<String, Value> {
    let mut place = Map::new();
    match path {
        Some(path) => {
            place.insert("path".into(), json!(path));
        }
        None => {
            place.insert("host".into(), json!(host));
            place.insert("port".into(), json!(port));
        }
    }
    place
}

fn row(fd: i64, name: &str, backlog: u32, place: Map<String, Value>) -> Value {
    let mut row = Map::new();
    row.insert("fd".into(), json!(fd));
    row.insert("name".into(), json!(name));
    row.insert("backlog".into(), json!(backlog));
    row.extend(place);
    Value::Object(row)
}

/// A relative path is meant from circusd's directory; the kernel has another.
fn absolute(path: &str) -> Vec<u8> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    absolute.into_os_string().into_vec()
}

fn spec(config: &SocketConfig) -> SocketSpec {
    let family = match config.family {
        SocketFamily::Inet => Family::Inet,
        SocketFamily::Inet6 => Family::Inet6,
        SocketFamily::Unix => Family::Unix,
    };
    let kind = match config.kind {
        SocketKind::Stream => Kind::Stream,
        SocketKind::Dgram => Kind::Dgram,
        SocketKind::Raw => Kind::Raw,
        SocketKind::Rdm => Kind::Rdm,
        SocketKind::Seqpacket => Kind::Seqpacket,
    };
    let inet = family != Family::Unix;
    SocketSpec {
        name: hosted_name(&config.name),
        family,
        kind,
        backlog: u32::try_from(config.backlog).unwrap_or(0),
        host: inet.then(|| config.host.clone()),
        port: inet.then_some(config.port),
        path: config.path.as_deref().map(absolute),
        umask: (!inet).then_some(config.umask),
        interface: config.interface.clone(),
        reuseport: config.so_reuseport,
    }
}

fn open_direct(config: &SocketConfig) -> Result<Direct, SocketError> {
    let mut spec = spec(config);
    if let Some(path) = &config.path {
        if std::fs::symlink_metadata(path).is_ok() && !config.replace {
            return Err(SocketError::PathExists { name: config.name.clone(), path: path.clone() });
        }
    } else {
        spec.host = Some(resolve(config)?);
    }
    let bound = socket::bind(&spec)
        .map_err(|source| SocketError::Bind { name: config.name.clone(), source })?;
    Ok(Direct { bound, spec, path: config.path.clone() })
}

/// The first address of the host in the family of the socket. Runs before the loop serves anybody.
fn resolve(config: &SocketConfig) -> Result<String, SocketError> {
    let failed = |reason: String| SocketError::Host {
        name: config.name.clone(),
        host: config.host.clone(),
        reason,
    };
    let addresses = (config.host.as_str(), config.port)
        .to_socket_addrs()
        .map_err(|error| failed(error.to_string()))?;
    let wants_v6 = config.family == SocketFamily::Inet6;
    addresses
        .map(|address| address.ip())
        .find(|ip| ip.is_ipv6() == wants_v6)
        .map(|ip| ip.to_string())
        .ok_or_else(|| failed("none found".into()))
}
