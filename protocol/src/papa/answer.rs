//! What a client says to a block: the lines after `watch` and `follow`.

use super::percent;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Releases the block.
    Acknowledge,
    /// Releases the block and stops.
    Stop,
    /// Releases the records that end at or before this offset in the output of the process, and keeps a
    /// note beside it in place of the last one (exact form only).
    AcknowledgeUpTo(u64, Vec<u8>),
    /// Keeps a note beside the process. The block is not answered yet (exact form only).
    Note(Vec<u8>),
}

/// A line begins like an exact answer and is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Bad answer - \"%ack OFFSET NOTE\" or \"%note NOTE\" was expected")]
pub struct BadAnswer;

impl Answer {
    /// Reads a line without its line feed. `exact`: the stream was asked for in exact form; otherwise any
    /// text acknowledges.
    ///
    /// # Errors
    /// [`BadAnswer`]: nothing may be released for it.
    pub fn parse(exact: bool, line: &[u8]) -> Result<Self, BadAnswer> {
        let line = line.trim_ascii();
        if let Some(words) = line.strip_prefix(b"%").filter(|_| exact) {
            let mut words = words.split(|byte| *byte == b' ');
            let mut next = || words.next().ok_or(BadAnswer);
            let answer = match next()? {
                b"note" => Self::Note(note(next()?)?),
                b"ack" => {
                    let offset =
                        std::str::from_utf8(next()?).ok().and_then(|text| text.parse().ok());
                    Self::AcknowledgeUpTo(offset.ok_or(BadAnswer)?, note(next()?)?)
                }
                _ => return Err(BadAnswer),
            };
            return if words.next().is_none() { Ok(answer) } else { Err(BadAnswer) };
        }
        let stops = line.first().is_some_and(|byte| matches!(byte, b'q' | b'Q'));
        Ok(if stops { Self::Stop } else { Self::Acknowledge })
    }

    /// Appends the line with its line feed.
    pub fn print(&self, out: &mut Vec<u8>) {
        match self {
            Self::Acknowledge => {}
            Self::Stop => out.push(b'q'),
            Self::AcknowledgeUpTo(offset, note) => {
                out.extend(format!("%ack {offset} ").bytes());
                percent::encode(note, out);
            }
            Self::Note(note) => {
                out.extend(b"%note ");
                percent::encode(note, out);
            }
        }
        out.push(b'\n');
    }
}

fn note(word: &[u8]) -> Result<Vec<u8>, BadAnswer> {
    percent::decode(word).map_err(|_| BadAnswer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn answers_survive(offset: u64, note: Vec<u8>) {
            let all = [
                Answer::Acknowledge,
                Answer::Stop,
                Answer::AcknowledgeUpTo(offset, note.clone()),
                Answer::Note(note),
            ];
            for answer in all {
                let mut line = Vec::new();
                answer.print(&mut line);
                prop_assert_eq!(line.pop(), Some(b'\n'));
                prop_assert!(!line.contains(&b'\n'));
                prop_assert_eq!(Answer::parse(true, &line), Ok(answer));
            }
        }

        #[test]
        fn no_line_is_too_strange(line: Vec<u8>) {
            let _ = Answer::parse(true, &line);
        }
    }

    #[test]
    fn in_a_classic_stream_any_text_acknowledges() {
        for line in ["", "ok", "%ack 7 x", "%note x", "%"] {
            assert_eq!(Answer::parse(false, line.as_bytes()), Ok(Answer::Acknowledge), "{line}");
        }
        assert_eq!(Answer::parse(false, b" Quit\r"), Ok(Answer::Stop));
    }

    #[test]
    fn what_is_no_answer_releases_nothing() {
        for line in
            ["%", "%ack", "%ack x y", "%ack 1", "%ack -1 x", "%note", "%note a b", "%note %zz"]
        {
            assert_eq!(Answer::parse(true, line.as_bytes()), Err(BadAnswer), "{line}");
        }
    }
}
