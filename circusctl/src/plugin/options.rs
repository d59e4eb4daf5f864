//! What the section of a plugin says: texts, and readers that make of them what a plugin needs.
//!
//! Values arrive as texts, from an ini file or from a command line. What does not fit is one sentence that names
//! the section, the key, the value and what would be right.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The longest time that an option may name; more is a slip.
const LONGEST: f64 = 366.0 * 86_400.0;

/// A value that does not fit, or one that is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct OptionError {
    /// The section, `plugin:flapping`, or the plugin's dotted name when it was run without one.
    pub section: String,
    /// The option.
    pub key: String,
    /// What was given, if anything was.
    pub value: Option<String>,
    /// What is wrong with it and what would be right.
    pub reason: String,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { section, key, reason, .. } = self;
        match &self.value {
            Some(value) => write!(f, "[{section}] {key} = {value}: {reason}"),
            None => write!(f, "[{section}] {key} {reason}"),
        }
    }
}

/// The pace of circusd when nobody says otherwise; the original never tells a plugin.
const CHECK_DELAY: Duration = Duration::from_secs(5);

/// The options of one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    section: String,
    values: BTreeMap<String, String>,
    check_delay: Duration,
}

impl Options {
    /// The options of this section.
    pub fn new(
        section: impl Into<String>,
        values: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let values = values.into_iter().collect();
        Self { section: section.into(), values, check_delay: CHECK_DELAY }
    }

    /// The same where circusd looks at its watchers in other intervals.
    #[must_use]
    pub fn with_check_delay(self, check_delay: Duration) -> Self {
        Self { check_delay, ..self }
    }

    /// The longest that circusd waits before it replaces a process.
    pub fn check_delay(&self) -> Duration {
        self.check_delay
    }

    /// The section that they stand in.
    pub fn section(&self) -> &str {
        &self.section
    }

    /// The value as it was written.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// All options, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The value, or this one when there is none.
    pub fn text(&self, key: &str, default: &str) -> String {
        self.get(key).unwrap_or(default).to_owned()
    }

    /// The value of an option that must be there and not be empty; `meaning` completes "is missing; ".
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn required(&self, key: &str, meaning: &str) -> Result<String, OptionError> {
        match self.get(key).filter(|value| !value.trim().is_empty()) {
            Some(value) => Ok(value.to_owned()),
            None => Err(OptionError {
                section: self.section.clone(),
                key: key.to_owned(),
                value: None,
                reason: format!("is missing; {meaning}"),
            }),
        }
    }

    /// The value read by `read`, whose error completes `[section] key = value: `; none when there is no value.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn optional<T>(
        &self,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, OptionError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value.trim()).map(Some).map_err(|reason| OptionError {
            section: self.section.clone(),
            key: key.to_owned(),
            value: Some(value.to_owned()),
            reason,
        })
    }

    /// The value read by `read`, or the default when there is no value.
    ///
    /// # Errors
    /// [`OptionError`].
    pub fn value<T>(
        &self,
        key: &str,
        default: T,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, OptionError> {
        Ok(self.optional(key, read)?.unwrap_or(default))
    }
}

/// A time in seconds, more than nothing: `60`, `0.5`.
///
/// # Errors
/// What would be right.
pub fn period(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds <= LONGEST);
    let period = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    period
        .filter(|period| !period.is_zero())
        .ok_or_else(|| "not a time; write seconds above 0, such as 60 or 0.5".to_owned())
}

/// A time in seconds, which may be nothing.
///
/// # Errors
/// What would be right.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=LONGEST).contains(seconds));
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "not a time; write seconds from 0 on, such as 7 or 0.5".to_owned())
}

/// A number, with a point if wanted: `90`, `1.5`.
///
/// # Errors
/// What would be right.
pub fn number(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| "not a number; write one such as 90 or 1.5".to_owned())
}

/// A whole number from 0 on.
///
/// # Errors
/// What would be right.
pub fn count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "not a count; write a whole number from 0 on".to_owned())
}

/// A whole number above 0.
///
/// # Errors
/// What would be right.
pub fn positive(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| "not a count; write a whole number above 0".to_owned())
}

/// A port.
///
/// # Errors
/// What would be right.
pub fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| "not a port; write a number from 1 to 65535".to_owned())
}

/// A boolean by the words of ini files.
///
/// # Errors
/// What would be right.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Ok(true),
        "no" | "false" | "off" | "0" => Ok(false),
        _ => Err("not a boolean; use yes, true, on or 1, or no, false, off or 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(values: &[(&str, &str)]) -> Options {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Options::new("plugin:x", values)
    }

    #[test]
    fn what_is_not_given_is_the_default_and_what_is_wrong_is_one_sentence() {
        let options = options(&[("rate", "2.5"), ("port", "http"), ("empty", "")]);
        assert_eq!(options.value("rate", Duration::ZERO, period), Ok(Duration::from_millis(2500)));
        assert_eq!(options.value("loops", 3, count), Ok(3));
        assert_eq!(options.optional("loops", count), Ok(None));
        let error = options.value("port", 1, port).expect_err("no port");
        assert_eq!(
            error.to_string(),
            "[plugin:x] port = http: not a port; write a number from 1 to 65535"
        );
        for key in ["empty", "watcher"] {
            let error = options.required(key, "name the watcher").expect_err("missing");
            assert_eq!(error.to_string(), format!("[plugin:x] {key} is missing; name the watcher"));
        }
    }

    #[test]
    fn readers_refuse_what_would_hang_or_overflow() {
        for text in ["0", "-1", "nan", "inf", "1e300", "", "1 s", "1e-30"] {
            assert!(period(text).is_err(), "{text}");
        }
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        for text in ["-0.1", "nan", "1e300", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert!(number("inf").is_err() && number("").is_err() && number("-1.5").is_ok());
        assert!(port("0").is_err() && port("65536").is_err() && port("1").is_ok());
        assert!(positive("0").is_err() && count("0").is_ok() && count("-1").is_err());
        assert_eq!(boolean(" Off "), Ok(false));
        assert!(boolean("").is_err());
    }
}
