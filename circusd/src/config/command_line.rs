//! From the text of `cmd` and `args` to words and back, like Python's `shlex` in POSIX mode.

/// A command text that cannot be split into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A quote is opened and not closed.
    #[error("no closing quotation")]
    NoClosingQuotation,
    /// The text ends with a backslash.
    #[error("no escaped character")]
    NoEscapedCharacter,
}

/// Splits a text into words.
///
/// Blanks, tabs and line ends separate. Single quotes keep everything, double quotes everything but
/// `\"` and `\\`; elsewhere a backslash keeps the next character. There are no comments, operators,
/// variables or patterns.
///
/// # Errors
/// [`SplitError`] when a quote or an escape is not finished.
pub fn split(text: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(SplitError::NoClosingQuotation)? {
                        '\'' => break,
                        inside => word.push(inside),
                    }
                }
            }
            '"' => read_double_quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => {
                let escaped = chars.next().ok_or(SplitError::NoEscapedCharacter)?;
                word.get_or_insert_default().push(escaped);
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn read_double_quoted(
    chars: &mut std::str::Chars<'_>,
    word: &mut String,
) -> Result<(), SplitError> {
    loop {
        match chars.next().ok_or(SplitError::NoClosingQuotation)? {
            '"' => return Ok(()),
            '\\' => match chars.next().ok_or(SplitError::NoEscapedCharacter)? {
                escaped @ ('"' | '\\') => word.push(escaped),
                other => word.extend(['\\', other]),
            },
            inside => word.push(inside),
        }
    }
}

/// Quotes a word so that a shell takes it literally; harmless words stay as they are.
pub fn quote(word: &str) -> String {
    let is_harmless = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(is_harmless) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\"'\"'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_split_like_shlex() {
        for (text, expected) in [
            ("a 'b c' \"d e\" f\\ g", vec!["a", "b c", "d e", "f g"]),
            ("\"g\\\"h\" 'i'j\"k\" ''", vec!["g\"h", "ijk", ""]),
            ("\\n \\\\ \"\\n\" # ; | &&", vec!["n", "\\", "\\n", "#", ";", "|", "&&"]),
            ("x\u{a0}y", vec!["x\u{a0}y"]),
            (" \t\r\n", vec![]),
        ] {
            assert_eq!(
                split(text),
                Ok(expected.into_iter().map(str::to_owned).collect()),
                "{text}"
            );
        }
    }

    #[test]
    fn unfinished_text_is_an_error() {
        for text in ["'a", "\"a", "a\"b"] {
            assert_eq!(split(text), Err(SplitError::NoClosingQuotation), "{text}");
        }
        for text in ["a\\", "\"a\\"] {
            assert_eq!(split(text), Err(SplitError::NoEscapedCharacter), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_quoted_word_splits_back_into_itself(word in ".*") {
            prop_assert_eq!(split(&quote(&word)), Ok(vec![word]));
        }
    }
}
