//! Which watchers a name, a shell pattern or a regular expression means.

use crate::watcher::handle::WatcherHandle;
use protocol::circus::command::{MatchMethod, Selection};
use protocol::circus::errno::Errno;
use protocol::circus::event::topic_name;
use protocol::circus::response::Failure;
use regex::{Regex, RegexBuilder};

/// The largest compiled pattern, in bytes; a client cannot make the daemon compile a monster.
const MAX_PATTERN: usize = 256 * 1024;

/// The watchers that the selection means, in the order given.
///
/// # Errors
/// errno 3 when none matches or the pattern cannot be read.
pub fn select(
    watchers: &[WatcherHandle],
    selection: &Selection,
) -> Result<Vec<WatcherHandle>, Failure> {
    let (name, method) = match selection {
        Selection::All => return Ok(watchers.to_vec()),
        Selection::Named { name, method } => (name, *method),
    };
    let matcher = Matcher::new(name, method)?;
    let mut found: Vec<WatcherHandle> = watchers
        .iter()
        .filter(|watcher| matcher.matches(&watcher.identity().key))
        .cloned()
        .collect();
    if found.is_empty() {
        // Clients that only see events know a watcher by the name in its topics.
        let carries = |watcher: &&WatcherHandle| topic_name(&watcher.identity().name) == *name;
        found.extend(watchers.iter().find(carries).cloned());
    }
    if found.is_empty() { Err(Failure::not_found(name)) } else { Ok(found) }
}

enum Matcher {
    Exact(String),
    Pattern(Regex),
}

impl Matcher {
    fn new(name: &str, method: MatchMethod) -> Result<Self, Failure> {
        let pattern = match method {
            MatchMethod::Simple => return Ok(Self::Exact(name.to_lowercase())),
            MatchMethod::Glob => format!("(?s)^(?:{})$", glob(name)),
            // Anchored at the start only, as in the original.
            MatchMethod::Regex => format!("^(?:{name})"),
        };
        let bad = |error: regex::Error| {
            // The lines before the last one show the pattern, with what was put around it.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Failure::new(Errno::Message, format!("pattern {name} cannot be read: {reason}"))
        };
        // Not in lower case like the names: that would make another class of a `\D`.
        let mut builder = RegexBuilder::new(&pattern);
        let built = builder.case_insensitive(true).size_limit(MAX_PATTERN).build();
        built.map(Self::Pattern).map_err(bad)
    }

    fn matches(&self, key: &str) -> bool {
        match self {
            Self::Exact(name) => name == key,
            Self::Pattern(regex) => regex.is_match(key),
        }
    }
}

/// A shell pattern (`*`, `?`, `[seq]`, `[!seq]`) as a regular expression.
fn glob(pattern: &str) -> String {
    let mut regex = String::new();
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        match character {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => match class(rest.as_str()) {
                Some((text, length)) => {
                    regex.push_str(&text);
                    rest = rest.as_str().get(length..).unwrap_or_default().chars();
                }
                None => regex.push_str("\\["),
            },
            other => regex.push_str(&regex::escape(&other.to_string())),
        }
    }
    regex
}

/// The class that begins after a `[`, and how many bytes of `rest` it takes. None when it is not closed.
fn class(rest: &str) -> Option<(String, usize)> {
    let negated = rest.starts_with('!');
    let body = if negated { rest.get(1..)? } else { rest };
    // A `]` directly after the opening is a member.
    let first = body.chars().next()?.len_utf8();
    let end = first + body.get(first..)?.find(']')?;
    let members = body.get(..end)?;
    let mut text = String::from(if negated { "[^" } else { "[" });
    for member in members.chars() {
        if matches!(member, '\\' | '[' | ']' | '^' | '&' | '~') {
            text.push('\\');
        }
        text.push(member);
    }
    text.push(']');
    Some((text, usize::from(negated) + end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, method: MatchMethod, key: &str) -> bool {
        Matcher::new(pattern, method).unwrap().matches(key)
    }

    #[test]
    fn globs_match_the_whole_name() {
        let glob = |pattern, key| matches(pattern, MatchMethod::Glob, key);
        assert!(glob("web*", "web-1"));
        assert!(glob("WEB-?", "web-1"));
        assert!(!glob("web", "web-1"));
        assert!(glob("[ab]x", "bx"));
        assert!(glob("[!ab]x", "cx"));
        assert!(!glob("[!ab]x", "ax"));
        assert!(glob("a.b", "a.b"));
        assert!(!glob("a.b", "axb"));
        assert!(glob("x[", "x["));
        assert!(glob("[]]", "]"));
    }

    #[test]
    fn regexes_are_anchored_at_the_start() {
        assert!(matches("web", MatchMethod::Regex, "web-1"));
        assert!(!matches("eb", MatchMethod::Regex, "web-1"));
        assert!(matches("a|b", MatchMethod::Regex, "bx"));
        assert!(matches("WEB", MatchMethod::Regex, "web-1"), "case does not matter");
        assert!(matches("web\\D", MatchMethod::Regex, "web-1"), "but in classes");
        assert!(!matches("web\\D", MatchMethod::Regex, "web1"));
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_an_error() {
        let failure = Matcher::new("(", MatchMethod::Regex).err().expect("it is not closed");
        assert_eq!(failure.reason, "pattern ( cannot be read: unclosed group");
        assert!(Matcher::new("a{100000}{100000}", MatchMethod::Regex).is_err());
    }
}
