//! Opening the addresses that ZeroMQ writes `tcp://HOST:PORT` and `ipc://PATH`, and accepting who comes in.

use crate::stream::Stream;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{setsockopt, sockopt};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdTcpListener, ToSocketAddrs};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener as StdUnixListener};
use std::path::Path;
use tokio::net::{TcpListener, UnixListener};

/// An endpoint cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The text is no address.
    #[error("not an endpoint; use tcp://HOST:PORT or ipc:///PATH")]
    Malformed,
    /// The host is neither an address of this machine nor the name of one or of an interface.
    #[error("`{0}` is neither an address nor an interface of this machine")]
    Host(String),
    /// The path does not go into an address.
    #[error("the path of an ipc:// endpoint has at most 107 bytes, and no NUL")]
    Path,
    /// Something else has it.
    #[error("the address is in use; is another one running?")]
    InUse,
    /// The system refuses.
    #[error("{}", in_words(.0))]
    System(#[source] io::Error),
}

impl From<io::Error> for BindError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::InUse,
            _ => Self::System(error),
        }
    }
}

/// Without "(os error 13)".
fn in_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => Errno::from_raw(code).desc().to_owned(),
        None => error.to_string(),
    }
}

/// An open endpoint. Connections are accepted once it is served.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(StdTcpListener),
    Unix(StdUnixListener),
}

impl Listener {
    /// Opens an endpoint: `tcp://` with an address, the name of a host or of an interface, or `*`, and a port
    /// from 1 to 65535 or `*` for any; `ipc://` with the path of a file, which is replaced if it is a socket,
    /// or `@NAME` for the abstract namespace. May ask the resolver.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(endpoint: &str) -> Result<Self, BindError> {
        let listener = if let Some(address) = endpoint.strip_prefix("tcp://") {
            let listener = StdTcpListener::bind(&tcp_addresses(address)?[..])?;
            listener.set_nonblocking(true)?;
            Kind::Tcp(listener)
        } else if let Some(path) =
            endpoint.strip_prefix("ipc://").filter(|path| !matches!(*path, "" | "@"))
        {
            let listener = bind_unix(path)?;
            listener.set_nonblocking(true)?;
            Kind::Unix(listener)
        } else {
            return Err(BindError::Malformed);
        };
        Ok(Self(listener))
    }

    /// Where it can be reached over TCP, if it can.
    ///
    /// # Errors
    /// The system's.
    pub fn tcp_address(&self) -> io::Result<Option<SocketAddr>> {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().map(Some),
            Kind::Unix(_) => Ok(None),
        }
    }

    /// Has the event loop watch it.
    pub(crate) fn watch(self) -> io::Result<Accepting> {
        Ok(match self.0 {
            Kind::Tcp(listener) => Accepting::Tcp(TcpListener::from_std(listener)?),
            Kind::Unix(listener) => Accepting::Unix(UnixListener::from_std(listener)?),
        })
    }
}

fn tcp_addresses(address: &str) -> Result<Vec<SocketAddr>, BindError> {
    let (host, port) = address.rsplit_once(':').ok_or(BindError::Malformed)?;
    // libzmq does not mind what stands behind the number, and a slash is what people write.
    let port = port.trim_end_matches('/');
    let port = if port == "*" { 0 } else { port.parse().map_err(|_| BindError::Malformed)? };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if bare == "*" {
        return Ok(vec![(Ipv4Addr::UNSPECIFIED, port).into()]);
    }
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![(ip, port).into()]);
    }
    if bare.is_empty() {
        return Err(BindError::Malformed);
    }
    if let Some(ip) = interface(bare) {
        return Ok(vec![(ip, port).into()]);
    }
    match (bare, port).to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(_) => Err(BindError::Host(bare.to_owned())),
    }
}

/// The first IPv4 address of an interface.
fn interface(name: &str) -> Option<Ipv4Addr> {
    getifaddrs()
        .ok()?
        .filter(|interface| interface.interface_name == name)
        .find_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()))
}

fn bind_unix(path: &str) -> Result<StdUnixListener, BindError> {
    let address = match path.strip_prefix('@') {
        Some(name) => UnixAddr::from_abstract_name(name),
        None => UnixAddr::from_pathname(path),
    };
    let address = address.map_err(|_| BindError::Path)?;
    // Left behind by somebody who was killed. Nothing but a socket is ever removed.
    let is_socket =
        |path: &&Path| path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket());
    if let Some(left_behind) = address.as_pathname().filter(is_socket) {
        std::fs::remove_file(left_behind)?;
    }
    Ok(StdUnixListener::bind_addr(&address)?)
}

/// An endpoint that accepts connections.
#[derive(Debug)]
pub(crate) enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Accepting {
    /// The next connection. Nothing is lost when it is no longer waited for.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // A reply must not wait for the acknowledgement of the one before, and a client that lost its
                // power must not be held for ever. Who has left already is noticed by reading.
                let _ = stream.set_nodelay(true);
                let _ = setsockopt(&stream, sockopt::KeepAlive, &true);
                Ok(Stream::new(stream.into_std()?.into()))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Stream::new(stream.into_std()?.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(endpoint: &str) -> String {
        Listener::bind(endpoint).unwrap_err().to_string()
    }

    #[test]
    fn addresses_are_written_as_zeromq_writes_them() {
        for endpoint in [
            "tcp://127.0.0.1:*",
            "tcp://*:0",
            "tcp://localhost:*",
            "tcp://lo:*",
            "tcp://127.0.0.1:0/",
        ] {
            let address = Listener::bind(endpoint).unwrap().tcp_address().unwrap().unwrap();
            assert_ne!(address.port(), 0, "{endpoint}");
        }
        for endpoint in
            ["tcp://127.0.0.1", "tcp://:5555", "tcp://h:port", "ipc://", "ipc://@", "udp://h:1", ""]
        {
            assert!(refused(endpoint).contains("not an endpoint"), "{endpoint}");
        }
        assert!(refused("tcp://no such host:1").contains("`no such host` is neither"));
        assert!(refused("ipc:///no/such/folder/e").contains("No such file"));
        for path in ["/", "@"].map(|start| format!("{start}{}", "x".repeat(108))) {
            assert!(refused(&format!("ipc://{path}")).contains("at most 107 bytes"));
        }
        Listener::bind("ipc://@circus-zmtp-test").unwrap();
    }

    #[test]
    fn a_port_that_is_taken_and_a_file_that_is_no_socket_stay_what_they_are() {
        let first = Listener::bind("tcp://127.0.0.1:*").unwrap();
        let address = first.tcp_address().unwrap().unwrap();
        assert!(refused(&format!("tcp://{address}")).contains("in use"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        assert!(refused(&format!("ipc://{}", file.display())).contains("in use"));
        assert_eq!(std::fs::read_to_string(file).unwrap(), "precious");
    }
}
