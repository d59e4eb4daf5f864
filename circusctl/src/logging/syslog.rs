//! Messages to a syslog daemon, as datagrams: `<PRIORITY>text` and a NUL, as Python's SysLogHandler sends
//! them.

use super::settings::Level;
use rustix::io::Errno;
use std::io;
use std::net::{ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;

/// The facilities by name, with their codes (RFC 3164 and Python).
const FACILITIES: &[(&str, u8)] = &[
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("security", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("ntp", 12),
    ("console", 14),
    ("solaris-cron", 15),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

const USER: u8 = 1;
const PORT: u16 = 514;

/// The longest piece of a message that is tried when the whole is too long for a datagram, in bytes.
const SHORT: usize = 1024;

/// Where a syslog daemon listens, and as what it takes our messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    place: Place,
    facility: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Udp(String, u16),
    Unix(String),
}

impl Address {
    /// Reads `syslog://HOST[:PORT]?FACILITY` or `syslog:///PATH?FACILITY`. A facility that is missing or
    /// unknown is `user`, as in the original.
    pub fn parse(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("syslog://")?;
        let (place, facility) = rest.split_once('?').unwrap_or((rest, ""));
        let facility = facility_code(facility).unwrap_or(USER);
        if place.starts_with('/') {
            return Some(Self { place: Place::Unix(place.to_owned()), facility });
        }
        let (host, port) = match place.rsplit_once(':') {
            // An IPv6 address has colons, too, and stands in brackets then.
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (place, PORT),
        };
        Self::udp(host.trim_matches(['[', ']']), port, facility)
    }

    /// A daemon that listens on a UDP port.
    pub fn udp(host: &str, port: u16, facility: u8) -> Option<Self> {
        (!host.is_empty()).then(|| Self { place: Place::Udp(host.to_owned(), port), facility })
    }

    /// A daemon that listens on a unix socket.
    pub fn unix(path: &str, facility: u8) -> Self {
        Self { place: Place::Unix(path.to_owned()), facility }
    }

    /// For messages.
    pub fn shown(&self) -> String {
        match &self.place {
            Place::Udp(host, port) => format!("syslog://{host}:{port}"),
            Place::Unix(path) => format!("syslog://{path}"),
        }
    }
}

/// The code of a facility.
pub fn facility_code(name: &str) -> Option<u8> {
    let name = name.to_ascii_lowercase();
    FACILITIES.iter().find(|(known, _)| *known == name).map(|(_, code)| *code)
}

/// A connection to a syslog daemon.
pub(super) struct Syslog {
    address: Address,
    socket: Option<Socket>,
}

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Socket {
    fn send(&self, datagram: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(datagram).map(drop),
            Self::Unix(socket) => socket.send(datagram).map(drop),
        }
    }
}

impl Syslog {
    pub(super) fn open(address: &Address) -> io::Result<Self> {
        let socket = Some(connect(&address.place)?);
        Ok(Self { address: address.clone(), socket })
    }

    /// Sends a message; connects anew when the daemon has been started again.
    pub(super) fn send(&mut self, level: Level, text: &str) -> io::Result<()> {
        let severity = match level {
            Level::Debug => 7,
            Level::Info => 6,
            Level::Warning => 4,
            Level::Error => 3,
            Level::Critical => 2,
        };
        let priority = u16::from(self.address.facility) * 8 + severity;
        let mut datagram = format!("<{priority}>{text}\0").into_bytes();
        match self.try_send(&datagram) {
            Err(error) if error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error()) => {
                datagram.truncate(SHORT);
                self.try_send(&datagram)
            }
            Err(_) => {
                self.socket = None;
                self.try_send(&datagram)
            }
            Ok(()) => Ok(()),
        }
    }

    fn try_send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => connect(&self.address.place)?,
        };
        let sent = socket.send(datagram);
        self.socket = Some(socket);
        sent
    }
}

fn connect(place: &Place) -> io::Result<Socket> {
    match place {
        Place::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            // A daemon that does not read loses messages and holds nobody up.
            socket.set_nonblocking(true)?;
            Ok(Socket::Unix(socket))
        }
        Place::Udp(host, port) => {
            let unknown = || io::Error::other(format!("host `{host}` has no address"));
            let to = (host.as_str(), *port).to_socket_addrs()?.next().ok_or_else(unknown)?;
            let from = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
            let socket = UdpSocket::bind(from)?;
            socket.connect(to)?;
            socket.set_nonblocking(true)?;
            Ok(Socket::Udp(socket))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_place_and_facility() {
        let udp = |host: &str, port, facility| Address::udp(host, port, facility);
        assert_eq!(Address::parse("syslog://log.example?local3"), udp("log.example", 514, 19));
        assert_eq!(Address::parse("syslog://10.0.0.1:5140?bogus"), udp("10.0.0.1", 5140, 1));
        assert_eq!(Address::parse("syslog://[::1]:514?DAEMON"), udp("::1", 514, 3));
        assert_eq!(Address::parse("syslog://[::1]"), udp("::1", 514, 1));
        assert_eq!(Address::parse("syslog:///dev/log?mail"), Some(Address::unix("/dev/log", 2)));
        for bad in ["syslog:/dev/log", "syslog://", "syslog://host:port", "syslog"] {
            assert_eq!(Address::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn datagrams_are_those_of_the_original() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let address = Address::unix(path.to_str().unwrap(), 19);
        let mut syslog = Syslog::open(&address).unwrap();
        syslog.send(Level::Info, "hello").unwrap();
        let mut buffer = [0; 64];
        let count = daemon.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"<158>hello\0");
        // Started again under the same path.
        drop(daemon);
        std::fs::remove_file(&path).unwrap();
        let daemon = UnixDatagram::bind(&path).unwrap();
        syslog.send(Level::Error, "again").unwrap();
        let count = daemon.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"<155>again\0");
    }

    #[test]
    fn udp_works_as_well() {
        let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = daemon.local_addr().unwrap().port();
        let address = Address::udp("127.0.0.1", port, 1).unwrap();
        Syslog::open(&address).unwrap().send(Level::Info, "x").unwrap();
        let mut buffer = [0; 64];
        let count = daemon.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"<14>x\0");
    }
}
