//! Sends metrics to a statsd over UDP, one datagram for each.
//!
//! Nothing is known of whether they arrive. A name that cannot be looked up is told once and tried again.

use super::metric::{self, Value};
use crate::plugin::options::{self, OptionError, Options};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// The options that [`Statsd::new`] reads.
pub const OPTIONS: &[&str] = &["application_name", "host", "port", "sample_rate"];

/// The host's name is looked up again after so long, also after it could not be.
const REFRESH: Duration = Duration::from_secs(60);

/// The way to one statsd.
#[derive(Debug)]
pub struct Statsd {
    prefix: String,
    host: String,
    port: u16,
    rate: f64,
    /// Where to, and since when that is known.
    peer: Option<(UdpSocket, SocketAddr, Instant)>,
    /// There was a failure, and it was told.
    failed: Option<Instant>,
}

impl Statsd {
    /// Reads the options that all plugins with a statsd have; sends nothing.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn new(options: &Options, default_application: &str) -> Result<Self, OptionError> {
        let application = options.text("application_name", default_application);
        Ok(Self {
            prefix: format!("circus.{application}.watcher"),
            host: options.text("host", "localhost").trim().to_owned(),
            port: options.value("port", 8125, options::port)?,
            rate: options.value("sample_rate", 1.0, rate)?,
            peer: None,
            failed: None,
        })
    }

    /// Counts one more.
    pub fn increment(&mut self, bucket: &str) {
        self.send(bucket, Value::Count(1));
    }

    /// Sends one value.
    pub fn send(&mut self, bucket: &str, value: Value) {
        let now = Instant::now();
        if self.failed.is_some_and(|when| now.duration_since(when) < REFRESH) {
            return;
        }
        let datagram = metric::datagram(&self.prefix, bucket, value, self.rate);
        match self.deliver(datagram.as_bytes(), now) {
            Ok(()) if self.failed.take().is_some() => {
                info!("metrics are sent to {}:{} again", self.host, self.port);
            }
            Ok(()) => {}
            Err(error) => {
                self.peer = None;
                if self.failed.replace(now).is_none() {
                    warn!("no metrics can be sent to {}:{}: {error}", self.host, self.port);
                }
            }
        }
    }

    fn deliver(&mut self, datagram: &[u8], now: Instant) -> io::Result<()> {
        let fresh = |since: &Instant| now.duration_since(*since) < REFRESH;
        let (socket, to, _) = match self.peer.take().filter(|(_, _, since)| fresh(since)) {
            Some(peer) => self.peer.insert(peer),
            None => {
                let to = look_up(&self.host, self.port)?;
                let socket = UdpSocket::bind(match to {
                    SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                    SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                })?;
                // A full queue must not hold the plugin up.
                socket.set_nonblocking(true)?;
                self.peer.insert((socket, to, now))
            }
        };
        match socket.send_to(datagram, *to) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent.map(|_| ()),
        }
    }
}

/// The first IPv4 address as in the original, else any.
fn look_up(host: &str, port: u16) -> io::Result<SocketAddr> {
    let all: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let chosen = all.iter().find(|address| address.is_ipv4()).or(all.first());
    chosen.copied().ok_or_else(|| io::Error::other("the host has no address"))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = options::number(text).ok().filter(|rate| *rate > 0.0);
    rate.ok_or_else(|| "not a rate; write a number above 0, such as 1 or 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_reach_the_host_of_the_options() {
        let statsd = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let port = statsd.local_addr().expect("an address").port().to_string();
        let values = [("port", port.as_str()), ("sample_rate", "0.5"), ("application_name", "a b")];
        let values = values.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut client = Statsd::new(&Options::new("plugin:s", values), "app").expect("options");
        client.increment("web.spawn");
        client.send("web.x", Value::Whole(3));
        let mut buffer = [0; 512];
        for expected in
            ["circus.a b.watcher.web.spawn:1|c|@0.5", "circus.a b.watcher.web.x:3|g|@0.5"]
        {
            let length = statsd.recv(&mut buffer).expect("a datagram");
            assert_eq!(std::str::from_utf8(&buffer[..length]), Ok(expected));
        }
    }

    #[test]
    fn options_that_do_not_fit_are_refused_with_their_section() {
        for (key, value) in [("port", "0"), ("sample_rate", "0"), ("sample_rate", "often")] {
            let options = Options::new("plugin:s", [(key.to_owned(), value.to_owned())]);
            let error = Statsd::new(&options, "app").expect_err("refused").to_string();
            assert!(error.starts_with(&format!("[plugin:s] {key} = {value}: not a ")), "{error}");
        }
    }
}
