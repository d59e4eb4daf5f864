//! The managed sockets and what the kernel tells of them in /proc/net: who waits to be accepted, who is
//! connected.
//!
//! Only looks; the listening sockets themselves are never opened or polled, so this process holds none of
//! them. What came and went between two looks and was closed by the other side first is not seen.

use procfs::net::{TcpNetEntry, TcpState, UnixNetEntry};
use serde_json::Value;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

/// A socket that circusd listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its number in circusd.
    pub fd: i64,
    /// `HOST:PORT` or the path.
    pub address: String,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// A host that is a name, or any address, is known by its port alone.
    Port {
        host: Option<IpAddr>,
        port: u16,
    },
    Path(String),
}

impl Listener {
    /// Reads an entry of the answer to `listsockets`; none when it has neither port nor path.
    pub fn from_listing(entry: &Value) -> Option<Self> {
        let fd = entry.get("fd")?.as_i64()?;
        if let Some(path) = entry.get("path").and_then(Value::as_str) {
            return Some(Self {
                fd,
                address: path.to_owned(),
                place: Place::Path(path.to_owned()),
            });
        }
        let port = u16::try_from(entry.get("port")?.as_u64()?).ok()?;
        let host = entry.get("host").and_then(Value::as_str).unwrap_or_default();
        let place = Place::Port { host: specified(host.parse().ok()), port };
        Some(Self { fd, address: format!("{host}:{port}"), place })
    }
}

/// What happened at one socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// The socket's number in circusd.
    pub fd: i64,
    /// `HOST:PORT` or the path.
    pub address: String,
    /// Connections that came since the last look, and those that still wait to be accepted.
    pub reads: u64,
    /// Connections that wait to be accepted.
    pub backlog: u64,
    /// Connections that were accepted and are open.
    pub connections: u64,
}

/// One connection, as far as it can be told from others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Connection {
    Tcp(u16, SocketAddr),
    Unix(u64),
}

/// The sockets, and the connections that the last look has seen.
#[derive(Default)]
pub struct SocketTable {
    listeners: Vec<Listener>,
    seen: Option<HashSet<Connection>>,
}

impl SocketTable {
    /// Follows these sockets from now on.
    pub fn follow(&mut self, mut listeners: Vec<Listener>) {
        listeners.sort_by_key(|listener| listener.fd);
        if listeners != self.listeners {
            self.listeners = listeners;
            // What is connected to a new one is not new to it.
            self.seen = None;
        }
    }

    /// Looks at all of them now.
    pub fn look(&mut self) -> Vec<Traffic> {
        let uses = |wanted: fn(&Place) -> bool| self.listeners.iter().any(|l| wanted(&l.place));
        let mut tcp = Vec::new();
        if uses(|place| matches!(place, Place::Port { .. })) {
            // A machine without one of the two families lacks its file.
            tcp.extend(procfs::net::tcp().unwrap_or_default());
            tcp.extend(procfs::net::tcp6().unwrap_or_default());
        }
        let unix = if uses(|place| matches!(place, Place::Path(_))) {
            procfs::net::unix().unwrap_or_default()
        } else {
            Vec::new()
        };
        self.judge(&tcp, &unix)
    }

    fn judge(&mut self, tcp: &[TcpNetEntry], unix: &[UnixNetEntry]) -> Vec<Traffic> {
        let before = self.seen.take();
        let mut now = HashSet::new();
        let mut all = Vec::with_capacity(self.listeners.len());
        for listener in &self.listeners {
            let (mut traffic, came) = match &listener.place {
                Place::Port { host, port } => at_port(listener, *host, *port, tcp),
                Place::Path(path) => at_path(listener, path, unix),
            };
            if let Some(before) = &before {
                traffic.reads +=
                    count(came.iter().filter(|connection| !before.contains(connection)));
            }
            now.extend(came);
            all.push(traffic);
        }
        self.seen = Some(now);
        all
    }
}

impl Traffic {
    fn waiting(listener: &Listener, backlog: u64) -> Self {
        let Listener { fd, address, .. } = listener;
        Self { fd: *fd, address: address.clone(), reads: backlog, backlog, connections: 0 }
    }
}

/// The traffic without what is new, and the accepted connections.
fn at_port(
    listener: &Listener,
    host: Option<IpAddr>,
    port: u16,
    rows: &[TcpNetEntry],
) -> (Traffic, Vec<Connection>) {
    let ours = rows.iter().filter(|row| {
        let local = row.local_address;
        let address = specified(Some(local.ip().to_canonical()));
        local.port() == port && (host.is_none() || address.is_none() || host == address)
    });
    let (listening, others): (Vec<_>, Vec<_>) = ours.partition(|row| row.state == TcpState::Listen);
    // Several sockets may listen at one port, one for each process (so_reuseport).
    let mut traffic =
        Traffic::waiting(listener, listening.iter().map(|row| u64::from(row.rx_queue)).sum());
    // One that still waits has no inode, and neither has one that both sides have closed.
    traffic.connections = count(others.iter().filter(|row| row.inode != 0));
    let past = |row: &TcpNetEntry| row.inode != 0 || row.state == TcpState::TimeWait;
    let came = others.into_iter().filter(|row| past(row));
    (traffic, came.map(|row| Connection::Tcp(port, row.remote_address)).collect())
}

fn at_path(listener: &Listener, path: &str, rows: &[UnixNetEntry]) -> (Traffic, Vec<Connection>) {
    let ours =
        rows.iter().filter(|row| row.path.as_ref().is_some_and(|own| own.as_os_str() == path));
    let (waiting, others): (Vec<_>, Vec<_>) = ours.partition(|row| row.inode == 0);
    let mut traffic = Traffic::waiting(listener, count(waiting.iter()));
    let connected = others.iter().filter(|row| row.state == procfs::net::UnixState::CONNECTED);
    let came: Vec<_> = connected.map(|row| Connection::Unix(row.inode)).collect();
    traffic.connections = count(came.iter());
    (traffic, came)
}

fn specified(address: Option<IpAddr>) -> Option<IpAddr> {
    address.filter(|address| !address.is_unspecified())
}

fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    items.fold(0, |count, _| count + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn waiting_accepted_and_new_connections_of_a_port_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listing = json!({"fd": 7, "host": "127.0.0.1", "port": address.port()});
        let mut table = SocketTable::default();
        table.follow(vec![Listener::from_listing(&listing).unwrap()]);
        let numbers = |table: &mut SocketTable| {
            let [one] = table.look().try_into().unwrap();
            (one.reads, one.backlog, one.connections)
        };
        assert_eq!(numbers(&mut table), (0, 0, 0));
        let first = TcpStream::connect(address).unwrap();
        let _second = TcpStream::connect(address).unwrap();
        assert_eq!(numbers(&mut table), (2, 2, 0));
        let (_accepted, _) = listener.accept().unwrap();
        // One is new among the accepted, one waits.
        assert_eq!(numbers(&mut table), (2, 1, 1));
        assert_eq!(numbers(&mut table), (1, 1, 1), "nobody new, one still waits");
        let (_other, _) = listener.accept().unwrap();
        assert_eq!(numbers(&mut table).1, 0);
        assert_eq!(numbers(&mut table), (0, 0, 2));
        drop(first);
        assert_eq!(numbers(&mut table).0, 0);
    }

    #[test]
    fn a_unix_socket_has_the_same_figures() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let mut table = SocketTable::default();
        let listing = json!({"fd": 9, "path": path});
        table.follow(vec![Listener::from_listing(&listing).unwrap()]);
        assert_eq!(table.look()[0].reads, 0);
        let _client = UnixStream::connect(&path).unwrap();
        let [traffic] = table.look().try_into().unwrap();
        assert_eq!((traffic.reads, traffic.backlog, traffic.connections), (1, 1, 0));
        let _accepted = listener.accept().unwrap();
        let [traffic] = table.look().try_into().unwrap();
        assert_eq!((traffic.backlog, traffic.connections), (0, 1));
        assert_eq!(table.look()[0].reads, 0);
    }

    #[test]
    fn an_entry_that_is_no_socket_is_left_out() {
        assert_eq!(Listener::from_listing(&json!({"fd": 3})), None);
        assert_eq!(Listener::from_listing(&json!({"fd": 3, "port": 70_000})), None);
        let named = Listener::from_listing(&json!({"fd": 3, "host": "localhost", "port": 80}));
        assert_eq!(named.unwrap().address, "localhost:80");
    }
}
