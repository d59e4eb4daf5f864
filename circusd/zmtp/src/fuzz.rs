//! What the fuzz target `zmtp` needs of the inside. Not part of the interface.

use crate::connection;
use crate::frame::{self, Frame, Violation};
use crate::handshake::{Handshake, Kind};
use crate::subscriptions::Subscriptions;
use bytes::BytesMut;

/// Reads it in small pieces, as what a client of a ROUTER or of a PUB sends.
pub fn feed(data: &[u8], publisher: bool) {
    let kind = if publisher { Kind::Publisher } else { Kind::Router };
    let (mut handshake, _) = Handshake::begin(kind);
    let (mut received, mut reply) = (BytesMut::new(), BytesMut::new());
    let mut subscriptions = Subscriptions::default();
    let mut greeted = false;
    for piece in data.chunks(7) {
        received.extend_from_slice(piece);
        loop {
            let progress = if greeted {
                frame::take(&mut received, 1 << 16)
                    .and_then(|frame| {
                        frame.map(|frame| take(&frame, &mut subscriptions)).transpose()
                    })
                    .map(|taken| taken.is_some())
            } else {
                handshake.take(&mut received, &mut reply).map(|peer| {
                    greeted = peer.is_some();
                    greeted
                })
            };
            match progress {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => return,
            }
        }
    }
}

fn take(frame: &Frame, subscriptions: &mut Subscriptions) -> Result<(), Violation> {
    match connection::ping(frame)? {
        Some(_) => Ok(()),
        None => subscriptions.take(frame),
    }
}
