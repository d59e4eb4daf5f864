//! A ring to its snapshot and back.

use std::collections::VecDeque;

use super::Ring;
use crate::snapshot::v1;

impl Ring {
    /// What a snapshot keeps of it.
    pub(crate) fn freeze(&self) -> v1::Ring<'_> {
        v1::Ring {
            limit: self.limit as u64,
            heads: self.heads.iter().copied().collect(),
            data: self.data.as_slices(),
            first_seq: self.first_seq,
            first_offset: self.first_offset,
            released_offset: self.released_offset,
            shown: self.shown,
            dropped: self.dropped,
        }
    }

    /// The ring of a snapshot; `None` if its records do not fit its bytes.
    pub(crate) fn thaw(frozen: &v1::Ring<'_>) -> Option<Self> {
        let data: VecDeque<u8> = [frozen.data.0, frozen.data.1].concat().into();
        let length: u64 = frozen.heads.iter().map(|head| u64::from(head.length)).sum();
        let numbered = frozen.first_seq.checked_add(frozen.heads.len() as u64);
        let counted = frozen.first_offset.checked_add(length);
        if length != data.len() as u64 || numbered.is_none() || counted.is_none() {
            return None;
        }
        Some(Self {
            limit: usize::try_from(frozen.limit).unwrap_or(usize::MAX),
            heads: frozen.heads.iter().copied().collect(),
            data,
            first_seq: frozen.first_seq,
            first_offset: frozen.first_offset,
            released_offset: frozen.released_offset,
            shown: frozen.shown,
            dropped: frozen.dropped,
        })
    }
}
