//! Where clients come in: a port on loopback, or a unix socket. Who they are is told here, whether
//! that is good enough is decided by `access`.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use bincode::{Decode, Encode};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{SockFlag, accept4, setsockopt, sockopt};
use papa_handover::{Descriptor, Refusal};
use papa_spawn::errno::errno_text;
use papa_spawn::peer::{self, Peer};
use papa_spawn::socket::{self, BindError, Family, SocketSpec};
use papa_spawn::sys;

use crate::access::Access;

/// Connections that may wait for the loop.
const BACKLOG: u32 = 1024;

/// A place where clients connect: a port of 127.0.0.1, never of anything else, or a unix socket.
#[derive(Debug, Encode, Decode)]
pub(crate) struct Listener {
    pub(crate) fd: Descriptor,
    /// Of a unix socket, with mode 0600 unless others were allowed in.
    path: Option<Vec<u8>>,
}

impl Listener {
    /// Listens on a port of 127.0.0.1.
    pub(crate) fn on_port(port: u16) -> Result<Self, Refusal> {
        Self::bind(&SocketSpec { port: Some(port), backlog: BACKLOG, ..SocketSpec::default() })
    }

    /// Listens on a path, which only those can open who are allowed in. A socket that nobody
    /// answers on any more is replaced.
    pub(crate) fn on_path(path: &Path, access: &Access) -> Result<Self, Refusal> {
        let path = std::path::absolute(path).map_err(refused)?;
        let shown = path.display();
        if !path.parent().is_some_and(Path::is_dir) {
            return Err(Refusal::new(format!(
                "the directory of {shown} does not exist; create it or choose another path with -u"
            )));
        }
        if let Ok(metadata) = path.symlink_metadata() {
            if !metadata.file_type().is_socket() {
                return Err(Refusal::new(format!(
                    "{shown} exists and is not a socket; remove it or choose another path with -u"
                )));
            }
            if UnixStream::connect(&path).is_ok() {
                return Err(Refusal::new(format!("a kernel already listens on {shown}")));
            }
        }
        let listener = Self::bind(&SocketSpec {
            family: Family::Unix,
            path: Some(path.as_os_str().as_bytes().to_vec()),
            umask: Some(0o177),
            backlog: BACKLOG,
            ..SocketSpec::default()
        })?;
        open_to_others(&path, access.of_path()).map_err(refused)?;
        Ok(listener)
    }

    fn bind(spec: &SocketSpec) -> Result<Self, Refusal> {
        let bound = socket::bind(spec).map_err(|error| match (&error, spec.port) {
            (BindError::Address { source, .. }, Some(port))
                if source.kind() == io::ErrorKind::AddrInUse =>
            {
                Refusal::new(format!(
                    "something already listens on 127.0.0.1:{port}; stop it or choose another port with -p"
                ))
            }
            _ => Refusal::new(format!("cannot listen: {error}")),
        })?;
        let listener = Self { fd: bound.fd.into(), path: spec.path.clone() };
        let nonblocking = FcntlArg::F_SETFL(OFlag::O_NONBLOCK);
        fcntl(&listener.fd, nonblocking).map_err(|errno| refused(errno.into()))?;
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

fn refused(error: io::Error) -> Refusal {
    Refusal::new(format!("cannot listen: {}", errno_text(&error)))
}

fn open_to_others(path: &Path, (mode, group): (u32, Option<u32>)) -> io::Result<()> {
    // Only members and root may give a path to a group; others open it to all.
    let given = group.is_none_or(|gid| std::os::unix::fs::chown(path, None, Some(gid)).is_ok());
    let mode = if given { mode } else { 0o666 };
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
