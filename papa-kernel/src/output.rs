//! The unread output of one hosted process.
//!
//! A record leaves the ring by acknowledgement or by eviction, and evictions are counted.
//! Knows nothing about clients: `process_table` decides who has read what.

use std::collections::VecDeque;

use bincode::{Decode, Encode};
use papa_handover::field::Bytes;

use crate::budget::can_grow_to;

/// A record without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
struct Head {
    /// Seconds since 1970.
    timestamp: f64,
    length: u32,
    kind: RecordKind,
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
pub(crate) enum RecordKind {
    Out,
    Err,
    /// The end, with the code as papa shows it. Always the last record.
    Closed(i32),
}

/// A record as a reader sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RecordView<'a> {
    /// Its number in the life of the ring.
    pub(crate) seq: u64,
    /// How many bytes the process had written before it.
    pub(crate) offset: u64,
    /// Seconds since 1970.
    pub(crate) timestamp: f64,
    /// What it is.
    pub(crate) kind: RecordKind,
    /// The bytes, in two parts.
    pub(crate) data: (&'a [u8], &'a [u8]),
}

/// Sequence-numbered records with a limit on their bytes and on their number.
#[derive(Debug, Default, Encode, Decode)]
pub(crate) struct Ring {
    limit: usize,
    heads: VecDeque<Head>,
    data: Bytes,
    /// Number of the oldest record.
    first_seq: u64,
    /// Bytes written before the oldest record.
    first_offset: u64,
    /// Bytes written before the oldest record that nobody has acknowledged or forgotten.
    released_offset: u64,
    /// Records below this number have been shown to somebody and may not change.
    shown: u64,
    dropped: u64,
}

/// Heads are memory too: beyond this many records the oldest go.
const MOST_RECORDS: usize = 1 << 16;
/// With this many records waiting, small ones of one stream are joined.
const JOIN_FROM: usize = 1 << 10;
/// The largest record that joining makes.
const LARGEST_JOINED: usize = 4 << 10;
/// An empty ring gives back more memory than this.
const KEPT_CAPACITY: usize = 16 << 10;

impl Ring {
    /// A ring for up to `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Whether the records fit the bytes, and can be counted on.
    pub(crate) fn is_whole(&self) -> bool {
        let length: u64 = self.heads.iter().map(|head| u64::from(head.length)).sum();
        length == self.data.len() as u64
            && self.first_seq.checked_add(self.heads.len() as u64).is_some()
            && self.first_offset.checked_add(length).is_some()
    }

    /// Appends output. The oldest records make room; of a piece larger than the limit its end is
    /// kept.
    pub(crate) fn push_output(&mut self, stderr: bool, timestamp: f64, bytes: &[u8]) {
        let kind = if stderr { RecordKind::Err } else { RecordKind::Out };
        let (limit, most_records) = self.limits_now(bytes.len());
        let cut = bytes.len().saturating_sub(limit);
        let bytes = bytes.get(cut..).unwrap_or_default();
        while self.data.len() + bytes.len() > limit || self.heads.len() >= most_records {
            if !self.evict_oldest() {
                break;
            }
        }
        // Nothing is left when a piece had to be cut, so what was cut lies before the first.
        self.first_offset += cut as u64;
        self.dropped += cut as u64;
        if bytes.is_empty() {
            return;
        }
        self.data.extend(bytes);
        let crowded = self.heads.len() >= JOIN_FROM && self.end_seq() > self.shown;
        if crowded
            && let Some(last) = self.heads.back_mut()
            && last.kind == kind
            && last.length as usize + bytes.len() <= LARGEST_JOINED
        {
            last.length += bytes.len() as u32;
            return;
        }
        // A piece is at most one read from a pipe.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.heads.push_back(Head { timestamp, length, kind });
    }

    /// What may be held once `more` bytes have come: while the system has no memory, what there is
    /// memory for already.
    fn limits_now(&self, more: usize) -> (usize, usize) {
        let wanted = self.data.len() + more;
        let grows = wanted > self.data.capacity() || self.heads.len() == self.heads.capacity();
        if grows && !can_grow_to(2 * wanted) {
            (self.limit.min(self.data.capacity()), MOST_RECORDS.min(self.heads.capacity()))
        } else {
            (self.limit, MOST_RECORDS)
        }
    }

    /// Appends the end of the process.
    pub(crate) fn push_closed(&mut self, timestamp: f64, code: i32) {
        self.heads.push_back(Head { timestamp, length: 0, kind: RecordKind::Closed(code) });
    }

    /// The number that the next record will have.
    pub(crate) fn end_seq(&self) -> u64 {
        self.first_seq + self.heads.len() as u64
    }

    /// Bytes written so far.
    fn end_offset(&self) -> u64 {
        self.first_offset + self.data.len() as u64
    }

    /// Number of the oldest record.
    pub(crate) fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// Bytes written before the oldest record that was not acknowledged. The first record's
    /// offset is larger when output has been evicted since.
    pub(crate) fn released_offset(&self) -> u64 {
        self.released_offset
    }

    /// Bytes that are held.
    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }

    /// Bytes that may be held.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Allows for more.
    pub(crate) fn extend_limit(&mut self, by: usize) {
        self.limit = self.limit.saturating_add(by);
    }

    /// Bytes that were evicted before anybody acknowledged them.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The records from `seq` on; from the oldest if that is gone.
    pub(crate) fn records_from(&self, seq: u64) -> impl Iterator<Item = RecordView<'_>> {
        let skip = seq.saturating_sub(self.first_seq) as usize;
        let (mut seq, mut offset) = (self.first_seq, self.first_offset);
        let (mut front, mut back) = self.data.as_slices();
        let records = self.heads.iter().map(move |head| {
            let length = head.length as usize;
            let first = front.split_off(..length.min(front.len())).unwrap_or_default();
            let rest = back.split_off(..(length - first.len()).min(back.len()));
            let data = (first, rest.unwrap_or_default());
            let view = RecordView { seq, offset, timestamp: head.timestamp, kind: head.kind, data };
            seq += 1;
            offset += u64::from(head.length);
            view
        });
        records.skip(skip)
    }

    /// The number after the last record that ends at or before `offset`.
    pub(crate) fn seq_at(&self, offset: u64) -> u64 {
        let mut end = self.first_offset;
        let whole = self.heads.iter().take_while(|head| {
            end += u64::from(head.length);
            end <= offset
        });
        self.first_seq + whole.count() as u64
    }

    /// Notes that records below `seq` have been sent to somebody.
    pub(crate) fn mark_shown(&mut self, seq: u64) {
        self.shown = self.shown.max(seq);
    }

    /// Lets go of the records below `seq`, which were acknowledged. What was evicted after them stays missing.
    pub(crate) fn release(&mut self, seq: u64) {
        while self.first_seq < seq && self.pop_oldest().is_some() {
            self.released_offset = self.first_offset;
        }
        self.give_memory_back();
    }

    /// Notes that everything before `offset` was acknowledged, as far as it is here no more: it was evicted
    /// after it had been sent.
    pub(crate) fn mark_read(&mut self, offset: u64) {
        self.released_offset = self.released_offset.max(offset.min(self.first_offset));
    }

    /// Forgets all output, without counting it as dropped, and keeps none from now on.
    pub(crate) fn discard(&mut self) {
        while self.pop_oldest().is_some() {}
        self.released_offset = self.end_offset();
        self.limit = 0;
        self.give_memory_back();
    }

    /// False when there is nothing that may be evicted.
    fn evict_oldest(&mut self) -> bool {
        if self.heads.front().is_none_or(|head| matches!(head.kind, RecordKind::Closed(_))) {
            return false;
        }
        let head = self.pop_oldest();
        self.dropped += head.map_or(0, |head| u64::from(head.length));
        true
    }

    fn pop_oldest(&mut self) -> Option<Head> {
        let head = self.heads.pop_front()?;
        let length = (head.length as usize).min(self.data.len());
        self.data.drain(..length);
        self.first_seq += 1;
        self.first_offset += u64::from(head.length);
        Some(head)
    }

    fn give_memory_back(&mut self) {
        if self.data.is_empty() && self.data.capacity() > KEPT_CAPACITY {
            self.data = Bytes::default();
        }
        if self.heads.is_empty() && self.heads.capacity() > JOIN_FROM {
            self.heads = VecDeque::new();
        }
    }
}

#[cfg(test)]
#[path = "output/tests.rs"]
mod tests;
