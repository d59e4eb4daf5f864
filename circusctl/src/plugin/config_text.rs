//! The options of a plugin on a command line: `key:value` joined by `:::`, as the original has it, or a JSON
//! object of texts for what that cannot carry.
//!
//! The original's reader splits at every `:::`, then at the first `:`, and strips blanks from both sides.

use serde_json::Value;
use std::collections::BTreeMap;

const BETWEEN: &str = ":::";

/// The text for these options: the original's form where its reader gives the same back, else JSON.
pub fn encode<'a>(options: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let options: BTreeMap<&str, &str> = options.into_iter().collect();
    let items: Vec<_> = options.iter().map(|(key, value)| format!("{key}:{value}")).collect();
    let plain = items.join(BETWEEN);
    let read = decode_plain(&plain);
    let same = read.len() == options.len()
        && read.iter().all(|(key, value)| options.get(key.as_str()) == Some(&value.as_str()));
    // A text that looks like JSON would be taken for it.
    if same && !is_json(&plain) {
        return plain;
    }
    let object = options.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value)));
    Value::Object(object.collect()).to_string()
}

/// Whether the text is in the form that the original cannot read.
pub fn is_json(text: &str) -> bool {
    text.starts_with('{')
}

/// The options in a text of either form.
///
/// # Errors
/// What is wrong with the JSON.
pub fn decode(text: &str) -> Result<BTreeMap<String, String>, String> {
    if !is_json(text) {
        return Ok(decode_plain(text));
    }
    serde_json::from_str(text).map_err(|error| format!("is no JSON object of texts: {error}"))
}

/// An item without `:` is dropped, as in the original.
fn decode_plain(text: &str) -> BTreeMap<String, String> {
    let items = text.split(BETWEEN).filter_map(|item| item.split_once(':'));
    items.map(|(key, value)| (strip(key), strip(value))).collect()
}

/// Python's `strip`, to which some control characters are blanks.
fn strip(text: &str) -> String {
    let blank = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
    text.trim_matches(blank).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(options: &[(&str, &str)]) -> String {
        let text = encode(options.iter().copied());
        let read = decode(&text).expect("ours");
        let expected: BTreeMap<_, _> =
            options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!(read, expected, "{text}");
        text
    }

    #[test]
    fn options_are_sorted_and_in_the_form_of_the_original() {
        let options = [("port", "8125"), ("name", "plugin:fs"), ("at", "10:20"), ("with", "")];
        assert_eq!(there_and_back(&options), "at:10:20:::name:plugin:fs:::port:8125:::with:");
    }

    #[test]
    fn blanks_and_quotes_survive_and_what_would_be_cut_is_json() {
        assert_eq!(there_and_back(&[("a", "it's \"1\" 2")]), "a:it's \"1\" 2");
        for value in ["1:::2", " x", "x ", "x:", ":x", "\u{a0}x", "\u{1f}x", "a:::", "::::"] {
            there_and_back(&[("a", value), ("b", "y"), ("c", "")]);
            there_and_back(&[("a", ""), ("b", value)]);
        }
        assert_eq!(there_and_back(&[("a", "1:::b:2")]), r#"{"a":"1:::b:2"}"#);
        there_and_back(&[("{a", "x")]);
        there_and_back(&[("a:b", "x")]);
        assert_eq!(there_and_back(&[]), "");
    }

    #[test]
    fn what_makes_no_sense_is_dropped_or_refused() {
        assert_eq!(decode("x:::a:1:::").expect("plain").len(), 1);
        assert!(decode("{").is_err());
        assert!(decode(r#"{"a": 1}"#).is_err());
    }
}
