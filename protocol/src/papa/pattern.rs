//! Which names a request selects.

/// A name, or the beginning of names with a `*` after it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(pub String);

impl Pattern {
    /// Whether the pattern can name several things.
    pub fn is_wildcard(&self) -> bool {
        self.0.ends_with('*')
    }

    /// Whether `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == self.0,
        }
    }
}

/// Whether the patterns select `name`. No patterns select everything.
pub fn selected(patterns: &[Pattern], name: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name))
}

/// The first pattern that is a plain name and names nothing.
pub fn first_missing(patterns: &[Pattern], exists: impl Fn(&str) -> bool) -> Option<&str> {
    let missing = patterns.iter().find(|pattern| !pattern.is_wildcard() && !exists(&pattern.0));
    missing.map(|pattern| pattern.0.as_str())
}
