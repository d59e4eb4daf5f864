//! Request lines out of what arrives in pieces.

/// Bytes that have arrived, of which the first have been taken as lines.
#[derive(Debug, Default)]
pub struct RequestLines {
    bytes: Vec<u8>,
    /// Bytes before this have been taken.
    taken: usize,
    /// No line feed between `taken` and this.
    searched: usize,
}

impl RequestLines {
    /// What has not been taken.
    pub fn rest(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    /// The memory that is held.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes that can arrive before more memory is needed.
    pub fn room(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Takes memory for so many bytes more, and not for twice what there is, as a vector would.
    pub fn reserve(&mut self, more: usize) {
        self.bytes.reserve_exact(more);
    }

    /// Appends what has arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Length of the next line, if all of it is there.
    pub fn next_length(&mut self) -> Option<usize> {
        let rest = self.bytes.get(self.searched..).unwrap_or_default();
        let found = rest.iter().position(|&byte| byte == b'\n');
        self.searched = found.map_or(self.bytes.len(), |at| self.searched + at);
        found.map(|_| self.searched - self.taken)
    }

    /// Whether a whole line waits.
    pub fn has_line(&self) -> bool {
        self.bytes.get(self.searched..).unwrap_or_default().contains(&b'\n')
    }

    /// The next whole line, without its line feed. What was taken before it is forgotten when there is none;
    /// memory beyond `kept` bytes is given back when nothing is left.
    pub fn take_line(&mut self, kept: usize) -> Option<Vec<u8>> {
        let Some(length) = self.next_length() else {
            self.bytes.drain(..self.taken);
            self.searched -= self.taken;
            self.taken = 0;
            if self.bytes.is_empty() && self.bytes.capacity() > kept {
                self.bytes = Vec::new();
            }
            return None;
        };
        let line = self.rest().get(..length).map(<[u8]>::to_vec);
        self.taken += length + 1;
        self.searched = self.taken;
        line
    }
}

impl From<Vec<u8>> for RequestLines {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_come_whole_however_they_arrive(
            pieces in prop::collection::vec("[a\n]{0,5}", 0..20),
            looks in prop::collection::vec(any::<bool>(), 20),
        ) {
            let mut lines = RequestLines::default();
            let mut found = Vec::new();
            for (piece, look) in pieces.iter().zip(looks) {
                lines.feed(piece.as_bytes());
                prop_assert_eq!(lines.has_line(), lines.rest().contains(&b'\n'));
                if look {
                    let length = lines.next_length();
                    let line = lines.take_line(0);
                    prop_assert_eq!(length, line.as_ref().map(Vec::len));
                    found.extend(line);
                }
            }
            while let Some(line) = lines.take_line(0) {
                found.push(line);
            }
            let all = pieces.concat();
            let mut expected: Vec<_> = all.split('\n').map(|line| line.as_bytes().to_vec()).collect();
            let rest = expected.pop().unwrap();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(lines.rest(), &rest[..]);
            if rest.is_empty() {
                prop_assert_eq!(lines.capacity(), 0);
            }
        }
    }
}
