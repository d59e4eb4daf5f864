//! Replacement of references in text, pure.
//!
//! `$(circus.NAME)` and `((circus.NAME))` are replaced at load (with the environment) and again at
//! every spawn; `$NAME` only in the values of env sections. Where the values come from is the caller's
//! business.

/// The word every reference starts with, in any case.
const PREFIX: &str = "circus";

/// Replaces every reference whose name `lookup` knows; others stay as they are.
///
/// `lookup` gets the lower-case name without `circus.`, such as `env.path` or `wid`. One pass from
/// left to right: what was inserted is not looked at again.
pub(crate) fn references(text: &str, mut lookup: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['$', '(']) {
        let (before, here) = rest.split_at(at);
        out.push_str(before);
        let found = reference(here);
        let value = found.and_then(|(name, _)| lookup(&plain_name(name)?));
        let end = match (found, &value) {
            (Some((_, end)), _) => end,
            (None, _) => 1, // `$` and `(` are one byte long.
        };
        let (matched, tail) = here.split_at(end);
        out.push_str(value.as_deref().unwrap_or(matched));
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// Reads a reference at the start of the text: its name and its length in bytes.
fn reference(text: &str) -> Option<(&str, usize)> {
    let (inside, closing) = match text.strip_prefix("$(") {
        Some(inside) => (inside, ")"),
        None => (text.strip_prefix("((")?, "))"),
    };
    let word = inside.get(..PREFIX.len())?;
    let name = inside.get(PREFIX.len()..)?.strip_prefix('.')?;
    let end = name.find(|c: char| !is_name_char(c))?;
    if !word.eq_ignore_ascii_case(PREFIX) || end == 0 || !name[end..].starts_with(closing) {
        return None;
    }
    // Two brackets, the word and its dot, the name, the closing brackets.
    Some((&name[..end], 2 + PREFIX.len() + 1 + end + closing.len()))
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// The name to look up: lower case, and without a prefix written twice.
///
/// A name that starts with `circus` and is not a second prefix means nothing.
fn plain_name(name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    if !lower.starts_with(PREFIX) {
        return Some(lower);
    }
    let plain = lower.strip_prefix(PREFIX)?.strip_prefix('.')?;
    (!plain.starts_with(PREFIX)).then(|| plain.to_owned())
}

/// Replaces `$NAME` (an upper-case letter, then those, digits and `_`); unset names become empty.
///
/// `${NAME}`, `$name`, `$1` and `$_` stay; there is no escape.
pub(crate) fn dollar_names(text: &str, mut lookup: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, here) = rest.split_at(at);
        out.push_str(before);
        let after = &here[1..];
        let end = after
            .find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
            .unwrap_or(after.len());
        if after.starts_with(|c: char| c.is_ascii_uppercase()) {
            out.push_str(&lookup(&after[..end]).unwrap_or_default());
            rest = &after[end..];
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// Whether the text holds `$WID`, a form of old configurations that is not replaced.
pub(crate) fn mentions_old_wid(text: &str) -> bool {
    text.contains("$WID")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> Option<String> {
        match name {
            "wid" => Some("7".into()),
            "env.foo" => Some("$(circus.wid)".into()),
            "x-y.z_1" => Some("odd".into()),
            _ => None,
        }
    }

    #[test]
    fn both_forms_in_any_case_are_replaced_once() {
        for (text, expected) in [
            ("a $(circus.wid) ((CIRCUS.Wid)) b", "a 7 7 b"),
            ("$(circus.env.FOO)", "$(circus.wid)"),
            ("$((circus.wid))", "$7"),
            ("$(circus.circus.wid)", "7"),
            ("$(circus.x-Y.z_1)", "odd"),
            ("(((circus.wid)))", "(7)"),
        ] {
            assert_eq!(references(text, known), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_known_stays_as_it_was() {
        for text in [
            "$(circus.nope)",
            "$(circus.)",
            "$(circus.wid",
            "((circus.wid)",
            "$( circus.wid)",
            "$(circus.wid )",
            "$(circuswid)",
            "$(circus.circuswid)",
            "$(circus.circus.circus.wid)",
            "$(circüs.wid)",
            "$",
            "((",
            "$(id) é(",
        ] {
            assert_eq!(references(text, known), text, "{text}");
        }
    }

    #[test]
    fn dollar_names_are_upper_case_and_as_long_as_possible() {
        let lookup = |name: &str| (name == "FOO").then(|| "foo".to_owned());
        for (text, expected) in [
            ("$FOO:/bin", "foo:/bin"),
            ("${FOO} $lower $1 $_ $_X $", "${FOO} $lower $1 $_ $_X $"),
            ("$FOObar$FOO_X", "foobar"),
            ("$$FOO\\$FOO", "$foo\\foo"),
            ("$UNSET!", "!"),
        ] {
            assert_eq!(dollar_names(text, lookup), expected, "{text}");
        }
    }
}
