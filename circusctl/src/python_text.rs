//! Values as Python prints them.
//!
//! Scripts read the output of circusctl 0.17.2, which shows values with `str()` and replies with
//! `json.dumps()`. Both are reproduced here to the byte. Knows nothing about commands.

use serde_json::{Number, Value};
use std::fmt::Write as _;

/// `str(value)`, except that null is the empty text as circusctl 0.17.2 shows it.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        other => text(other),
    }
}

/// `str(value)`.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => repr(other),
    }
}

/// `repr(value)`.
pub fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Number(value) => number(value),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(repr).collect::<Vec<_>>().join(", "))
        }
        Value::Object(keys) => {
            let entries =
                keys.iter().map(|(key, value)| format!("{}: {}", quoted(key), repr(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

/// `json.dumps(value)`: ASCII only, a blank after each `,` and `:`.
pub fn json(value: &Value) -> String {
    let mut out = String::new();
    write_json(&mut out, value, None);
    out
}

/// `json.dumps(value, indent=2, sort_keys=True)`.
pub fn pretty_json(value: &Value) -> String {
    let mut out = String::new();
    write_json(&mut out, value, Some(0));
    out
}

/// A number as both `repr()` and `json.dumps()` print it.
fn number(value: &Number) -> String {
    match value.as_f64() {
        Some(float) if value.is_f64() => float_repr(float),
        _ => value.to_string(),
    }
}

/// `repr(float)`: the shortest digits, an exponent from 1e16 upwards and below 1e-4.
fn float_repr(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 || (1e-4..1e16).contains(&magnitude) {
        return format!("{value:?}");
    }
    // Rust prints `1.5e16`, Python `1.5e+16`, and Python gives the exponent at least two digits.
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text, // Not finite; JSON has no such numbers.
    }
}

/// `repr(str)`.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if printable(c) => out.push(c),
            c => {
                // Writing to a String cannot fail.
                let _ = match u32::from(c) {
                    code @ 0..=0xff => write!(out, "\\x{code:02x}"),
                    code @ 0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    code => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
    out
}

/// `str.isprintable()` of one character.
///
/// Rust's debug output has the same rule, except for a combining mark at the start of a text; hence
/// the letter before it.
fn printable(c: char) -> bool {
    !String::from_iter(['a', c]).escape_debug().skip(1).collect::<String>().starts_with("\\u")
}

/// Appends a value; `indent` is the current depth when each item has a line of its own.
fn write_json(out: &mut String, value: &Value, indent: Option<usize>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(value) => out.push_str(&number(value)),
        Value::String(text) => write_json_text(out, text),
        Value::Array(items) => {
            write_items(out, ['[', ']'], items, indent, |out, item, indent| {
                write_json(out, item, indent);
            });
        }
        Value::Object(keys) => {
            let mut entries: Vec<_> = keys.iter().collect();
            if indent.is_some() {
                entries.sort_by_key(|(key, _)| *key);
            }
            write_items(out, ['{', '}'], &entries, indent, |out, (key, value), indent| {
                write_json_text(out, key);
                out.push_str(": ");
                write_json(out, value, indent);
            });
        }
    }
}

fn write_items<T>(
    out: &mut String,
    [open, close]: [char; 2],
    items: &[T],
    indent: Option<usize>,
    write: impl Fn(&mut String, &T, Option<usize>),
) {
    let inner = indent.map(|depth| depth + 2);
    let new_line = |out: &mut String, indent: Option<usize>| {
        if let Some(depth) = indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', depth));
        }
    };
    out.push(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(if indent.is_some() { "," } else { ", " });
        }
        new_line(out, inner);
        write(out, item, inner);
    }
    if !items.is_empty() {
        new_line(out, indent);
    }
    out.push(close);
}

fn write_json_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='\u{7f}' => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}"); // Writing to a String cannot fail.
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    // The expected texts of this module were printed by Python 3.9.

    #[test]
    fn floats_have_the_shortest_digits_and_a_two_digit_exponent() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (2.0, "2.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e16, "1.5e+16"),
            (1e100, "1e+100"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-1.25e-7, "-1.25e-07"),
            (1785000000.123_456_7, "1785000000.1234567"),
        ] {
            assert_eq!(repr(&json!(value)), expected);
            assert_eq!(json(&json!(value)), expected);
        }
    }

    #[test]
    fn nested_text_is_quoted_as_python_does() {
        for (value, expected) in [
            ("it's", r#""it's""#),
            ("say \"it's\"", r#"'say "it\'s"'"#),
            ("a\\b\n\t\r", r"'a\\b\n\t\r'"),
            ("\u{1b}\u{7f}\u{a0}", r"'\x1b\x7f\xa0'"),
            ("\u{200b}\u{e000}", r"'\u200b\ue000'"),
            ("\u{e0001}", r"'\U000e0001'"),
            ("é\u{301}😀", "'é\u{301}😀'"),
        ] {
            assert_eq!(repr(&json!([value])), format!("[{expected}]"));
        }
    }

    #[test]
    fn top_level_text_is_bare_and_null_is_empty_where_values_are_shown() {
        assert_eq!(shown(&json!("x y")), "x y");
        assert_eq!(shown(&json!(null)), "");
        assert_eq!(text(&json!(null)), "None");
        assert_eq!(shown(&json!({"k": [true, null]})), "{'k': [True, None]}");
    }

    #[test]
    fn json_is_ascii_with_surrogate_pairs() {
        assert_eq!(json(&json!({"é": "😀\u{1}\"\\/"})), r#"{"\u00e9": "\ud83d\ude00\u0001\"\\/"}"#);
    }

    #[test]
    fn pretty_json_sorts_keys_at_every_level_and_keeps_empty_containers_short() {
        let value = json!({"b": {"d": [], "c": {}}, "a": [1, 2]});
        let expected =
            "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {\n    \"c\": {},\n    \"d\": []\n  }\n}";
        assert_eq!(pretty_json(&value), expected);
    }
}
