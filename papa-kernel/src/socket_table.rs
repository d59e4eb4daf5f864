//! The managed sockets by name, and the rule for making one twice.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use bincode::{Decode, Encode};
use papa_handover::field::{Entry, Request, Table};
use papa_handover::{Descriptor, Refusal};
use papa_spawn::socket::{self, BindError, Bound};
use protocol::papa::{Form, Kind, SocketRow, SocketSpec};

/// A managed socket.
#[derive(Debug, Encode, Decode)]
pub(crate) struct ManagedSocket {
    pub(crate) spec: Request<SocketSpec>,
    /// Absent for a reuseport datagram socket: it would receive what its clones are meant to.
    pub(crate) fd: Option<Descriptor>,
    host: Option<String>,
    pub(crate) port: Option<u16>,
    path: Option<Vec<u8>>,
}

impl ManagedSocket {
    /// The row in `list`.
    pub(crate) fn row(&self) -> SocketRow {
        SocketRow {
            name: self.spec.name.clone(),
            family: self.spec.family,
            kind: self.spec.kind,
            backlog: self.spec.backlog,
            path: self.path.as_ref().and(self.spec.path.clone()),
            umask: self.path.as_ref().and(self.spec.umask),
            host: self.host.clone(),
            port: self.port,
            interface: self.spec.interface.clone(),
            reuseport: self.spec.reuseport,
            fileno: self.fileno(),
        }
    }

    /// The number under which processes get it; `None` for reuseport, of which each gets its own.
    pub(crate) fn fileno(&self) -> Option<i32> {
        self.fd.as_ref().filter(|_| !self.spec.reuseport).map(AsRawFd::as_raw_fd)
    }

    /// A socket of its own for one process.
    pub(crate) fn clone_for_process(&self) -> Result<OwnedFd, BindError> {
        socket::reuseport_clone(&self.spec, self.port.unwrap_or(0))
    }
}

impl Entry for ManagedSocket {
    type Key = String;

    fn key(&self) -> String {
        self.spec.name.clone()
    }
}

impl Drop for ManagedSocket {
    fn drop(&mut self) {
        let owned = self.fd.as_ref().is_some_and(Descriptor::is_owned);
        if let Some(path) = self.path.as_ref().filter(|_| owned) {
            socket::remove_path(Path::new(OsStr::from_bytes(path)));
        }
    }
}

/// Managed sockets by name. To take one out closes it; running processes have copies of their own.
pub(crate) type SocketTable = Table<ManagedSocket>;

/// Makes the socket, or finds the one that was made so before.
pub(crate) fn make(
    table: &mut SocketTable,
    form: Form,
    spec: SocketSpec,
) -> Result<SocketRow, Refusal> {
    if let Some(known) = table.get(&spec.name) {
        let mut row = known.row();
        if known.spec.describes(&spec, known.port) {
            // The answer shows what was asked for, the list what is there.
            row.reuseport |= spec.reuseport;
            return Ok(row);
        }
        let (name, row) = (spec.name, row.to_text(form));
        let row = String::from_utf8_lossy(&row);
        return Err(Refusal::new(format!("Socket for {name} has already been created - {row}")));
    }
    let mut paths = table.values().filter(|socket| socket.path.is_some());
    if let Some(path) = spec.path.as_ref()
        && paths.any(|socket| socket.spec.path.as_ref() == Some(path))
    {
        let path = String::from_utf8_lossy(path);
        return Err(Refusal::new(format!("Socket for {path} has already been created")));
    }
    // The system's resolver would block the loop.
    if let Some(host) = spec.host.as_ref().filter(|host| !socket::is_address(host)) {
        return Err(Refusal::new(format!(
            "Bad host \"{host}\" - give an address; the kernel does not look names up"
        )));
    }
    let Bound { fd, host, port, path } = socket::bind(&spec)?;
    let held = !(spec.reuseport && spec.kind == Kind::Dgram);
    let fd = held.then(|| Descriptor::from(fd));
    let path = path.map(|path| path.into_os_string().into_vec());
    let socket = ManagedSocket { spec: Request(spec), fd, host, port, path };
    let row = socket.row();
    table.insert(socket.key(), socket);
    Ok(row)
}
