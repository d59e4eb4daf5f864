//! The other end of a connection: which local user it belongs to, and whether it has read what was
//! written.
//!
//! A unix socket tells by itself. On TCP the client's socket is looked up in the system's table of
//! connections, which neither leaves the machine nor blocks. Judges nobody. circusd asks, too: whoever
//! has taken the kernel's port must not get what is meant for the kernel.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, SockaddrIn,
    SockaddrStorage, getpeername, getsockname, getsockopt, recv, sendto, socket, sockopt,
};

use crate::sys;

/// Whoever is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// All its groups, where they can be known.
    pub groups: Option<Vec<u32>>,
}

/// The client's end of a TCP connection, as the system shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TheirEnd {
    uid: u32,
    /// Bytes that have arrived and were not read.
    unread: u32,
}

/// The owner of the other end of a unix connection, as it was when that connected.
///
/// # Errors
/// It is no unix connection.
pub fn of_unix(client: &OwnedFd) -> io::Result<Peer> {
    let credentials = getsockopt(client, sockopt::PeerCredentials)?;
    let mut groups = sys::peer_groups(client.as_fd())?;
    groups.push(credentials.gid());
    Ok(Peer { uid: credentials.uid(), groups: Some(groups) })
}

/// The owner of the other end of a connection over 127.0.0.1.
///
/// A client that has already closed its end has no owner any more and cannot be told from root,
/// so it is an error: it must not get its commands carried out by closing quickly.
///
/// # Errors
/// As said, and as [`owner_of_tcp`].
pub fn of_tcp(client: &OwnedFd) -> io::Result<Peer> {
    owner_of_tcp(client).map(|uid| Peer { uid, groups: None })
}

/// The user number of the owner of the other end of a connection over 127.0.0.1.
///
/// # Errors
/// When it does not come from this machine, or the other end was closed.
pub fn owner_of_tcp(socket: impl AsFd) -> io::Result<u32> {
    their_end(socket.as_fd().as_raw_fd()).map(|end| end.uid)
}

/// Whether the program at the other end has read everything that was written. One that has gone
/// reads nothing more.
pub fn has_read_all(client: impl AsFd) -> bool {
    let client = client.as_fd();
    match sys::unsent_bytes(client) {
        Ok(0) => match getpeername::<SockaddrStorage>(client.as_raw_fd()) {
            Ok(address) if address.as_sockaddr_in().is_some() => {
                their_end(client.as_raw_fd()).map_or(true, |end| end.unread == 0)
            }
            _ => true,
        },
        Ok(_) => false,
        Err(_) => true,
    }
}

fn their_end(socket: RawFd) -> io::Result<TheirEnd> {
    let theirs = v4(getpeername(socket)?);
    let ours = v4(getsockname(socket)?);
    if !theirs.ip().is_loopback() || !ours.ip().is_loopback() {
        return Err(io::Error::other("the connection does not come from this machine"));
    }
    let end = match ask_sock_diag(theirs, ours) {
        Ok(end) => end,
        Err(error) => {
            tracing::debug!(%error, "no answer from sock_diag");
            ask_proc(theirs, ours)?
        }
    };
    // Our end has lived all the time, so what was found is its other end and no later namesake.
    getpeername::<SockaddrIn>(socket)?;
    Ok(end)
}

fn v4(address: SockaddrIn) -> SocketAddrV4 {
    SocketAddrV4::new(address.ip(), address.port())
}

fn gone() -> io::Error {
    io::Error::other("the client has closed its end already")
}

/// Lengths and offsets of `struct nlmsghdr` and, after it, `struct inet_diag_req_v2` and
/// `struct inet_diag_msg` (linux/netlink.h, linux/inet_diag.h).
const HEADER: usize = 16;
const REQUEST: usize = HEADER + 56;
const ANSWER: usize = HEADER + 72;

/// The states of the client's end of a connection that we have not closed.
const ESTABLISHED: u8 = 1;
const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;

/// Asks for the one connection between these addresses (sock_diag(7)).
fn ask_sock_diag(theirs: SocketAddrV4, ours: SocketAddrV4) -> io::Result<TheirEnd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let protocol = Some(SockProtocol::NetlinkSockDiag);
    let netlink = socket(AddressFamily::Netlink, SockType::Datagram, flags, protocol)?;
    let request = sock_diag_request(theirs, ours);
    sendto(netlink.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    // The answer is there when the request has been sent.
    let mut answer = [0; 512];
    let count = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    read_sock_diag(answer.get(..count).unwrap_or_default(), theirs, ours)
}

fn sock_diag_request(theirs: SocketAddrV4, ours: SocketAddrV4) -> Vec<u8> {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST: u16 = 1;
    const NO_COOKIE: [u8; 8] = [0xff; 8];
    const ANY_STATE: u32 = u32::MAX;
    let mut request = Vec::with_capacity(REQUEST);
    request.extend((REQUEST as u32).to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend([0; 8]); // Sequence number and sender.
    request.extend([libc::AF_INET as u8, libc::IPPROTO_TCP as u8, 0, 0]);
    request.extend(ANY_STATE.to_ne_bytes());
    request.extend(theirs.port().to_be_bytes());
    request.extend(ours.port().to_be_bytes());
    for address in [theirs.ip(), ours.ip()] {
        request.extend(address.octets());
        request.extend([0; 12]);
    }
    request.extend([0; 4]); // Any interface.
    request.extend(NO_COOKIE);
    request
}

fn read_sock_diag(answer: &[u8], theirs: SocketAddrV4, ours: SocketAddrV4) -> io::Result<TheirEnd> {
    const NLMSG_ERROR: u16 = 2;
    let bytes = |at: usize| -> Option<[u8; 4]> { answer.get(at..at + 4)?.try_into().ok() };
    let number = |at| bytes(at).map(u32::from_ne_bytes);
    let short = || io::Error::other("sock_diag answered too little");
    let kind = number(4).ok_or_else(short)?.to_ne_bytes();
    if u16::from_ne_bytes([kind[0], kind[1]]) == NLMSG_ERROR {
        let errno = number(HEADER).ok_or_else(short)?.cast_signed();
        return Err(io::Error::from_raw_os_error(errno.saturating_neg()));
    }
    if answer.len() < ANSWER {
        return Err(short());
    }
    // Where there is no connection any more, the system answers with whoever listens on the
    // client's port.
    let state = answer.get(HEADER + 1).copied().ok_or_else(short)?;
    let ports = [theirs.port().to_be_bytes(), ours.port().to_be_bytes()].concat();
    if bytes(HEADER + 4).is_none_or(|found| found[..] != ports) {
        return Err(gone());
    }
    let field = |at| number(at).ok_or_else(short);
    let end = TheirEnd { unread: field(HEADER + 56)?, uid: field(HEADER + 64)? };
    connected(end, state, field(HEADER + 68)?.into())
}

/// The end of a socket in this state (linux/net/tcp_states.h). A closed one is listed until its
/// last packet is through, with user and inode 0; one that is still connecting is a later
/// namesake.
fn connected(end: TheirEnd, state: u8, inode: u64) -> io::Result<TheirEnd> {
    let connected = matches!(state, ESTABLISHED | FIN_WAIT1 | FIN_WAIT2);
    if connected && inode != 0 { Ok(end) } else { Err(gone()) }
}

/// The slow way, for systems without sock_diag. A client may use an IPv6 socket to get to an
/// IPv4 address, hence the second table.
fn ask_proc(theirs: SocketAddrV4, ours: SocketAddrV4) -> io::Result<TheirEnd> {
    for (table, mapped) in [("/proc/net/tcp", false), ("/proc/net/tcp6", true)] {
        let text = match std::fs::read_to_string(table) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            text => text?,
        };
        if let Some(found) = find_in_proc(&text, mapped, theirs, ours) {
            return found;
        }
    }
    Err(gone())
}

fn find_in_proc(
    text: &str,
    mapped: bool,
    theirs: SocketAddrV4,
    ours: SocketAddrV4,
) -> Option<io::Result<TheirEnd>> {
    let shown = |address: SocketAddr| {
        let words = match address {
            SocketAddr::V4(v4) => v4.ip().octets().to_vec(),
            SocketAddr::V6(v6) => v6.ip().octets().to_vec(),
        };
        let hex = words.chunks_exact(4).map(|word| {
            format!("{:08X}", u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
        });
        format!("{}:{:04X}", hex.collect::<String>(), address.port())
    };
    let form = |address: SocketAddrV4| {
        let port = address.port();
        if mapped {
            shown((address.ip().to_ipv6_mapped(), port).into())
        } else {
            shown(address.into())
        }
    };
    let (local, remote) = (form(theirs), form(ours));
    text.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        if fields.next()? != local || fields.next()? != remote {
            return None;
        }
        let state = u8::from_str_radix(fields.next()?, 16).ok()?;
        let (_, unread) = fields.next()?.split_once(':')?;
        let unread = u32::from_str_radix(unread, 16).ok()?;
        let uid = fields.nth(2)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        Some(connected(TheirEnd { uid, unread }, state, inode))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;
    use circus_e2e::waiting::eventually;

    fn connection() -> (TcpStream, OwnedFd) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (theirs, listener.accept().unwrap().0.into())
    }

    fn ends(client: &OwnedFd) -> (SocketAddrV4, SocketAddrV4) {
        let fd = client.as_raw_fd();
        (v4(getpeername(fd).unwrap()), v4(getsockname(fd).unwrap()))
    }

    #[test]
    fn both_ways_find_the_owner_of_a_tcp_connection() {
        let own = nix::unistd::geteuid().as_raw();
        let (_theirs, client) = connection();
        let (theirs, ours) = ends(&client);
        assert_eq!(of_tcp(&client).unwrap(), Peer { uid: own, groups: None });
        for ask in [ask_sock_diag, ask_proc] {
            assert_eq!(ask(theirs, ours).unwrap(), TheirEnd { uid: own, unread: 0 });
        }
    }

    #[test]
    fn what_was_written_is_unread_until_it_is_read() {
        let (mut theirs, client) = connection();
        assert!(has_read_all(&client));
        nix::unistd::write(&client, b"hello").unwrap();
        assert!(!has_read_all(&client));
        let ends = ends(&client);
        // Until it has arrived there is nothing to see there.
        theirs.peek(&mut [0]).unwrap();
        assert_eq!(ask_sock_diag(ends.0, ends.1).unwrap().unread, 5);
        assert_eq!(ask_proc(ends.0, ends.1).unwrap().unread, 5);
        theirs.read_exact(&mut [0; 5]).unwrap();
        // The acknowledgement may be delayed.
        eventually("all is read", || has_read_all(&client).then_some(()));

        let (mut theirs, client) = UnixStream::pair().unwrap();
        let client = OwnedFd::from(client);
        assert!(has_read_all(&client));
        nix::unistd::write(&client, b"hello").unwrap();
        theirs.read_exact(&mut [0; 4]).unwrap();
        assert!(!has_read_all(&client));
        theirs.read_exact(&mut [0]).unwrap();
        assert!(has_read_all(&client));
        drop(theirs);
        assert!(has_read_all(&client));
    }

    #[test]
    fn a_client_that_has_closed_its_end_is_nobody() {
        let (theirs, client) = connection();
        let addresses = ends(&client);
        drop(theirs);
        // A child that another test is just starting may have a copy until it becomes its program.
        eventually("nobody has it", || of_tcp(&client).err());
        ask_sock_diag(addresses.0, addresses.1).unwrap_err();
        ask_proc(addresses.0, addresses.1).unwrap_err();
    }

    #[test]
    fn whoever_listens_on_the_port_of_a_client_that_has_gone_is_not_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(theirs) = listener.local_addr().unwrap() else { panic!() };
        let ours = SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 1);
        ask_sock_diag(theirs, ours).unwrap_err();
        ask_proc(theirs, ours).unwrap_err();
    }

    #[test]
    fn a_client_on_an_ipv6_socket_is_found() {
        let (mut table, (theirs, ours)) = (String::from("  sl  local_address\n"), {
            let address = |port| SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, port);
            (address(0x1234), address(20202))
        });
        table.push_str(
            "   1: 0000000000000000FFFF00000100007F:1234 0000000000000000FFFF00000100007F:4EEA 01 \
             00000000:00000009 00:00000000 00000000  1000        0 77 1 0 20 0 0 10 -1\n",
        );
        if cfg!(target_endian = "little") {
            let found = find_in_proc(&table, true, theirs, ours).unwrap().unwrap();
            assert_eq!(found, TheirEnd { uid: 1000, unread: 9 });
        }
        assert!(find_in_proc(&table, false, theirs, ours).is_none());
    }

    #[test]
    fn a_unix_connection_names_user_and_groups() {
        let (_theirs, ours) = UnixStream::pair().unwrap();
        let peer = of_unix(&ours.into()).unwrap();
        assert_eq!(peer.uid, nix::unistd::geteuid().as_raw());
        assert!(peer.groups.unwrap().contains(&nix::unistd::getegid().as_raw()));
    }

    #[test]
    fn answers_of_sock_diag_are_read_with_care() {
        let address = |port| SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, port);
        let read = |answer: &[u8]| read_sock_diag(answer, address(0x1234), address(20202));
        let mut answer = vec![0; ANSWER];
        answer[4] = 20;
        answer[HEADER + 1] = ESTABLISHED;
        answer[HEADER + 4..HEADER + 8].copy_from_slice(&[0x12, 0x34, 0x4e, 0xea]);
        read(&answer).unwrap_err();
        answer[HEADER + 68] = 1;
        assert_eq!(read(&answer).unwrap().uid, 0);
        read(&answer[..ANSWER - 1]).unwrap_err();
        read(&[]).unwrap_err();
        for (at, other) in [(4, 2), (HEADER + 1, 2), (HEADER + 1, 10), (HEADER + 7, 0)] {
            let mut answer = answer.clone();
            answer[at] = other;
            read(&answer).unwrap_err();
        }
    }
}
