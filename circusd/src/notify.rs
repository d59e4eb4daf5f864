//! Telling the service manager how we are: the datagrams of sd_notify(3), written by hand.
//!
//! Without `NOTIFY_SOCKET` nothing is sent. The variables are not passed on to processes: a worker that
//! believed in them would speak in our name.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// The variables that are meant for us alone.
pub const OWN_VARIABLES: &[&str] = &["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// The way to the service manager; clones share it.
#[derive(Clone, Default)]
pub struct Notifier(Option<Arc<Connection>>);

struct Connection {
    socket: UnixDatagram,
    manager: SocketAddr,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The service manager that our environment names, if it does.
    pub fn from_environment() -> Self {
        let Some(place) = std::env::var_os("NOTIFY_SOCKET").filter(|place| !place.is_empty())
        else {
            return Self::default();
        };
        let number = |name: &str| std::env::var(name).ok()?.trim().parse::<u64>().ok();
        let for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|time| for_us && *time > 0);
        match connect(&place, watchdog.map(Duration::from_micros)) {
            Ok(connection) => Self(Some(Arc::new(connection))),
            Err(error) => {
                let place = place.to_string_lossy();
                warn!("cannot talk to the service manager at {place}: {error}");
                Self::default()
            }
        }
    }

    /// Commands are answered and sockets are open.
    pub fn ready(&self) {
        self.send(&format!("READY=1\nSTATUS=Running\nMAINPID={}", std::process::id()));
    }

    /// What was asked for is being done anew; followed by [`Notifier::ready`].
    pub fn reloading(&self) {
        // systemd compares the time with that of its own order.
        let clock = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
        let now = clock.map_or(0, |now| now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000);
        self.send(&format!("RELOADING=1\nSTATUS=Reloading\nMONOTONIC_USEC={now}"));
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Stopping");
    }

    /// We are alive.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// How often [`Notifier::alive`] must be said, if at all: half of what the manager waits.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        Some(self.0.as_ref()?.watchdog? / 2)
    }

    fn send(&self, text: &str) {
        let Some(connection) = &self.0 else { return };
        let sent = connection.socket.send_to_addr(text.as_bytes(), &connection.manager);
        if let Err(error) = sent {
            warn!("cannot tell the service manager {}: {error}", text.replace('\n', " "));
        }
    }
}

/// A path, or an abstract name behind an `@`.
fn connect(place: &OsStr, watchdog: Option<Duration>) -> io::Result<Connection> {
    let manager = match place.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(OsString::from(place))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok(Connection { socket, manager, watchdog })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    fn notifier(place: &OsStr) -> Notifier {
        Notifier(Some(Arc::new(connect(place, None).unwrap())))
    }

    #[test]
    fn paths_and_abstract_names_are_reached() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        notifier(path.as_os_str()).stopping();
        assert_eq!(received(&socket), "STOPPING=1\nSTATUS=Stopping");

        let name = format!("circusd-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        notifier(OsStr::new(&format!("@{name}"))).ready();
        let expected = format!("READY=1\nSTATUS=Running\nMAINPID={}", std::process::id());
        assert_eq!(received(&socket), expected);
    }

    #[test]
    fn a_reload_carries_the_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        notifier(path.as_os_str()).reloading();
        let text = received(&socket);
        let time = text.strip_prefix("RELOADING=1\nSTATUS=Reloading\nMONOTONIC_USEC=").unwrap();
        assert!(time.parse::<u64>().unwrap() > 0);
    }
}
