//! Where clients come in: a port on loopback, or a unix socket. Who they are is told here, whether
//! that is good enough is decided by `access`.

mod frozen;

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::access::{Access, PathAccess};
use crate::errno::errno_text;
use crate::peer::{self, Peer};
use crate::socket::{self, BindError, Family, SocketSpec};

/// Connections that may wait for the loop.
const BACKLOG: u32 = 1024;

/// A place where clients connect.
#[derive(Debug)]
pub(crate) enum Listener {
    /// 127.0.0.1, never anything else.
    Tcp(TcpListener),
    /// A path, with mode 0600 unless others were allowed in.
    Unix(UnixListener, PathBuf),
}

/// The kernel cannot listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// The port is taken.
    #[error("something already listens on 127.0.0.1:{0}; stop it or choose another port with -p")]
    PortTaken(u16),
    /// The path is taken.
    #[error("a kernel already listens on {}", .0.display())]
    PathTaken(PathBuf),
    /// Something else is there, and is not ours to remove.
    #[error("{} exists and is not a socket; remove it or choose another path with -u", .0.display())]
    NotASocket(PathBuf),
    /// The directory is missing.
    #[error("the directory of {} does not exist; create it or choose another path with -u", .0.display())]
    NoDirectory(PathBuf),
    /// The address cannot be had.
    #[error("cannot listen: {0}")]
    Bind(#[from] BindError),
    /// The system refuses.
    #[error("cannot listen: {}", errno_text(.0))]
    System(#[from] io::Error),
}

impl Listener {
    /// Listens on a port of 127.0.0.1.
    pub(crate) fn on_port(port: u16) -> Result<Self, ListenError> {
        let spec = SocketSpec { port: Some(port), backlog: BACKLOG, ..SocketSpec::default() };
        let bound = socket::bind(&spec).map_err(|error| match error {
            BindError::Address { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                ListenError::PortTaken(port)
            }
            error => error.into(),
        })?;
        let listener = TcpListener::from(bound.fd);
        listener.set_nonblocking(true)?;
        Ok(Self::Tcp(listener))
    }

    /// Listens on a path, which only those can open who are allowed in. A socket that nobody
    /// answers on any more is replaced.
    pub(crate) fn on_path(path: &Path, access: &Access) -> Result<Self, ListenError> {
        let path = std::path::absolute(path)?;
        if !path.parent().is_some_and(Path::is_dir) {
            return Err(ListenError::NoDirectory(path));
        }
        if let Ok(metadata) = path.symlink_metadata() {
            if !metadata.file_type().is_socket() {
                return Err(ListenError::NotASocket(path));
            }
            if UnixStream::connect(&path).is_ok() {
                return Err(ListenError::PathTaken(path));
            }
        }
        let spec = SocketSpec {
            family: Family::Unix,
            path: Some(path.as_os_str().as_bytes().to_vec()),
            umask: Some(0o177),
            backlog: BACKLOG,
            ..SocketSpec::default()
        };
        let listener = UnixListener::from(socket::bind(&spec)?.fd);
        listener.set_nonblocking(true)?;
        open_to_others(&path, access.path_access())?;
        Ok(Self::Unix(listener, path))
    }

    /// The next client, or `None` when nobody waits.
    pub(crate) fn accept(&self) -> io::Result<Option<OwnedFd>> {
        let accepted = match self {
            Self::Tcp(listener) => listener.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(true)?;
                // Replies are short and awaited.
                stream.set_nodelay(true)?;
                Ok(OwnedFd::from(stream))
            }),
            Self::Unix(listener, _) => listener.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(true)?;
                Ok(OwnedFd::from(stream))
            }),
        };
        match accepted {
            Ok(stream) => Ok(Some(stream)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Who has connected.
    pub(crate) fn identify(&self, client: &OwnedFd) -> io::Result<Peer> {
        match self {
            Self::Tcp(_) => peer::of_tcp(client),
            Self::Unix(..) => peer::of_unix(client),
        }
    }
}

fn open_to_others(path: &Path, access: PathAccess) -> io::Result<()> {
    let mode = match access {
        PathAccess::Owner => return Ok(()),
        // Only members and root may give a path to a group; others open it to all, since every
        // client's credentials are checked as well.
        PathAccess::Group(gid) => match std::os::unix::fs::chown(path, None, Some(gid)) {
            Ok(()) => 0o660,
            Err(_) => 0o666,
        },
        PathAccess::Everybody => 0o666,
    };
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener, _) => listener.as_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            socket::remove_path(path);
        }
    }
}
