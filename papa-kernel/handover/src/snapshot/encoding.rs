//! A state to bytes and back.

use bincode::enc::write::Writer;
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError, EncodeError};

use super::header::{self, HEAD, LARGEST, SnapshotError};

/// The encoding of format 1. The limit keeps a length field from asking for more memory.
const V1: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<LARGEST>,
> = bincode::config::standard().with_limit::<LARGEST>();

/// The snapshot of `state`, in the newest format.
///
/// # Errors
/// It is larger than a snapshot may be.
pub fn encode<S: Encode>(state: &S) -> Result<Vec<u8>, SnapshotError> {
    let payload = bincode::encode_to_vec(WithHead(state), V1);
    let mut snapshot = payload.map_err(|error| SnapshotError::Encode(error.to_string()))?;
    header::complete(&mut snapshot)?;
    Ok(snapshot)
}

/// The state in `snapshot`, which may be of any format that this version ships.
///
/// # Errors
/// It is damaged, or of a format that is not known here.
pub fn decode<S: bincode::Decode<()>>(snapshot: &[u8]) -> Result<S, SnapshotError> {
    decode_payload(header::verify(snapshot)?)
}

/// The state in a payload of format 1 without a head.
///
/// # Errors
/// It is damaged.
pub fn decode_payload<S: bincode::Decode<()>>(payload: &[u8]) -> Result<S, SnapshotError> {
    let decoded = bincode::decode_from_slice(payload, V1);
    let (state, used) = decoded.map_err(|error| {
        SnapshotError::Decode(match error {
            DecodeError::OtherString(text) => text,
            other => other.to_string(),
        })
    })?;
    if used != payload.len() {
        return Err(SnapshotError::Decode(format!("{} bytes are left", payload.len() - used)));
    }
    Ok(state)
}

/// A state after room for the head, so that the payload need not be moved.
struct WithHead<'s, S>(&'s S);

impl<S: Encode> Encode for WithHead<'_, S> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        encoder.writer().write(&[0; HEAD])?;
        self.0.encode(encoder)
    }
}
