//! `discover`: asks the network which circusds there are.

use crate::report::CommandError;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// An answer is one small object.
const LONGEST_ANSWER: usize = 4096;

/// A busy network is no reason to fill the memory.
const MOST_ANSWERS: usize = 10_000;

/// `discover`.
#[derive(Debug, clap::Args)]
pub struct Discover {
    /// Where circusds listen for the question, their multicast_endpoint
    #[arg(long, value_name = "ENDPOINT", default_value = "udp://237.219.251.97:12027")]
    multicast: String,
    /// Seconds to wait for answers
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    wait: f64,
}

/// A circusd that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    endpoint: String,
    host: String,
}

impl Discover {
    /// Asks, and collects answers until the time is up. Each circusd is there once.
    ///
    /// # Errors
    /// The endpoint is none, the network cannot be asked, or nobody answers.
    pub fn run(&self) -> Result<Vec<Found>, CommandError> {
        let group = group(&self.multicast).ok_or_else(|| {
            CommandError::local(format!("`{}` is not a multicast endpoint", self.multicast))
                .hint("a multicast endpoint is udp://GROUP:PORT")
        })?;
        let wait = Duration::try_from_secs_f64(self.wait)
            .map_err(|_| CommandError::local(format!("cannot wait for {} s", self.wait)))?;
        let found = ask(group, wait).map_err(|error| {
            CommandError::local(format!("could not ask {}", self.multicast))
                .cause(error.to_string())
                .hint("multicast needs a network interface with a route for it")
        })?;
        if found.is_empty() {
            let text = format!("no circusd answers at {} within {} s", self.multicast, self.wait);
            return Err(CommandError::local(text)
                .hint("circusd answers where its multicast_endpoint is, on the same network"));
        }
        Ok(found)
    }

    /// One line per circusd: its endpoint, and the machine that it answered from.
    pub fn render(&self, found: &[Found]) -> String {
        let mut out = String::new();
        for circusd in found {
            let _ = writeln!(out, "{} {}", circusd.endpoint, circusd.host);
        }
        out
    }

    /// The same for `--json`.
    pub fn json(&self, found: &[Found]) -> Value {
        let all: Vec<_> =
            found.iter().map(|one| json!({"endpoint": one.endpoint, "host": one.host})).collect();
        json!({"status": "ok", "circusds": all})
    }
}

fn group(endpoint: &str) -> Option<SocketAddr> {
    let address: SocketAddr = endpoint.strip_prefix("udp://")?.parse().ok()?;
    address.is_ipv4().then_some(address)
}

fn ask(group: SocketAddr, wait: Duration) -> io::Result<Vec<Found>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // circushttpd asks with an empty JSON text; the content does not matter.
    socket.send_to(b"\"\"", group)?;
    let deadline = Instant::now() + wait;
    let mut found: Vec<Found> = Vec::new();
    let mut answer = [0; LONGEST_ANSWER];
    while found.len() < MOST_ANSWERS {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        socket.set_read_timeout(Some(left))?;
        let (length, host) = match socket.recv_from(&mut answer) {
            Ok(received) => received,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                break;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let one = answer
            .get(..length)
            .and_then(endpoint_in)
            .map(|endpoint| Found { endpoint, host: host.ip().to_string() });
        found.extend(one.filter(|one| !found.contains(one)));
    }
    found.sort_by(|one, other| (&one.endpoint, &one.host).cmp(&(&other.endpoint, &other.host)));
    Ok(found)
}

/// The endpoint in an answer. It goes to a terminal, so it must be printable.
fn endpoint_in(answer: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let endpoint = answer.get("endpoint")?.as_str()?;
    endpoint.chars().all(|c| c.is_ascii_graphic() || c == ' ').then(|| endpoint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_circusd_is_listed_once_and_rubbish_is_passed_over() {
        let circusd = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = circusd.local_addr().expect("bound");
        let answers: [&[u8]; 5] = [
            br#"{"endpoint": "tcp://b:1"}"#,
            b"\xff",
            br#"{"endpoint": "\u001b[2J"}"#,
            br#"{"endpoint": "tcp://a:1"}"#,
            br#"{"endpoint": "tcp://b:1"}"#,
        ];
        let server = std::thread::spawn(move || {
            let (_, asker) = circusd.recv_from(&mut [0; 16]).expect("the question");
            for answer in answers {
                circusd.send_to(answer, asker).expect("sent");
            }
        });
        let discover = Discover { multicast: format!("udp://{address}"), wait: 0.5 };
        let found = discover.run().expect("answers");
        server.join().expect("the server ends");
        assert_eq!(discover.render(&found), "tcp://a:1 127.0.0.1\ntcp://b:1 127.0.0.1\n");
    }

    #[test]
    fn an_endpoint_without_a_port_is_refused() {
        let discover = Discover { multicast: "udp://237.0.0.1".into(), wait: 0.0 };
        assert!(discover.run().expect_err("refused").message.contains("not a multicast endpoint"));
    }
}
