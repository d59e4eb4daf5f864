//! Formatted output, and where it may be cut.

/// A place where output may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The end of the piece in the text.
    pub end: usize,
    /// The offset in the output of the process up to which the text holds everything by then.
    pub mark: u64,
}

/// Bytes as they go to a file, in pieces: lines, or what came at once.
#[derive(Debug, Default)]
pub struct Text {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// In ascending order; the last one ends with the bytes.
    pub pieces: Vec<Piece>,
}

impl Text {
    /// What has been appended since the last piece is a piece.
    pub fn end_piece(&mut self, mark: u64) {
        if self.bytes.len() > self.end() {
            self.pieces.push(Piece { end: self.bytes.len(), mark });
        }
    }

    /// What has been appended since the last piece belongs to it.
    pub fn extend_piece(&mut self) {
        let end = self.bytes.len();
        match self.pieces.last_mut() {
            Some(piece) => piece.end = end,
            None => self.end_piece(0),
        }
    }

    /// The end of the last piece.
    fn end(&self) -> usize {
        self.pieces.last().map_or(0, |piece| piece.end)
    }
}
