//! One request line to its words and back, in either form.

use super::percent::{self, PercentError};

/// How a request was written, and therefore how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Percent-encoded words after a leading `%`.
    Exact,
    /// What papa 1.0.6 understands.
    Classic,
}

/// The line is not made of words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// A word of an exact line is not properly encoded.
    #[error("Bad word in an exact line - {0}")]
    Encoding(#[from] PercentError),
    /// A name or option that must be text is not UTF-8.
    #[error("Names and options must be UTF-8")]
    NotText,
}

/// One word of a request, still as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    form: Form,
    raw: Vec<u8>,
}

impl Form {
    /// The form of a request line, told by its first byte.
    pub fn of_line(line: &[u8]) -> Self {
        if line.first() == Some(&b'%') { Self::Exact } else { Self::Classic }
    }

    /// Appends `bytes` as a word of a request.
    ///
    /// The classic form writes a blank as `\ ` and, like the Python client, turns a newline into a
    /// blank; it is exact only for words without newlines and without white space at the ends.
    pub fn print_word(self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Exact => percent::encode(bytes, out),
            Self::Classic => {
                for &byte in bytes {
                    match byte {
                        b' ' | b'\n' => out.extend(b"\\ "),
                        other => out.push(other),
                    }
                }
            }
        }
    }

    /// The text of a name or value in a row.
    pub fn value_text(self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        self.print_value(bytes, &mut text);
        text
    }

    /// Appends `bytes` as a name or value in a row. Classic rows show a newline as a blank, since
    /// a row is one line.
    pub fn print_value(self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Exact => percent::encode(bytes, out),
            Self::Classic => out.extend(bytes.iter().map(|&b| if b == b'\n' { b' ' } else { b })),
        }
    }
}

impl Word {
    /// The bytes that the word stands for.
    ///
    /// # Errors
    /// When an exact word is not properly encoded.
    pub fn bytes(&self) -> Result<Vec<u8>, LineError> {
        match self.form {
            Form::Exact => Ok(percent::decode(&self.raw)?),
            Form::Classic => Ok(self.raw.clone()),
        }
    }

    /// The bytes, and the offsets of dollar signs that were written `%24`.
    pub(super) fn marked_bytes(&self) -> Result<(Vec<u8>, Vec<usize>), LineError> {
        match self.form {
            Form::Exact => Ok(percent::decode_marking(&self.raw)?),
            Form::Classic => Ok((self.raw.clone(), Vec::new())),
        }
    }

    /// The word as text.
    ///
    /// # Errors
    /// When it is not properly encoded or not UTF-8.
    pub fn text(&self) -> Result<String, LineError> {
        String::from_utf8(self.bytes()?).map_err(|_| LineError::NotText)
    }

    /// Splits `name=value`. In the classic form one pair of double quotes around the value goes.
    pub fn option(&self) -> Option<(Self, Self)> {
        let at = self.raw.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (self.raw.get(..at)?, self.raw.get(at + 1..)?);
        let value = match (self.form, value) {
            (Form::Classic, [b'"', inner @ .., b'"']) => inner,
            (Form::Exact, b"") => b"%", // Unambiguous, so accepted beside the lone `%`.
            (_, value) => value,
        };
        let name = if name.is_empty() && self.form == Form::Exact { b"%" } else { name };
        Some((self.part(name), self.part(value)))
    }

    /// The rest of the word after `prefix`.
    pub(super) fn strip_prefix(&self, prefix: &str) -> Option<Self> {
        let rest = self.raw.strip_prefix(prefix.as_bytes())?;
        let rest = if rest.is_empty() && self.form == Form::Exact { b"%" } else { rest };
        Some(self.part(rest))
    }

    fn part(&self, raw: &[u8]) -> Self {
        Self { form: self.form, raw: raw.to_vec() }
    }
}

/// Splits a request line (without its line feed) into words. No words: a blank line.
pub fn split_line(line: &[u8]) -> (Form, Vec<Word>) {
    match Form::of_line(line) {
        Form::Exact => {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = line.get(1..).unwrap_or_default();
            if line.is_empty() {
                return (Form::Exact, Vec::new());
            }
            let words = line.split(|&byte| byte == b' ');
            (Form::Exact, words.map(|raw| Word { form: Form::Exact, raw: raw.to_vec() }).collect())
        }
        Form::Classic => {
            let words = split_classic(&String::from_utf8_lossy(&without_telnet_commands(line)));
            let word = |text: String| Word { form: Form::Classic, raw: text.into_bytes() };
            (Form::Classic, words.into_iter().map(word).collect())
        }
    }
}

/// White space as the original's string functions see it: Unicode's, and four separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

fn split_classic(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut open: Option<String> = None;
    for piece in line.trim_matches(is_space).split(' ').filter(|piece| !piece.is_empty()) {
        let mut word = open.take().unwrap_or_default();
        if let Some(start) = piece.strip_suffix('\\') {
            word.push_str(start);
            word.push(' ');
            open = Some(word);
        } else {
            word.push_str(piece);
            let word = word.trim_matches(is_space);
            if !word.is_empty() {
                words.push(word.to_owned());
            }
        }
    }
    // A backslash at the end of the line leaves its blank (golden case session/escape).
    words.extend(open);
    words
}

/// Removes what a telnet client says to a telnet server: 0xFF starts a command (RFC 854), and
/// never occurs in UTF-8.
fn without_telnet_commands(line: &[u8]) -> Vec<u8> {
    const IAC: u8 = 0xff;
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != IAC {
            out.push(byte);
            continue;
        }
        match rest.next() {
            Some(0xfb..=0xfe) => drop(rest.next()), // WILL, WONT, DO, DONT and their option.
            Some(0xfa) => {
                // A subnegotiation, up to IAC SE.
                let mut last = 0;
                for byte in rest.by_ref() {
                    if last == IAC && byte == 0xf0 {
                        break;
                    }
                    last = byte;
                }
            }
            Some(IAC) => out.push(IAC),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> Vec<String> {
        split_line(line.as_bytes()).1.iter().map(|word| word.text().unwrap()).collect()
    }

    #[test]
    fn a_backslash_at_the_end_of_a_word_joins_the_next_one() {
        assert_eq!(words("set a b\\ c\r"), ["set", "a", "b c"]);
        assert_eq!(words("set a b\\\\ c"), ["set", "a", "b\\ c"]);
        assert_eq!(words("set a b\\"), ["set", "a", "b "]);
        assert_eq!(words("set a b\\ \\ c"), ["set", "a", "b  c"]);
        assert_eq!(words("set a \\ b"), ["set", "a", "b"]);
        assert_eq!(words("\\"), [" "]);
        assert_eq!(words(" \t "), [""; 0]);
    }

    #[test]
    fn exact_words_keep_everything() {
        assert_eq!(words("%set a % b%20\\ %0a\r"), ["set", "a", "", "b \\", "\n"]);
        assert_eq!(words("%"), [""; 0]);
        let (_, doubled) = split_line(b"%set  a");
        assert_eq!(doubled[1].bytes(), Err(LineError::Encoding(PercentError::NoWord)));
    }

    #[test]
    fn telnet_negotiation_is_skipped() {
        let line = b"\xff\xfb\x1f\xff\xfd\x03get \xff\xf4\xff\xfd\x06a\xff\xfa\x18\0x\xff\xf0b\r";
        let (_, words) = split_line(line);
        assert_eq!(words.iter().map(|w| w.text().unwrap()).collect::<Vec<_>>(), ["get", "ab"]);
    }

    #[test]
    fn one_pair_of_quotes_around_a_value_goes() {
        let value = |line: &str| split_line(line.as_bytes()).1[0].option().unwrap().1.text();
        assert_eq!(value("a=\"b\\\""), Ok("b\\".to_owned()));
        assert_eq!(value("a=\""), Ok("\"".to_owned()));
        assert_eq!(value("a="), Ok(String::new()));
        assert_eq!(value("%a="), Ok(String::new()));
        assert_eq!(value("%a=\"b\""), Ok("\"b\"".to_owned()));
    }

    proptest! {
        #[test]
        fn exact_lines_survive(words in prop::collection::vec(any::<Vec<u8>>(), 1..8)) {
            let mut line = b"%".to_vec();
            for (at, word) in words.iter().enumerate() {
                if at > 0 {
                    line.push(b' ');
                }
                Form::Exact.print_word(word, &mut line);
            }
            let (form, split) = split_line(&line);
            prop_assert_eq!(form, Form::Exact);
            let back: Result<Vec<_>, _> = split.iter().map(Word::bytes).collect();
            prop_assert_eq!(back, Ok(words));
        }

        #[test]
        fn classic_words_without_outer_blanks_survive(
            words in prop::collection::vec("[a-z$()=\"é]([a-z \\\\]{0,6}[a-z\"])?", 1..8)
        ) {
            let mut line = Vec::new();
            for word in &words {
                line.push(b' ');
                Form::Classic.print_word(word.as_bytes(), &mut line);
            }
            // A backslash before a blank is the one thing that the classic form turns around.
            let expected = words.clone();
            prop_assume!(words.iter().all(|word| !word.contains("\\ ")));
            let back: Vec<_> =
                split_line(&line).1.iter().map(|word| word.text().unwrap()).collect();
            prop_assert_eq!(back, expected);
        }

        #[test]
        fn no_line_is_too_strange(line: Vec<u8>) {
            for word in split_line(&line).1 {
                let _ = word.bytes();
                let _ = word.option();
            }
        }
    }
}
