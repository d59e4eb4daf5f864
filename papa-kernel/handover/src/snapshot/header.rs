//! The head of a snapshot: what tells a snapshot from other bytes, and a whole one from a broken
//! one.

/// The format written by this version.
pub const FORMAT: u16 = 1;
/// A snapshot is never larger than this, in bytes.
pub(crate) const LARGEST: usize = 1 << 30;
/// Length of the head.
pub(super) const HEAD: usize = 8 + 2 + 8 + 8;

const MAGIC: &[u8; 8] = b"PAPAKRNL";

/// Bytes are not a snapshot that this version can read, or a snapshot cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It does not begin like one.
    #[error("not a snapshot of a kernel")]
    NotASnapshot,
    /// It was written by a newer kernel.
    #[error("snapshot format {0} is not known here, only formats up to {FORMAT}")]
    UnknownFormat(u16),
    /// Something is missing or left over.
    #[error("the snapshot has {found} bytes, its head says {expected}")]
    Length {
        /// What the head says, in bytes.
        expected: u64,
        /// What follows it, in bytes.
        found: u64,
    },
    /// The payload has changed.
    #[error("the snapshot is damaged: its checksum does not match")]
    Checksum,
    /// It would take too much memory.
    #[error("the snapshot has {0} bytes, more than the limit of {LARGEST}")]
    TooLarge(u64),
    /// The payload makes no state.
    #[error("the snapshot cannot be decoded: {0}")]
    Decode(String),
    /// The state makes no payload.
    #[error("the snapshot cannot be encoded: {0}")]
    Encode(String),
}

/// Fills in the head of `snapshot`, whose first [`HEAD`] bytes are there for it.
pub(super) fn complete(snapshot: &mut [u8]) -> Result<(), SnapshotError> {
    if snapshot.len() > LARGEST {
        return Err(SnapshotError::TooLarge(snapshot.len() as u64));
    }
    let Some((head, payload)) = snapshot.split_at_mut_checked(HEAD) else {
        return Err(SnapshotError::NotASnapshot);
    };
    let length = (payload.len() as u64).to_le_bytes();
    let fields = [&MAGIC[..], &FORMAT.to_le_bytes(), &length, &checksum(payload).to_le_bytes()];
    head.copy_from_slice(&fields.concat());
    Ok(())
}

/// The payload, after everything that can be checked without decoding.
pub(super) fn verify(snapshot: &[u8]) -> Result<&[u8], SnapshotError> {
    if snapshot.len() > LARGEST {
        return Err(SnapshotError::TooLarge(snapshot.len() as u64));
    }
    let fields = || {
        let rest = snapshot.strip_prefix(MAGIC)?;
        let (format, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (sum, payload) = rest.split_first_chunk()?;
        Some((
            u16::from_le_bytes(*format),
            u64::from_le_bytes(*length),
            u64::from_le_bytes(*sum),
            payload,
        ))
    };
    let (format, expected, sum, payload) = fields().ok_or(SnapshotError::NotASnapshot)?;
    if !(1..=FORMAT).contains(&format) {
        return Err(SnapshotError::UnknownFormat(format));
    }
    let found = payload.len() as u64;
    if expected != found {
        return Err(SnapshotError::Length { expected, found });
    }
    if checksum(payload) != sum {
        return Err(SnapshotError::Checksum);
    }
    Ok(payload)
}

/// A checksum against damage, not against malice: whoever can write the memory file can do worse.
/// FNV-1a over words of eight bytes, with a rotation so that high bits count as well.
fn checksum(bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(PRIME).rotate_left(29);
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(BASIS, |sum, word| mix(sum, u64::from_le_bytes(*word)));
    rest.iter().fold(sum, |sum, byte| mix(sum, u64::from(*byte)))
}
