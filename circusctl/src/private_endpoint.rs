//! Opening an endpoint that, if it is a file, belongs to its user alone.
//!
//! Used by circusd for its own endpoints and by circusd-stats.

use rustix::fs::Mode;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;

/// An endpoint could not be opened; the text says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BindError(String);

impl From<zmq::Error> for BindError {
    fn from(error: zmq::Error) -> Self {
        Self(error.to_string())
    }
}

const IN_USE: &str = "the address is in use; is another one running?";

/// Has `open` open the endpoint. The file of an `ipc://` endpoint gets mode 0600.
///
/// Changes the umask of the process for a moment, so it is for the time before other threads make files.
///
/// # Errors
/// [`BindError`], also when somebody listens at an `ipc://` endpoint or something else than a socket has its path:
/// the file would be replaced.
pub fn bind<T, E: ToString>(
    endpoint: &str,
    open: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, BindError> {
    let file = endpoint.strip_prefix("ipc://").filter(|path| !path.starts_with('@'));
    if file.is_some_and(|path| UnixStream::connect(path).is_ok()) {
        return Err(BindError(IN_USE.to_owned()));
    }
    // libzmq would remove it.
    let is_socket = |found: fs::Metadata| found.file_type().is_socket();
    if file.is_some_and(|path| fs::metadata(path).is_ok_and(|found| !is_socket(found))) {
        let sentence = "the file exists and is not a socket; remove it or choose another path";
        return Err(BindError(sentence.to_owned()));
    }
    // The file is private from its first moment, so that no other user can connect before a chmod.
    let umask = file.map(|_| PrivateUmask::new());
    let opened = open(endpoint).map_err(|error| BindError(error.to_string()))?;
    drop(umask);
    if let Some(path) = file {
        let private = Permissions::from_mode(0o600);
        fs::set_permissions(path, private).map_err(|error| BindError(error.to_string()))?;
    }
    Ok(opened)
}

/// The same for a socket of libzmq.
///
/// # Errors
/// [`BindError`].
pub fn bind_socket(socket: &zmq::Socket, endpoint: &str) -> Result<(), BindError> {
    bind(endpoint, |endpoint| {
        let ipv6 = socket.set_ipv6(endpoint.starts_with("tcp://["));
        ipv6.and_then(|()| socket.bind(endpoint)).map_err(|error| match error {
            zmq::Error::EADDRINUSE => IN_USE.to_owned(),
            zmq::Error::EINVAL | zmq::Error::EPROTONOSUPPORT => {
                "not an endpoint; use tcp://HOST:PORT or ipc:///PATH".to_owned()
            }
            other => other.to_string(),
        })
    })
}

/// Umask 0177 while it lives.
struct PrivateUmask(Mode);

impl PrivateUmask {
    fn new() -> Self {
        Self(rustix::process::umask(Mode::from_raw_mode(0o177)))
    }
}

impl Drop for PrivateUmask {
    fn drop(&mut self) {
        rustix::process::umask(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_private_and_is_not_taken_from_who_listens_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stats");
        let endpoint = format!("ipc://{}", path.display());
        let context = zmq::Context::new();
        let first = context.socket(zmq::PUB).unwrap();
        bind_socket(&first, &endpoint).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let second = context.socket(zmq::PUB).unwrap();
        assert!(bind_socket(&second, &endpoint).unwrap_err().to_string().contains("in use"));
        assert!(
            bind_socket(&second, "nonsense").unwrap_err().to_string().contains("not an endpoint")
        );
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        fs::write(&path, "words").unwrap();
        let socket = zmq::Context::new().socket(zmq::PUB).unwrap();
        let error = bind_socket(&socket, &format!("ipc://{}", path.display())).unwrap_err();
        assert!(error.to_string().contains("is not a socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "words");
    }
}
