//! Percent encoding of one word of the exact form.

/// The word is not valid percent encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PercentError {
    /// A `%` is not followed by two hexadecimal digits.
    #[error("`%` is not followed by two hexadecimal digits")]
    BadEscape,
    /// A byte that must be written `%XX` stands in the word as itself.
    #[error("byte 0x{0:02x} must be written %{0:02X}")]
    BareByte(u8),
    /// Two separators in a row, or one at the end; an empty word is written `%`.
    #[error("a word is missing between two spaces; an empty word is written `%`")]
    NoWord,
}

/// Appends `bytes` as one word. An empty word becomes a lone `%`.
///
/// A leading `>` or `]` is escaped as well, so that no line of an exact answer can be mistaken
/// for a prompt.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    encode_with(bytes, out, |_, _| false);
}

/// As [`encode`], with a say about which further bytes are escaped (offset and byte).
pub(super) fn encode_with(bytes: &[u8], out: &mut Vec<u8>, also: impl Fn(usize, u8) -> bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if bytes.is_empty() {
        out.push(b'%');
    }
    for (at, &byte) in bytes.iter().enumerate() {
        let plain = (0x21..=0x7e).contains(&byte) && byte != b'%';
        let prompt = at == 0 && matches!(byte, b'>' | b']');
        if plain && !prompt && !also(at, byte) {
            out.push(byte);
        } else {
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
            out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// Decodes one word.
///
/// # Errors
/// [`PercentError`] when the word could not have come from [`encode`] or an equivalent writer.
pub fn decode(word: &[u8]) -> Result<Vec<u8>, PercentError> {
    decode_marking(word).map(|(bytes, _)| bytes)
}

/// Decodes one word and says at which offsets of the result an escaped `$` stands.
pub(super) fn decode_marking(word: &[u8]) -> Result<(Vec<u8>, Vec<usize>), PercentError> {
    match word {
        b"" => return Err(PercentError::NoWord),
        b"%" => return Ok((Vec::new(), Vec::new())),
        _ => {}
    }
    let mut bytes = Vec::with_capacity(word.len());
    let mut dollars = Vec::new();
    let mut rest = word.iter().copied();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut nibble = || {
                    let digit = rest.next().and_then(|digit| char::from(digit).to_digit(16));
                    digit.and_then(|digit| u8::try_from(digit).ok()).ok_or(PercentError::BadEscape)
                };
                let value = nibble()? << 4 | nibble()?;
                if value == b'$' {
                    dollars.push(bytes.len());
                }
                bytes.push(value);
            }
            0x21..=0x7e => bytes.push(byte),
            other => return Err(PercentError::BareByte(other)),
        }
    }
    Ok((bytes, dollars))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        encode(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_what_must_be_is_escaped() {
        assert_eq!(encoded(b"a=b$(c)\\\""), "a=b$(c)\\\"");
        assert_eq!(encoded(b"a b\n%"), "a%20b%0A%25");
        assert_eq!(encoded(b""), "%");
        assert_eq!(encoded(b">x>"), "%3Ex>");
    }

    #[test]
    fn rubbish_is_refused() {
        assert_eq!(decode(b"%4"), Err(PercentError::BadEscape));
        assert_eq!(decode(b"a%zz"), Err(PercentError::BadEscape));
        assert_eq!(decode(b"a\tb"), Err(PercentError::BareByte(9)));
        assert_eq!(decode(b""), Err(PercentError::NoWord));
    }

    proptest! {
        #[test]
        fn every_word_survives(bytes: Vec<u8>) {
            let mut out = Vec::new();
            encode(&bytes, &mut out);
            prop_assert_eq!(decode(&out), Ok(bytes));
        }
    }
}
