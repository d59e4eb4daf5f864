//! The `args` of a handler: a Python tuple of texts, numbers, names and tuples, such as
//! `(('localhost', 514), handlers.SysLogHandler.LOG_USER)`.

use serde_json::{Value, json};

/// One element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Literal {
    Text(String),
    Number(i64),
    Name(String),
    Tuple(Vec<Literal>),
}

impl Literal {
    /// A text, or a name as it is written.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Name(text) => Some(text),
            Self::Number(_) | Self::Tuple(_) => None,
        }
    }

    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::Text(text) | Self::Name(text) => json!(text),
            Self::Number(number) => json!(number),
            Self::Tuple(items) => items.iter().map(Self::to_value).collect(),
        }
    }
}

/// Reads a whole tuple.
pub(super) fn tuple(text: &str) -> Option<Vec<Literal>> {
    match literal(text.trim(), 0)? {
        (Literal::Tuple(items), rest) if rest.trim().is_empty() => Some(items),
        _ => None,
    }
}

/// Tuples in tuples that are followed; an address is two deep.
const DEEPEST: u32 = 8;

fn literal(text: &str, depth: u32) -> Option<(Literal, &str)> {
    let first = text.chars().next()?;
    match first {
        '(' if depth < DEEPEST => items(&text[1..], depth + 1),
        '\'' | '"' => {
            let (inside, rest) = text[1..].split_once(first)?;
            // Nobody escapes in a file name; what looks like it is better refused than misread.
            (!inside.contains('\\')).then(|| (Literal::Text(inside.to_owned()), rest))
        }
        _ => {
            let end = text
                .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '-')))
                .unwrap_or(text.len());
            let (word, rest) = text.split_at(end);
            if word.is_empty() {
                return None;
            }
            let found =
                word.parse().map_or_else(|_| Literal::Name(word.to_owned()), Literal::Number);
            Some((found, rest))
        }
    }
}

fn items(mut text: &str, depth: u32) -> Option<(Literal, &str)> {
    let mut found = Vec::new();
    loop {
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix(')') {
            return Some((Literal::Tuple(found), rest));
        }
        let (item, rest) = literal(text, depth)?;
        found.push(item);
        let rest = rest.trim_start();
        text = rest.strip_prefix(',').unwrap_or(rest);
        if text.len() == rest.len() && !rest.starts_with(')') {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tuples_are_read() {
        assert_eq!(tuple("()"), Some(vec![]));
        assert_eq!(tuple("(sys.stdout,)"), Some(vec![Literal::Name("sys.stdout".into())]));
        let pair = vec![Literal::Text("a b".into()), Literal::Number(514)];
        assert_eq!(
            tuple(" (('a b', 514), \"x\") "),
            Some(vec![Literal::Tuple(pair), Literal::Text("x".into())])
        );
        for bad in ["", "x", "(", "('a'", "('a' 'b')", "(,)", "(1) 2", "(f(1),)", "('a\\n',)"] {
            assert_eq!(tuple(bad), None, "{bad}");
        }
        assert_eq!(tuple(&"(".repeat(100_000)), None);
    }
}
