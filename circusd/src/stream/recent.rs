//! What the processes of one watcher have printed lately, for `tail` and for the last words of a process.
//!
//! A bounded ring of bytes for each wid, filled beside the streams and never read by them: it holds nothing
//! back, waits for nobody, and forgets its oldest bytes. The bytes stay as they were read; whoever shows them
//! puts lines together. A ring outlives its process, so the last words of a crash are there when the next
//! process runs already.

use crate::watcher::wid::Wid;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// Bytes that are kept of each wid: some 200 lines.
const KEPT: usize = 16 * 1024;

/// Pieces that are kept of each wid, for processes that print a byte at a time.
const PIECES: usize = 512;

/// Wids without a process whose rings are kept.
const DEAD: usize = 8;

/// A piece of output, as it was read or what is left of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Grows with every piece of the watcher.
    pub sequence: u64,
    /// The slot of the process.
    pub wid: Wid,
    /// The process.
    pub pid: i32,
    /// When it was read, in seconds since the epoch.
    pub time: f64,
    /// It came over stderr.
    pub is_stderr: bool,
    /// Bytes before these have been forgotten.
    pub cut: bool,
    /// The bytes.
    pub data: Vec<u8>,
}

/// What a reader gets.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// In the order in which it was read.
    pub pieces: Vec<Piece>,
    /// Where to go on.
    pub next: u64,
}

struct Head {
    sequence: u64,
    pid: i32,
    time: f64,
    is_stderr: bool,
    cut: bool,
    length: usize,
}

#[derive(Default)]
struct Ring {
    heads: VecDeque<Head>,
    bytes: VecDeque<u8>,
}

impl Ring {
    fn push(&mut self, mut head: Head, data: &[u8]) {
        let kept = data.get(data.len().saturating_sub(KEPT)..).unwrap_or_default();
        head.cut = kept.len() < data.len();
        head.length = kept.len();
        self.forget((self.bytes.len() + kept.len()).saturating_sub(KEPT));
        self.bytes.extend(kept);
        self.heads.push_back(head);
        if self.heads.len() > PIECES {
            let oldest = self.heads.front().map_or(0, |head| head.length);
            self.forget(oldest);
        }
    }

    /// Drops so many of the oldest bytes.
    fn forget(&mut self, count: usize) {
        self.bytes.drain(..count.min(self.bytes.len()));
        let mut left = count;
        while let Some(front) = self.heads.front_mut() {
            if front.length > left {
                front.length -= left;
                front.cut |= left > 0;
                break;
            }
            left -= front.length;
            self.heads.pop_front();
        }
    }

    fn pieces(&self, wid: Wid) -> impl Iterator<Item = Piece> + '_ {
        let mut start = 0;
        self.heads.iter().map(move |head| {
            let data = self.bytes.range(start..start + head.length).copied().collect();
            start += head.length;
            let Head { sequence, pid, time, is_stderr, cut, .. } = *head;
            Piece { sequence, wid, pid, time, is_stderr, cut, data }
        })
    }
}

struct Rings {
    next: u64,
    /// Bytes that were noted, ever.
    output: u64,
    /// Bytes that were lost before they could be read, ever.
    dropped: u64,
    by_wid: BTreeMap<Wid, Ring>,
}

struct Shared {
    rings: Mutex<Rings>,
    fresh: Notify,
}

/// The recent output of one watcher; clones share it.
#[derive(Clone)]
pub struct RecentOutput {
    shared: Arc<Shared>,
}

/// Notes the output of one process.
#[derive(Clone)]
pub struct Recorder {
    recent: RecentOutput,
    wid: Wid,
    pid: i32,
}

impl Recorder {
    /// Notes a piece of output that was read at `time`, in seconds since the epoch.
    pub fn note(&self, is_stderr: bool, time: f64, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        self.recent.with(|rings| {
            let sequence = rings.next;
            rings.next += 1;
            rings.output += data.len() as u64;
            let head = Head { sequence, pid: self.pid, time, is_stderr, cut: false, length: 0 };
            rings.by_wid.entry(self.wid).or_default().push(head, data);
        });
        self.recent.shared.fresh.notify_waiters();
    }
}

impl Recorder {
    /// Counts output that was lost before it could be read.
    pub fn lost(&self, bytes: u64) {
        self.recent.with(|rings| rings.dropped += bytes);
    }
}

impl Default for RecentOutput {
    fn default() -> Self {
        // A reader that goes on with the numbers of an earlier circusd must not wait for this one to
        // reach them; microseconds since the epoch are always ahead of one number for each piece.
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let next = u64::try_from(epoch.as_micros()).unwrap_or(u64::MAX / 2);
        let rings = Rings { next, output: 0, dropped: 0, by_wid: BTreeMap::new() };
        Self { shared: Arc::new(Shared { rings: Mutex::new(rings), fresh: Notify::new() }) }
    }
}

impl RecentOutput {
    /// Notes for one process.
    pub fn recorder(&self, wid: Wid, pid: i32) -> Recorder {
        Recorder { recent: self.clone(), wid, pid }
    }

    /// Bytes of output that were noted, and bytes that were lost before.
    pub fn totals(&self) -> (u64, u64) {
        self.with(|rings| (rings.output, rings.dropped))
    }

    /// What these wids (all, if there are none) have printed from number `after` on. At most `limit`
    /// bytes: the latest without `after`, else the earliest.
    pub fn read(&self, wids: &[Wid], after: Option<u64>, limit: usize) -> Reading {
        self.with(|rings| {
            let chosen =
                rings.by_wid.iter().filter(|(wid, _)| wids.is_empty() || wids.contains(wid));
            let mut pieces: Vec<Piece> = chosen
                .flat_map(|(wid, ring)| ring.pieces(*wid))
                .filter(|piece| after.is_none_or(|after| piece.sequence >= after))
                .collect();
            pieces.sort_by_key(|piece| piece.sequence);
            let mut next = rings.next;
            let mut size = 0;
            let mut fits = |piece: &Piece| {
                size += piece.data.len();
                size <= limit
            };
            if after.is_some() {
                // The first piece is taken however large it is, so that readers get ahead.
                let count = pieces.iter().take_while(|piece| fits(piece)).count().max(1);
                next = pieces.get(count).map_or(next, |piece| piece.sequence);
                pieces.truncate(count);
            } else {
                let count = pieces.iter().rev().take_while(|piece| fits(piece)).count();
                pieces.drain(..pieces.len() - count);
            }
            Reading { pieces, next }
        })
    }

    /// Waits until there is something from number `after` on.
    pub async fn beyond(&self, wids: &[Wid], after: u64) {
        loop {
            // Made before looking, so that nothing slips through between the two.
            let fresh = self.shared.fresh.notified();
            if self.has(wids, after) {
                return;
            }
            fresh.await;
        }
    }

    fn has(&self, wids: &[Wid], after: u64) -> bool {
        self.with(|rings| {
            let mut chosen =
                rings.by_wid.iter().filter(|(wid, _)| wids.is_empty() || wids.contains(wid));
            chosen.any(|(_, ring)| ring.heads.back().is_some_and(|head| head.sequence >= after))
        })
    }

    /// The last lines that a process has printed, at most `count` of at most `width` characters.
    pub fn last_lines(&self, wid: Wid, pid: i32, count: usize, width: usize) -> Vec<String> {
        let bytes: Vec<u8> = self.with(|rings| {
            let ring = rings.by_wid.get(&wid);
            let pieces = ring.into_iter().flat_map(|ring| ring.pieces(wid));
            pieces.filter(|piece| piece.pid == pid).flat_map(|piece| piece.data).collect()
        });
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(count)..).unwrap_or_default();
        last.iter().map(|line| line.chars().take(width).collect()).collect()
    }

    /// Forgets wids that have no process, but for the few that printed last.
    pub fn prune(&self, live: impl Fn(Wid) -> bool) {
        self.with(|rings| {
            let last = |ring: &Ring| ring.heads.back().map_or(0, |head| head.sequence);
            let dead = rings.by_wid.iter().filter(|(wid, _)| !live(**wid));
            let mut dead: Vec<(u64, Wid)> = dead.map(|(wid, ring)| (last(ring), *wid)).collect();
            dead.sort_unstable_by(|one, other| other.cmp(one));
            for (_, wid) in dead.into_iter().skip(DEAD) {
                rings.by_wid.remove(&wid);
            }
        });
    }

    fn with<T>(&self, action: impl FnOnce(&mut Rings) -> T) -> T {
        // Held for a copy of a few kilobytes, and never while anything is waited for.
        action(&mut self.shared.rings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(reading: &Reading) -> Vec<&[u8]> {
        reading.pieces.iter().map(|piece| piece.data.as_slice()).collect()
    }

    #[test]
    fn a_ring_keeps_the_latest_bytes_and_says_where_it_was_cut() {
        let recent = RecentOutput::default();
        let recorder = recent.recorder(Wid(1), 7);
        recorder.note(false, 1.0, &vec![b'a'; KEPT - 2]);
        recorder.note(true, 2.0, b"bcd");
        let reading = recent.read(&[], None, usize::MAX);
        assert_eq!(data(&reading), [&vec![b'a'; KEPT - 3][..], b"bcd"]);
        assert_eq!(reading.pieces.iter().map(|p| p.cut).collect::<Vec<_>>(), [true, false]);
        recorder.note(false, 3.0, &vec![b'x'; 10 * KEPT]);
        let reading = recent.read(&[], None, usize::MAX);
        assert_eq!(data(&reading), [&vec![b'x'; KEPT][..]]);
        assert!(reading.pieces[0].cut);
    }

    #[test]
    fn many_small_pieces_are_bounded_too() {
        let recent = RecentOutput::default();
        let recorder = recent.recorder(Wid(1), 7);
        for _ in 0..PIECES * 3 {
            recorder.note(false, 1.0, b"x");
        }
        assert_eq!(recent.read(&[], None, usize::MAX).pieces.len(), PIECES);
    }

    #[test]
    fn a_reader_goes_on_where_it_was_and_gets_everything_in_order() {
        let recent = RecentOutput::default();
        let (one, two) = (recent.recorder(Wid(1), 7), recent.recorder(Wid(2), 8));
        one.note(false, 1.0, b"a");
        two.note(false, 2.0, b"b");
        let first = recent.read(&[], None, usize::MAX);
        assert_eq!(data(&first), [b"a", b"b"]);
        two.note(false, 3.0, b"cc");
        one.note(true, 4.0, b"dd");
        let second = recent.read(&[], Some(first.next), 3);
        assert_eq!(data(&second), [b"cc"]);
        let third = recent.read(&[], Some(second.next), 3);
        assert_eq!(data(&third), [b"dd"]);
        assert_eq!(data(&recent.read(&[Wid(1)], None, usize::MAX)), [&b"a"[..], b"dd"]);
        assert_eq!(data(&recent.read(&[], None, 3)), [b"dd"]);
        assert_eq!(recent.read(&[], Some(third.next), 3).pieces, []);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_the_wids_it_waits_for() {
        let recent = RecentOutput::default();
        let (one, two) = (recent.recorder(Wid(1), 7), recent.recorder(Wid(2), 8));
        let after = recent.read(&[], None, 0).next;
        let waiting = tokio::spawn({
            let recent = recent.clone();
            async move { recent.beyond(&[Wid(2)], after).await }
        });
        one.note(false, 1.0, b"not this");
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        two.note(false, 1.0, b"this");
        waiting.await.unwrap();
    }

    #[test]
    fn last_lines_are_those_of_the_process() {
        let recent = RecentOutput::default();
        recent.recorder(Wid(1), 7).note(false, 1.0, b"old\n");
        let recorder = recent.recorder(Wid(1), 8);
        recorder.note(false, 2.0, b"one\ntw");
        recorder.note(true, 2.0, b"o\n\nthree");
        assert_eq!(recent.last_lines(Wid(1), 8, 2, 4), ["two", "thre"]);
    }

    #[test]
    fn rings_of_gone_wids_are_forgotten() {
        let recent = RecentOutput::default();
        for wid in 1..=20 {
            recent.recorder(Wid(wid), 7).note(false, 1.0, b"x");
        }
        recent.prune(|wid| wid == Wid(1));
        let wids: Vec<u32> =
            recent.read(&[], None, usize::MAX).pieces.iter().map(|piece| piece.wid.0).collect();
        assert_eq!(wids, [1, 13, 14, 15, 16, 17, 18, 19, 20]);
    }
}
