//! UDP discovery: whoever sends a datagram to the multicast group is told the endpoint.
//!
//! The content of the question does not matter. The answer is `{"endpoint": ...}`, nothing else.

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};
use serde_json::json;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket as StdSocket};
use std::os::fd::AsRawFd;
use tokio::net::UdpSocket;
use tokio::task;
use tracing::warn;

/// `multicast_endpoint` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// It is not an endpoint.
    #[error("[circus] multicast_endpoint = {0}: use udp://GROUP:PORT with a group in 224.0.0.0/4")]
    Endpoint(String),
    /// The system refused.
    #[error("cannot join the multicast group {endpoint}: {source}")]
    Join {
        /// The endpoint.
        endpoint: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Whether [`start`] can use this text; an empty one switches discovery off.
///
/// # Errors
/// [`DiscoveryError::Endpoint`].
pub fn check(multicast: &str) -> Result<(), DiscoveryError> {
    match multicast.is_empty() || parse(multicast).is_some() {
        true => Ok(()),
        false => Err(DiscoveryError::Endpoint(multicast.to_owned())),
    }
}

/// Starts answering. An empty endpoint switches discovery off.
///
/// # Errors
/// [`DiscoveryError`]; the daemon can do without.
pub fn start(multicast: &str, endpoint: &str) -> Result<(), DiscoveryError> {
    if multicast.is_empty() {
        return Ok(());
    }
    let (group, port) =
        parse(multicast).ok_or_else(|| DiscoveryError::Endpoint(multicast.to_owned()))?;
    let socket = join(group, port)
        .map_err(|source| DiscoveryError::Join { endpoint: multicast.to_owned(), source })?;
    let answer = json!({ "endpoint": endpoint }).to_string();
    task::spawn(serve(socket, answer));
    Ok(())
}

fn parse(endpoint: &str) -> Option<(Ipv4Addr, u16)> {
    let (group, port) = endpoint.strip_prefix("udp://")?.rsplit_once(':')?;
    let group: Ipv4Addr = group.parse().ok()?;
    group.is_multicast().then_some((group, port.parse().ok()?))
}

fn join(group: Ipv4Addr, port: u16) -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    // Several daemons of one machine share the port.
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    setsockopt(&fd, sockopt::ReusePort, &true)?;
    bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))?;
    let socket = StdSocket::from(fd);
    socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)?;
    UdpSocket::from_std(socket)
}

async fn serve(socket: UdpSocket, answer: String) {
    // The question is not looked at; what does not fit is cut off.
    let mut question = [0; 1];
    let mut failing = false;
    loop {
        let asked = socket.recv_from(&mut question).await;
        let result = match asked {
            Ok((_, asker)) => socket.send_to(answer.as_bytes(), asker).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = &result
            && !failing
        {
            warn!("discovery: {error}");
        }
        failing = result.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_multicast_groups_are_taken() {
        let expected = Some((Ipv4Addr::new(237, 219, 251, 97), 12027));
        assert_eq!(parse("udp://237.219.251.97:12027"), expected);
        for text in ["udp://127.0.0.1:1", "tcp://237.0.0.1:1", "udp://237.0.0.1", "udp://x:1", "x"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn any_datagram_is_answered_with_the_endpoint() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(serve(socket, "{}".into()));
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for question in [&b""[..], b"hello"] {
            client.send_to(question, address).await.unwrap();
            let mut answer = [0; 16];
            let (length, _) = client.recv_from(&mut answer).await.unwrap();
            assert_eq!(&answer[..length], b"{}");
        }
    }
}
