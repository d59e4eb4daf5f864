//! The managed sockets to their snapshot and back.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use protocol::papa::{Form, SocketSpec};

use super::{ManagedSocket, SocketTable};
use crate::snapshot::v1;

impl ManagedSocket {
    /// What a snapshot keeps of it.
    pub(crate) fn freeze(&self) -> v1::Socket<'_> {
        let mut request = Vec::new();
        self.spec.print(Form::Exact, &mut request);
        v1::Socket {
            request,
            fd: self.fd.as_ref().map(AsRawFd::as_raw_fd),
            host: self.host.as_deref(),
            port: self.port,
            path: self.path.as_ref().map(|path| path.as_os_str().as_bytes()),
        }
    }
}

impl SocketTable {
    /// Takes in the socket of a snapshot, which `fd` belongs to.
    pub(crate) fn thaw(&mut self, frozen: &v1::Socket<'_>, spec: SocketSpec, fd: Option<OwnedFd>) {
        let name = spec.name.clone();
        let socket = ManagedSocket {
            spec,
            fd,
            host: frozen.host.map(str::to_owned),
            port: frozen.port,
            path: frozen.path.map(|path| OsStr::from_bytes(path).into()),
        };
        self.sockets.insert(name, socket);
    }
}
