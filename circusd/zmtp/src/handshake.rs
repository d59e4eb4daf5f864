//! How a connection begins: greetings and types of sockets are exchanged, in ZMTP 3.x or in 2.0. Bytes in,
//! bytes out; no I/O.

use crate::frame::{self, Frame, Violation};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The signature of all versions, and the major version that we speak.
const SIGNATURE_AND_VERSION: [u8; 11] = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3];
const SIGNATURE: usize = 10;
/// A greeting of version 3, whole: signature, version, mechanism, role, filler.
const GREETING: usize = 64;
/// The mechanism within it.
const MECHANISM: std::ops::Range<usize> = 12..32;
/// Longest READY that is taken, in bytes. libzmq's have some 50, and up to 255 of identity.
const LONGEST_READY: usize = 4096;

/// What we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Takes requests.
    Router,
    /// Sends events.
    Publisher,
}

impl Kind {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Router => b"ROUTER",
            Self::Publisher => b"PUB",
        }
    }

    /// The number of version 2.0.
    fn code(self) -> u8 {
        match self {
            Self::Router => 6,
            Self::Publisher => 1,
        }
    }

    /// Whether sockets of this type may connect to us, by name.
    fn goes_with(self, peer: &[u8]) -> bool {
        match self {
            Self::Router => matches!(peer, b"REQ" | b"DEALER" | b"ROUTER"),
            Self::Publisher => matches!(peer, b"SUB" | b"XSUB"),
        }
    }

    /// The same by number.
    fn goes_with_code(self, peer: u8) -> bool {
        match self {
            Self::Router => matches!(peer, 3 | 5 | 6),
            Self::Publisher => matches!(peer, 2 | 10),
        }
    }
}

/// Where the exchange stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Signature,
    Greeting3,
    Ready3,
    Type2,
    Identity2,
}

/// The exchange with one peer, from our side.
#[derive(Debug)]
pub(crate) struct Handshake {
    kind: Kind,
    step: Step,
}

/// The peer is known; what it sends now are messages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Greeted {
    /// The name that it gave itself; usually none.
    pub(crate) identity: Bytes,
}

impl Handshake {
    /// What to send first, to a peer of any version.
    pub(crate) fn begin(kind: Kind) -> (Self, Bytes) {
        (Self { kind, step: Step::Signature }, Bytes::from_static(&SIGNATURE_AND_VERSION))
    }

    /// Takes what has come, and puts what is to be sent into `reply`. None: more has to come.
    ///
    /// # Errors
    /// The peer is no ZeroMQ socket that goes with ours.
    pub(crate) fn take(
        &mut self,
        received: &mut BytesMut,
        reply: &mut BytesMut,
    ) -> Result<Option<Greeted>, Violation> {
        loop {
            let next = match self.step {
                Step::Signature => signature(received)?.inspect(|step| match step {
                    Step::Greeting3 => put_rest_of_greeting(reply),
                    // The type, and an identity of no bytes.
                    _ => reply.put_slice(&[self.kind.code(), 0, 0]),
                }),
                Step::Greeting3 => greeting(received)?.inspect(|_| {
                    let ready =
                        frame::command("READY", &property(b"Socket-Type", self.kind.name()));
                    reply.extend_from_slice(&ready);
                }),
                Step::Ready3 => return ready(self.kind, received),
                Step::Type2 => socket_type(self.kind, received)?,
                Step::Identity2 => return identity(received),
            };
            match next {
                Some(step) => self.step = step,
                None => return Ok(None),
            }
        }
    }
}

/// Version 3 says its version behind the signature, and so does 2.0. The signature itself stays.
fn signature(received: &BytesMut) -> Result<Option<Step>, Violation> {
    let is_one = |at: usize, byte: &u8| match at {
        0 => *byte == 0xff,
        9 => *byte == 0x7f,
        // The length of an identity, for peers of version 1.0.
        _ => true,
    };
    if !received.iter().take(SIGNATURE).enumerate().all(|(at, byte)| is_one(at, byte)) {
        return Err(Violation::Signature);
    }
    match received.get(SIGNATURE) {
        None => Ok(None),
        Some(0) => Err(Violation::Signature),
        Some(1 | 2) => Ok(Some(Step::Type2)),
        Some(_) => Ok(Some(Step::Greeting3)),
    }
}

fn put_rest_of_greeting(reply: &mut BytesMut) {
    const MINOR: u8 = 1;
    reply.put_u8(MINOR);
    reply.put_slice(b"NULL");
    reply.put_bytes(0, GREETING - MECHANISM.start - 4);
}

fn greeting(received: &mut BytesMut) -> Result<Option<Step>, Violation> {
    let Some(mechanism) = received.get(..GREETING).and_then(|greeting| greeting.get(MECHANISM))
    else {
        return Ok(None);
    };
    if mechanism.strip_prefix(b"NULL").is_none_or(|rest| rest.iter().any(|&byte| byte != 0)) {
        return Err(Violation::Mechanism);
    }
    received.advance(GREETING);
    Ok(Some(Step::Ready3))
}

fn property(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.put_slice(name);
    out.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
    out.put_slice(value);
    out
}

fn ready(kind: Kind, received: &mut BytesMut) -> Result<Option<Greeted>, Violation> {
    let Some(Frame { command, body, .. }) = frame::take(received, LONGEST_READY)? else {
        return Ok(None);
    };
    let (name, mut data) = frame::command_parts(&body)?;
    if !command || name != b"READY" {
        return Err(Violation::Command);
    }
    let (mut socket_type, mut identity) = (None, Bytes::new());
    while !data.is_empty() {
        let (name, value, rest) = next_property(data).ok_or(Violation::Command)?;
        // Names of properties have no case (rfc.zeromq.org/spec/23).
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            socket_type = Some(value);
        } else if name.eq_ignore_ascii_case(b"Identity") {
            identity = Bytes::copy_from_slice(value);
        }
        data = rest;
    }
    if socket_type.is_some_and(|peer| kind.goes_with(peer)) {
        Ok(Some(Greeted { identity }))
    } else {
        Err(Violation::SocketType)
    }
}

/// The first property, and what stands behind it.
fn next_property(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&length, rest) = data.split_first()?;
    let (name, rest) = rest.split_at_checked(length.into())?;
    let (mut length, rest) = rest.split_at_checked(4)?;
    let (value, rest) = rest.split_at_checked(length.get_u32().try_into().ok()?)?;
    Some((name, value, rest))
}

fn socket_type(kind: Kind, received: &mut BytesMut) -> Result<Option<Step>, Violation> {
    let Some(&peer) = received.get(SIGNATURE_AND_VERSION.len()) else { return Ok(None) };
    if !kind.goes_with_code(peer) {
        return Err(Violation::SocketType);
    }
    received.advance(SIGNATURE_AND_VERSION.len() + 1);
    Ok(Some(Step::Identity2))
}

fn identity(received: &mut BytesMut) -> Result<Option<Greeted>, Violation> {
    let frame = frame::take(received, u8::MAX.into())?;
    Ok(frame.map(|Frame { body, .. }| Greeted { identity: body.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a DEALER of version 3 sends.
    fn version_3(mechanism: &[u8], ready: &[u8]) -> Vec<u8> {
        let mut sent = SIGNATURE_AND_VERSION.to_vec();
        sent.push(0);
        sent.extend(mechanism);
        sent.resize(GREETING, 0);
        sent.extend_from_slice(&frame::command("READY", ready));
        sent
    }

    /// Byte by byte, so that each cut is tried.
    fn shake(kind: Kind, sent: &[u8]) -> Result<(Option<Greeted>, BytesMut), Violation> {
        let (mut handshake, first) = Handshake::begin(kind);
        let (mut received, mut reply) = (BytesMut::new(), BytesMut::from(&first[..]));
        for &byte in sent {
            received.put_u8(byte);
            if let Some(greeted) = handshake.take(&mut received, &mut reply)? {
                assert!(received.is_empty());
                return Ok((Some(greeted), reply));
            }
        }
        Ok((None, reply))
    }

    #[test]
    fn a_dealer_of_version_3_is_greeted() {
        let mut ready = property(b"socket-type", b"DEALER");
        ready.extend(property(b"Identity", b"me"));
        ready.extend(property(b"X-Other", b""));
        let (greeted, reply) = shake(Kind::Router, &version_3(b"NULL", &ready)).unwrap();
        assert_eq!(greeted, Some(Greeted { identity: Bytes::from_static(b"me") }));
        assert_eq!(reply[..11], SIGNATURE_AND_VERSION);
        assert_eq!(reply[11..16], *b"\x01NULL");
        assert_eq!(reply[64..], *b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06ROUTER");
    }

    #[test]
    fn a_subscriber_of_version_2_is_greeted() {
        let mut sent = SIGNATURE_AND_VERSION.to_vec();
        sent[10] = 1;
        sent.extend(b"\x02\0\x02me");
        let (greeted, reply) = shake(Kind::Publisher, &sent).unwrap();
        assert_eq!(greeted, Some(Greeted { identity: Bytes::from_static(b"me") }));
        assert_eq!(reply[11..], [1, 0, 0], "our type, and no identity");
    }

    #[test]
    fn whoever_does_not_go_with_us_is_refused() {
        let dealer = property(b"Socket-Type", b"DEALER");
        let refused = |kind, sent: &[u8]| shake(kind, sent).unwrap_err();
        assert_eq!(refused(Kind::Publisher, &version_3(b"NULL", &dealer)), Violation::SocketType);
        assert_eq!(refused(Kind::Router, &version_3(b"NULL", b"")), Violation::SocketType);
        assert_eq!(refused(Kind::Router, &version_3(b"CURVE", &dealer)), Violation::Mechanism);
        assert_eq!(refused(Kind::Router, &version_3(b"NULLS", &dealer)), Violation::Mechanism);
        assert_eq!(refused(Kind::Router, b"GET / HTTP/1.1\r\n"), Violation::Signature);
        assert_eq!(refused(Kind::Router, &version_3(b"NULL", b"\x0bSocket")), Violation::Command);
        let mut version_2 = SIGNATURE_AND_VERSION.to_vec();
        version_2[10] = 1;
        version_2.push(2);
        assert_eq!(refused(Kind::Router, &version_2), Violation::SocketType);
    }
}
