//! Frames of ZMTP 2.0 and 3.x: bytes in, frames out, and back. No I/O.
//!
//! A frame is a byte of flags, its length in one byte or in eight, and its body.

use bytes::{Buf, BufMut, Bytes, BytesMut};

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// What a peer sent cannot be ZMTP, or is more than we hold for it. It is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// The first bytes are not those of a ZMTP greeting.
    #[error("it does not speak ZMTP 2.0 or later")]
    Signature,
    /// The security mechanism is another one.
    #[error("it asks for a security mechanism, and there is none")]
    Mechanism,
    /// A DEALER that asks for events, and the like.
    #[error("its type of socket does not go with ours")]
    SocketType,
    /// Unknown flags.
    #[error("a frame has unknown flags")]
    Flags,
    /// Longer than we take.
    #[error("a message is too long")]
    TooLong,
    /// All clients together send more than we hold.
    #[error("there are too many long messages at once")]
    TooMuch,
    /// A command that is cut short, or comes at the wrong time.
    #[error("a command makes no sense")]
    Command,
    /// Topics without end.
    #[error("it subscribes to too many topics")]
    TooManyTopics,
}

/// One frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The message goes on.
    pub(crate) more: bool,
    /// For the protocol itself, not for who uses it.
    pub(crate) command: bool,
    /// What it carries.
    pub(crate) body: Vec<u8>,
}

/// Takes the next frame out of what was received. None: it has not come whole yet.
///
/// # Errors
/// Unknown flags, or a body of more than `longest` bytes; nothing is held for it.
pub(crate) fn take(received: &mut BytesMut, longest: usize) -> Result<Option<Frame>, Violation> {
    let Some(&flags) = received.first() else { return Ok(None) };
    if flags & !(MORE | LONG | COMMAND) != 0 {
        return Err(Violation::Flags);
    }
    let (head, length) = if flags & LONG == 0 {
        let Some(&length) = received.get(1) else { return Ok(None) };
        (2, u64::from(length))
    } else {
        let Some(mut length) = received.get(1..9) else { return Ok(None) };
        (9, length.get_u64())
    };
    let length = usize::try_from(length).map_err(|_| Violation::TooLong)?;
    if length > longest {
        return Err(Violation::TooLong);
    }
    let Some(body) = received.get(head..head + length) else { return Ok(None) };
    let body = body.to_vec();
    received.advance(head + length);
    Ok(Some(Frame { more: flags & MORE != 0, command: flags & COMMAND != 0, body }))
}

/// The head of a frame.
fn put_head(out: &mut BytesMut, flags: u8, length: usize) {
    if let Ok(short) = u8::try_from(length) {
        out.put_slice(&[flags, short]);
    } else {
        out.put_u8(flags | LONG);
        out.put_u64(length as u64);
    }
}

/// A message of one frame, in pieces that are sent one after the other. What is long is not copied.
pub(crate) fn message(body: Bytes) -> impl Iterator<Item = Bytes> {
    const COPIED: usize = 4096;
    let mut out = BytesMut::new();
    put_head(&mut out, 0, body.len());
    let apart = if body.len() > COPIED {
        Some(body)
    } else {
        out.extend_from_slice(&body);
        None
    };
    [Some(out.freeze()), apart].into_iter().flatten()
}

/// A message of two frames.
pub(crate) fn pair(first: &[u8], second: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(first.len() + second.len() + 2 * 9);
    put_head(&mut out, MORE, first.len());
    out.extend_from_slice(first);
    put_head(&mut out, 0, second.len());
    out.extend_from_slice(second);
    out.freeze()
}

/// A command with its data.
pub(crate) fn command(name: &str, data: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    put_head(&mut out, COMMAND, 1 + name.len() + data.len());
    out.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(data);
    out.freeze()
}

/// The name of a command and its data.
///
/// # Errors
/// It is cut short.
pub(crate) fn command_parts(body: &[u8]) -> Result<(&[u8], &[u8]), Violation> {
    let (&length, rest) = body.split_first().ok_or(Violation::Command)?;
    rest.split_at_checked(length.into()).ok_or(Violation::Command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8], longest: usize) -> Result<Vec<Frame>, Violation> {
        let mut received = BytesMut::from(bytes);
        std::iter::from_fn(|| take(&mut received, longest).transpose()).collect()
    }

    proptest! {
        #[test]
        fn what_is_sent_is_what_arrives(first: Vec<u8>, second in proptest::collection::vec(any::<u8>(), 0..9000)) {
            let sent: Vec<u8> = message(second.clone().into()).flatten().collect();
            let frame = |more, body| Frame { more, command: false, body };
            prop_assert_eq!(all(&sent, 9000), Ok(vec![frame(false, second.clone())]));
            let sent = pair(&first, &second);
            prop_assert_eq!(all(&sent, 9000), Ok(vec![frame(true, first), frame(false, second)]));
        }

        #[test]
        fn a_frame_that_comes_in_pieces_is_the_same(body in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut received = BytesMut::new();
            let sent = pair(b"topic", &body);
            let mut frames = Vec::new();
            for byte in sent {
                received.put_u8(byte);
                frames.extend(take(&mut received, 600).unwrap());
            }
            prop_assert_eq!(frames.len(), 2);
            prop_assert_eq!(&frames[1].body, &body);
            prop_assert!(received.is_empty());
        }
    }

    #[test]
    fn a_length_that_is_only_claimed_is_refused_before_anything_is_held() {
        let endless = [LONG, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(all(&endless, usize::MAX - 9), Err(Violation::TooLong));
        assert_eq!(all(&[0, 200], 100), Err(Violation::TooLong));
        assert_eq!(all(&[0, 100], 100), Ok(vec![]), "as long as it may be, and not there yet");
        assert_eq!(all(&[0x80, 1, 1], 100), Err(Violation::Flags));
    }

    #[test]
    fn commands_have_a_name_and_data() {
        let sent = command("PONG", b"context");
        let frames = all(&sent, 100).unwrap();
        assert!(frames[0].command);
        assert_eq!(command_parts(&frames[0].body), Ok((&b"PONG"[..], &b"context"[..])));
        assert_eq!(command_parts(b""), Err(Violation::Command));
        assert_eq!(command_parts(b"\x05PON"), Err(Violation::Command));
    }
}
