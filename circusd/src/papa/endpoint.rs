//! Where the papa kernel listens.

use std::fmt;
use std::path::PathBuf;

/// The port of the kernel when nothing else is said.
pub const DEFAULT_PORT: u16 = 20202;

/// A local address of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PapaEndpoint {
    /// A port on 127.0.0.1.
    Tcp(u16),
    /// A unix socket.
    Unix(PathBuf),
}

/// `papa_endpoint` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "[circus] papa_endpoint = {0}: use tcp://127.0.0.1:PORT or ipc:///PATH; the kernel is always on \
     this machine"
)]
pub struct BadEndpoint(String);

impl PapaEndpoint {
    /// Reads `papa_endpoint`: `tcp://127.0.0.1:PORT`, `ipc:/PATH`, `ipc://PATH` or `ipc:///PATH`; none means
    /// the default port.
    ///
    /// # Errors
    /// [`BadEndpoint`] when it is none of these.
    pub fn parse(text: Option<&str>) -> Result<Self, BadEndpoint> {
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
            return Ok(Self::Tcp(DEFAULT_PORT));
        };
        let bad = || BadEndpoint(text.to_owned());
        if let Some(path) = text.strip_prefix("ipc:") {
            let path = path.trim_start_matches('/');
            return if path.is_empty() {
                Err(bad())
            } else {
                Ok(Self::Unix(PathBuf::from(format!("/{path}"))))
            };
        }
        let address = text.strip_prefix("tcp://").ok_or_else(bad)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
        match (host, port.parse()) {
            ("127.0.0.1" | "localhost" | "[::1]", Ok(port)) if port > 0 => Ok(Self::Tcp(port)),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for PapaEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => write!(f, "tcp://127.0.0.1:{port}"),
            Self::Unix(path) => write!(f, "ipc://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_the_original_are_read() {
        assert_eq!(PapaEndpoint::parse(None), Ok(PapaEndpoint::Tcp(DEFAULT_PORT)));
        for text in ["ipc:/run/papa", "ipc://run/papa", "ipc:///run/papa"] {
            let expected = PapaEndpoint::Unix(PathBuf::from("/run/papa"));
            assert_eq!(PapaEndpoint::parse(Some(text)), Ok(expected), "{text}");
        }
        assert_eq!(PapaEndpoint::parse(Some("tcp://127.0.0.1:7")), Ok(PapaEndpoint::Tcp(7)));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["tcp://10.0.0.1:20202", "tcp://127.0.0.1", "tcp://127.0.0.1:x", "ipc:", "x"] {
            assert!(PapaEndpoint::parse(Some(text)).is_err(), "{text}");
        }
    }
}
