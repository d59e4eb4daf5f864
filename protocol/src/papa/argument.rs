//! One argument of a hosted process, with its references to managed sockets.

use super::line::{Form, LineError, Word};
use super::percent;

/// One argument of a hosted process: its bytes, and which `$(` in it stand for themselves.
///
/// A `$(socket.NAME.fileno)` or `$(socket.NAME.port)` that is not guarded is replaced by the
/// kernel when the process starts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Argument {
    text: Vec<u8>,
    /// Offsets of dollar signs that start no reference, ascending.
    guarded: Vec<usize>,
}

/// A part of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes that stand for themselves.
    Text(&'a [u8]),
    /// What stands between `$(socket.` and `)`.
    Reference(&'a [u8]),
    /// A reference without its closing parenthesis.
    Unclosed,
}

/// What of a managed socket an argument refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfSocket {
    /// Its port.
    Port,
    /// The number of its descriptor in the process.
    Fileno,
}

/// A reference cannot be replaced. The texts are those of papa 1.0.6.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It names no part of the socket.
    #[error("You forgot to specify either \".port\" or \".fileno\" after the name")]
    WhatOfSocket,
    /// It does not end.
    #[error("Process for {0} argument starts with \"$(socket.\" but has no closing parenthesis")]
    Unclosed(String),
}

/// How a reference to a managed socket begins.
const REFERENCE: &[u8] = b"$(socket.";

impl Argument {
    /// An argument in which nothing is replaced.
    pub fn literal(text: impl Into<Vec<u8>>) -> Self {
        let text = text.into();
        let guarded = references(&text).collect();
        Self { text, guarded }
    }

    /// The bytes, references still in place.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The argument cut at its references, in order.
    pub fn pieces(&self) -> Vec<Piece<'_>> {
        let starts: Vec<usize> =
            references(&self.text).filter(|at| !self.guarded.contains(at)).collect();
        let part = |from: usize, to: usize| self.text.get(from..to).unwrap_or_default();
        let mut pieces =
            vec![Piece::Text(part(0, starts.first().copied().unwrap_or(self.text.len())))];
        for (index, &start) in starts.iter().enumerate() {
            let end = starts.get(index + 1).copied().unwrap_or(self.text.len());
            let inner = part(start + REFERENCE.len(), end);
            match inner.iter().position(|&byte| byte == b')') {
                Some(close) => {
                    pieces.push(Piece::Reference(inner.get(..close).unwrap_or_default()));
                    pieces.push(Piece::Text(inner.get(close + 1..).unwrap_or_default()));
                }
                None => pieces.push(Piece::Unclosed),
            }
        }
        pieces
    }

    /// The bytes for the process of this name, each reference replaced by what `look_up` gives for the name
    /// of its socket.
    ///
    /// # Errors
    /// [`ReferenceError`], or that of `look_up`.
    pub fn expand<E: From<ReferenceError>>(
        &self,
        process: &str,
        mut look_up: impl FnMut(&str, OfSocket) -> Result<String, E>,
    ) -> Result<Vec<u8>, E> {
        let mut text = Vec::new();
        for piece in self.pieces() {
            match piece {
                Piece::Text(part) => text.extend(part),
                Piece::Unclosed => return Err(ReferenceError::Unclosed(process.to_owned()).into()),
                Piece::Reference(inner) => {
                    let inner = String::from_utf8_lossy(inner);
                    let (name, what) = match inner.rsplit_once('.') {
                        Some((name, "port")) => (name, OfSocket::Port),
                        Some((name, "fileno")) => (name, OfSocket::Fileno),
                        _ => return Err(ReferenceError::WhatOfSocket.into()),
                    };
                    text.extend(look_up(name, what)?.bytes());
                }
            }
        }
        Ok(text)
    }

    /// Reads a word of a request. The classic form replaces only the first reference of a word.
    pub(super) fn parse(word: &Word, form: Form) -> Result<Self, LineError> {
        let (text, dollars) = word.marked_bytes()?;
        let guarded = match form {
            Form::Exact => references(&text).filter(|at| dollars.contains(at)).collect(),
            Form::Classic => references(&text).skip(1).collect(),
        };
        Ok(Self { text, guarded })
    }

    pub(super) fn print(&self, form: Form, first: bool, out: &mut Vec<u8>) {
        match form {
            Form::Exact => percent::encode_with(&self.text, out, |at, byte| {
                self.guarded.contains(&at) || (first && byte == b'=')
            }),
            Form::Classic => form.print_word(&self.text, out),
        }
    }
}

impl<T: Into<Vec<u8>>> From<T> for Argument {
    /// An argument in which references to sockets are replaced.
    fn from(text: T) -> Self {
        Self { text: text.into(), guarded: Vec::new() }
    }
}

fn references(text: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let matches = move |&at: &usize| text.get(at..).is_some_and(|rest| rest.starts_with(REFERENCE));
    (0..text.len()).filter(matches)
}

#[cfg(test)]
mod tests {
    use super::super::line::split_line;
    use super::*;

    fn parsed(line: &str) -> Argument {
        let (form, words) = split_line(line.as_bytes());
        Argument::parse(&words[0], form).unwrap()
    }

    #[test]
    fn classic_words_replace_their_first_reference_only() {
        let argument = parsed("a$(socket.k.port)b$(socket.k.port)");
        let expected =
            [Piece::Text(b"a"), Piece::Reference(b"k.port"), Piece::Text(b"b$(socket.k.port)")];
        assert_eq!(argument.pieces(), expected);
    }

    #[test]
    fn exact_words_replace_all_references_that_are_not_escaped() {
        let argument = parsed("%$(socket.k.port)%24(socket.k.port)$(socket.u.fileno)");
        let expected = [
            Piece::Text(b""),
            Piece::Reference(b"k.port"),
            Piece::Text(b"$(socket.k.port)"),
            Piece::Reference(b"u.fileno"),
            Piece::Text(b""),
        ];
        assert_eq!(argument.pieces(), expected);
        assert_eq!(argument.text(), b"$(socket.k.port)$(socket.k.port)$(socket.u.fileno)");
        let mut printed = b"%".to_vec();
        argument.print(Form::Exact, true, &mut printed);
        assert_eq!(parsed(&String::from_utf8(printed).unwrap()), argument);
    }

    #[test]
    fn a_reference_needs_its_parenthesis() {
        assert_eq!(parsed("x$(socket.k").pieces(), [Piece::Text(b"x"), Piece::Unclosed]);
        assert_eq!(Argument::literal("$(socket.k").pieces(), [Piece::Text(b"$(socket.k")]);
    }
}
