//! Making a listening socket from a description of it.
//!
//! Used by the kernel for managed sockets and by circusd for its own. Changes no state of the
//! process: a path's mode is set on the socket, not by the process' umask.

use std::ffi::OsStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind as bind_to,
    getsockname, listen, setsockopt, socket, sockopt,
};
use nix::sys::stat::{Mode, fchmod};
pub use protocol::papa::{Family, Kind, SocketSpec};

use crate::errno::errno_text;

/// A socket that is bound, and listening unless it is datagram, raw or reuseport.
#[derive(Debug)]
pub struct Bound {
    /// The socket, close-on-exec. With `reuseport` it only holds the port: see
    /// [`reuseport_clone`].
    pub fd: OwnedFd,
    /// Host as asked for, or the default one.
    pub host: Option<String>,
    /// The real port.
    pub port: Option<u16>,
    /// The path of a unix socket; the caller removes it when the socket goes.
    pub path: Option<PathBuf>,
}

/// A socket could not be made. The kernel sends the text to clients.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A unix socket needs a path that begins with `/`.
    #[error("Absolute path required for Unix sockets")]
    RelativePath,
    /// The path does not fit a socket address.
    #[error("Bind failed: AF_UNIX path too long")]
    PathTooLong,
    /// The name of the host means nothing, or nothing in this family.
    #[error("Bind failed on {host}:{port}: {reason}")]
    UnknownHost {
        /// As asked for.
        host: String,
        /// As asked for.
        port: u16,
        /// Why.
        reason: String,
    },
    /// The address cannot be had.
    #[error("Bind failed on {host}:{port}: {}", errno_text(source))]
    Address {
        /// As asked for.
        host: String,
        /// As asked for.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The path cannot be had.
    #[error("Bind failed: {}: '{}'", errno_text(source), path.display())]
    Path {
        /// As asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something else than a socket is at the path.
    #[error("Bind failed: '{}' exists and is not a socket; remove it or choose another path", .0.display())]
    NotASocket(PathBuf),
    /// The socket cannot be made or set up.
    #[error("Could not {step} - {}", errno_text(source))]
    Socket {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes the socket. A socket that is at the path of a unix socket already is removed first, as papa does. Papa
/// removes files, too; a slip in a path must not cost one.
///
/// A host that is not a number is looked up, which may take as long as the system's resolver.
///
/// # Errors
/// [`BindError`]; nothing is left behind then.
pub fn bind(spec: &SocketSpec) -> Result<Bound, BindError> {
    match spec.family {
        Family::Unix => bind_path(spec),
        Family::Inet | Family::Inet6 => bind_address(spec, spec.port.unwrap_or(0)),
    }
}

/// Another socket on the port of a `reuseport` one, listening; each process gets its own.
///
/// # Errors
/// [`BindError`] when the port is gone.
pub fn reuseport_clone(spec: &SocketSpec, port: u16) -> Result<OwnedFd, BindError> {
    let bound = bind_address(spec, port)?;
    start_listening(&bound.fd, spec)?;
    Ok(bound.fd)
}

fn bind_address(spec: &SocketSpec, port: u16) -> Result<Bound, BindError> {
    let host = spec.host_or_default();
    let address = resolve(host, port, spec.family)?;
    let family =
        if spec.family == Family::Inet6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let fd = new_socket(family, spec.kind)?;
    let set = |step| move |errno: nix::Error| BindError::Socket { step, source: errno.into() };
    setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(set("set SO_REUSEADDR"))?;
    if spec.reuseport {
        setsockopt(&fd, sockopt::ReusePort, &true).map_err(set("set SO_REUSEPORT"))?;
    }
    if let Some(interface) = &spec.interface {
        let name = std::ffi::OsString::from(interface);
        setsockopt(&fd, sockopt::BindToDevice, &name).map_err(set("bind to the interface"))?;
    }
    let failed = |errno: nix::Error| BindError::Address {
        host: host.to_owned(),
        port,
        source: errno.into(),
    };
    bind_to(fd.as_raw_fd(), &SockaddrStorage::from(address)).map_err(failed)?;
    if !spec.reuseport {
        // Two sockets may be bound to one port that nobody listens on; listening tells.
        start_listening_or(&fd, spec, failed)?;
    }
    let name: SockaddrStorage = getsockname(fd.as_raw_fd()).map_err(set("read the address"))?;
    let real = name.as_sockaddr_in().map(|address| address.port());
    let port = real.or_else(|| name.as_sockaddr_in6().map(|address| address.port()));
    Ok(Bound { fd, host: Some(host.to_owned()), port, path: None })
}

fn bind_path(spec: &SocketSpec) -> Result<Bound, BindError> {
    let path = spec.path.as_deref().filter(|path| path.starts_with(b"/"));
    let path = PathBuf::from(OsStr::from_bytes(path.ok_or(BindError::RelativePath)?));
    let failed = |source: io::Error| BindError::Path { path: path.clone(), source };
    let address = UnixAddr::new(&path).map_err(|errno| match errno {
        nix::Error::ENAMETOOLONG => BindError::PathTooLong,
        errno => failed(errno.into()),
    })?;
    let fd = new_socket(AddressFamily::Unix, spec.kind)?;
    make_room(&path)?;
    let mode = spec.umask.map(|mask| Mode::from_bits_truncate(0o777 & !mask));
    if let Some(mode) = mode {
        // Linux takes the path's mode from the socket, less the process' umask: never too open,
        // and made exact below.
        fchmod(&fd, mode).map_err(|errno| failed(errno.into()))?;
    }
    bind_to(fd.as_raw_fd(), &address).map_err(|errno| failed(errno.into()))?;
    let opened = || -> Result<(), BindError> {
        if let Some(mode) = mode {
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode.bits());
            std::fs::set_permissions(&path, permissions).map_err(&failed)?;
        }
        start_listening(&fd, spec)
    };
    if let Err(error) = opened() {
        remove_path(&path);
        return Err(error);
    }
    Ok(Bound { fd, host: None, port: None, path: Some(path) })
}

/// Removes the socket that has the path, or a link that leads to one or to nothing.
fn make_room(path: &Path) -> Result<(), BindError> {
    let failed = |source: io::Error| BindError::Path { path: path.to_owned(), source };
    match std::fs::metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        _ => {}
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// Removes the path of a unix socket that is going.
pub fn remove_path(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "could not remove the path of a socket");
    }
}

fn new_socket(family: AddressFamily, kind: Kind) -> Result<OwnedFd, BindError> {
    let kind = match kind {
        Kind::Stream => SockType::Stream,
        Kind::Dgram => SockType::Datagram,
        Kind::Raw => SockType::Raw,
        Kind::Rdm => SockType::Rdm,
        Kind::Seqpacket => SockType::SeqPacket,
    };
    socket(family, kind, SockFlag::SOCK_CLOEXEC, None)
        .map_err(|errno| BindError::Socket { step: "make the socket", source: errno.into() })
}

fn start_listening(fd: &OwnedFd, spec: &SocketSpec) -> Result<(), BindError> {
    let failed = |errno: nix::Error| BindError::Socket { step: "listen", source: errno.into() };
    start_listening_or(fd, spec, failed)
}

fn start_listening_or(
    fd: &OwnedFd,
    spec: &SocketSpec,
    failed: impl FnOnce(nix::Error) -> BindError,
) -> Result<(), BindError> {
    if !matches!(spec.kind, Kind::Stream | Kind::Seqpacket) {
        return Ok(()); // Such sockets receive as soon as they are bound.
    }
    // The system cuts longer queues to net.core.somaxconn as well.
    let length = i32::try_from(spec.backlog).unwrap_or(i32::MAX).min(libc::SOMAXCONN);
    Backlog::new(length).and_then(|backlog| listen(fd, backlog)).map_err(failed)
}

/// Whether the host means an address without looking anything up, which could take long.
pub fn is_address(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok()
}

fn resolve(host: &str, port: u16, family: Family) -> Result<SocketAddr, BindError> {
    let unknown = |reason: String| BindError::UnknownHost { host: host.to_owned(), port, reason };
    let fits = |address: &SocketAddr| address.is_ipv6() == (family == Family::Inet6);
    let known = match host {
        "localhost" if family == Family::Inet => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        "localhost" => Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        _ => host.parse().ok(),
    };
    let mut found = match known {
        Some(ip) => vec![SocketAddr::new(ip, port)].into_iter(),
        None => (host, port).to_socket_addrs().map_err(|error| unknown(error.to_string()))?,
    };
    found.find(fits).ok_or_else(|| unknown(format!("no {} address", family.name())))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn unix(path: &Path) -> SocketSpec {
        let path = Some(path.as_os_str().as_bytes().to_vec());
        SocketSpec { family: Family::Unix, path, ..SocketSpec::default() }
    }

    #[test]
    fn a_port_is_found_and_answers() {
        let bound = bind(&SocketSpec::default()).unwrap();
        let port = bound.port.unwrap();
        assert_eq!(bound.host.as_deref(), Some("127.0.0.1"));
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        let again = SocketSpec { port: Some(port), ..SocketSpec::default() };
        let text = format!("Bind failed on 127.0.0.1:{port}: [Errno 98] Address already in use");
        assert_eq!(bind(&again).unwrap_err().to_string(), text);
    }

    #[test]
    fn the_mode_of_a_path_is_what_the_mask_leaves() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("u.sock");
        for (mask, mode) in [(0, 0o777), (0o77, 0o700), (0o115, 0o662)] {
            let bound = bind(&SocketSpec { umask: Some(mask), ..unix(&path) }).unwrap();
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode);
            UnixStream::connect(&path).unwrap();
            drop(bound);
        }
    }

    #[test]
    fn a_path_is_taken_from_a_socket_and_from_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| directory.path().join(name));
        std::fs::write(&file, "precious").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link, &directory.path().to_owned()] {
            let text = bind(&unix(path)).unwrap_err().to_string();
            let end = "exists and is not a socket; remove it or choose another path";
            assert!(text.ends_with(end), "{text}");
        }
        assert_eq!(std::fs::read_to_string(&link).unwrap(), "precious");

        std::fs::remove_file(&file).unwrap();
        drop(bind(&unix(&link)).unwrap()); // The link led to nothing; what is there now is a socket.
        let bound = bind(&unix(&link)).unwrap();
        UnixStream::connect(&link).unwrap();
        drop(bound);
    }

    #[test]
    fn every_type_of_unix_socket_works() {
        let directory = tempfile::tempdir().unwrap();
        for kind in [Kind::Stream, Kind::Dgram, Kind::Seqpacket] {
            let path = directory.path().join(kind.name());
            bind(&SocketSpec { kind, ..unix(&path) }).unwrap();
        }
    }

    #[test]
    fn clones_of_a_reuseport_socket_share_the_port() {
        let spec = SocketSpec { reuseport: true, ..SocketSpec::default() };
        let held = bind(&spec).unwrap();
        let port = held.port.unwrap();
        TcpStream::connect(("127.0.0.1", port)).unwrap_err();
        let _one = reuseport_clone(&spec, port).unwrap();
        let _two = reuseport_clone(&spec, port).unwrap();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
    }

    #[test]
    fn what_cannot_be_bound_is_named() {
        let text = |spec: &SocketSpec| bind(spec).unwrap_err().to_string();
        assert_eq!(text(&unix(Path::new("a/b"))), "Absolute path required for Unix sockets");
        let long = format!("/tmp/{}", "y".repeat(120));
        assert_eq!(text(&unix(Path::new(&long))), "Bind failed: AF_UNIX path too long");
        let missing = "Bind failed: [Errno 2] No such file or directory: '/no/such/x'";
        assert_eq!(text(&unix(Path::new("/no/such/x"))), missing);
        let host = SocketSpec { host: Some("::1".to_owned()), ..SocketSpec::default() };
        assert_eq!(text(&host), "Bind failed on ::1:0: no inet address");
    }
}
