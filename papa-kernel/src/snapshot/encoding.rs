//! A state to bytes and back. The only place that knows bincode.

use super::header::{self, HEAD, LARGEST, SnapshotError};
use super::v1;

/// The encoding of format 1. The limit keeps a length field from asking for more memory.
const V1: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<LARGEST>,
> = bincode::config::standard().with_limit::<LARGEST>();

/// The snapshot of `state`, in the newest format.
pub(crate) fn encode(state: &v1::State<'_>) -> Result<Vec<u8>, SnapshotError> {
    let payload = bincode::encode_to_vec(WithHead(state), V1);
    let mut snapshot = payload.map_err(|error| SnapshotError::Encode(error.to_string()))?;
    header::complete(&mut snapshot)?;
    Ok(snapshot)
}

/// The state in `snapshot`, which may be of any format that this version ships.
pub(crate) fn decode(snapshot: &[u8]) -> Result<v1::State<'_>, SnapshotError> {
    let (_, payload) = header::verify(snapshot)?;
    decode_payload(payload)
}

/// The state in a payload of format 1 without a head.
pub(crate) fn decode_payload(payload: &[u8]) -> Result<v1::State<'_>, SnapshotError> {
    let decoded = bincode::borrow_decode_from_slice(payload, V1);
    let (state, used) = decoded.map_err(|error| SnapshotError::Decode(error.to_string()))?;
    if used != payload.len() {
        return Err(SnapshotError::Decode(format!("{} bytes are left", payload.len() - used)));
    }
    Ok(state)
}

/// A state after room for the head, so that the payload need not be moved.
struct WithHead<'s, 'a>(&'s v1::State<'a>);

impl bincode::Encode for WithHead<'_, '_> {
    fn encode<E: bincode::enc::Encoder>(
        &self,
        encoder: &mut E,
    ) -> Result<(), bincode::error::EncodeError> {
        bincode::enc::write::Writer::write(encoder.writer(), &[0; HEAD])?;
        self.0.encode(encoder)
    }
}
