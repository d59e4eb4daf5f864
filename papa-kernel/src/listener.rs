//! Where clients come in: a port on loopback, or a unix socket. Who they are is told here, whether
//! that is good enough is decided by `access`.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use bincode::{Decode, Encode};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{SockFlag, accept4, setsockopt, sockopt};
use papa_spawn::errno::errno_text;
use papa_spawn::peer::{self, Peer};
use papa_spawn::socket::{self, BindError, Family, SocketSpec};
use papa_spawn::sys;

use crate::access::{Access, PathAccess};
use crate::descriptor::Descriptor;

/// Connections that may wait for the loop.
const BACKLOG: u32 = 1024;

/// A place where clients connect: a port of 127.0.0.1, never of anything else, or a unix socket.
#[derive(Debug, Encode, Decode)]
pub(crate) struct Listener {
    pub(crate) fd: Descriptor,
    /// Of a unix socket, with mode 0600 unless others were allowed in.
    path: Option<Vec<u8>>,
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
        Self::new(bound.fd, None)
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
        let listener = Self::new(socket::bind(&spec)?.fd, Some(path.clone()))?;
        open_to_others(&path, access.path_access())?;
        Ok(listener)
    }

    fn new(fd: OwnedFd, path: Option<PathBuf>) -> Result<Self, ListenError> {
        let path = path.map(|path| path.into_os_string().into_vec());
        let listener = Self { fd: fd.into(), path };
        fcntl(&listener.fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(io::Error::from)?;
        Ok(listener)
    }

    /// The next client, or `None` when nobody waits.
    pub(crate) fn accept(&self) -> io::Result<Option<OwnedFd>> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let client = match accept4(self.fd.as_raw_fd(), flags) {
            Ok(number) => sys::adopt(number)?,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        if self.path.is_none() {
            // Replies are short and awaited.
            setsockopt(&client, sockopt::TcpNoDelay, &true)?;
        }
        Ok(Some(client))
    }

    /// Who has connected.
    pub(crate) fn identify(&self, client: &OwnedFd) -> io::Result<Peer> {
        if self.path.is_some() { peer::of_unix(client) } else { peer::of_tcp(client) }
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
        self.fd.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = self.path.as_ref().filter(|_| self.fd.is_owned()) {
            socket::remove_path(Path::new(OsStr::from_bytes(path)));
        }
    }
}
