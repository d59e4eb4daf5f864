//! Regular expressions of Python, as options have them.
//!
//! `fancy-regex` knows what Python's `re` knows, look-around above all: `^(?!plugin:)` is how all watchers but
//! some are named. It gives up on an expression that would take for ever, which is then taken as not fitting.

use fancy_regex::Regex;

/// A regular expression that fits at the start of a text, as `re.match` has it.
#[derive(Debug, Clone)]
pub struct PythonRegex(Regex);

impl PythonRegex {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        Regex::new(text)
            .map(Self)
            .map_err(|error| format!("not a regular expression of Python; {error}"))
    }

    /// Whether it fits at the start of this text.
    pub fn is_match(&self, text: &str) -> bool {
        // If any place fits, the leftmost one is found.
        self.0.find(text).ok().flatten().is_some_and(|found| found.start() == 0)
    }

    /// Whether it has a group of this name.
    pub fn has_group(&self, name: &str) -> bool {
        self.0.capture_names().flatten().any(|known| known == name)
    }

    /// What the group of this name holds when it fits at the start of this text.
    pub fn group<'t>(&self, text: &'t str, name: &str) -> Option<&'t str> {
        let captures = self.0.captures(text).ok().flatten()?;
        captures.get(0).filter(|whole| whole.start() == 0)?;
        Some(captures.name(name)?.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_fit_at_the_start_and_may_look_ahead() {
        let fits = |regex: &str, text: &str| PythonRegex::new(regex).expect("valid").is_match(text);
        assert!(fits("web", "web-1") && !fits("web", "my-web"));
        assert!(fits("^(?!plugin:)", "web") && !fits("(?!plugin:)", "plugin:x"));
        assert!(fits(r"(\w)\1", "aab") && fits("(?i)WEB", "web"));
        assert!(PythonRegex::new("(web").is_err());
    }

    #[test]
    fn one_that_would_take_for_ever_does_not_fit() {
        let slow = PythonRegex::new(r"(?:a|a)*(?<=x)b").expect("valid");
        assert!(!slow.is_match(&"a".repeat(64)));
    }
}
