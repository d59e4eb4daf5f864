//! Reading the options of a stream, which are text whatever they mean.

use super::prefix::Prefixer;
use super::sink::StreamError;
use indexmap::IndexMap;
use std::path::PathBuf;

/// The options of one stream.
pub(super) struct Options<'a>(pub(super) &'a IndexMap<String, String>);

impl Options<'_> {
    /// The value of an option; empty is the same as not given.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// A whole number; 0 when it is not given.
    pub(super) fn number(&self, key: &str) -> Result<u64, StreamError> {
        let Some(text) = self.text(key) else { return Ok(0) };
        text.parse().map_err(|_| self.bad(key, "a whole number, 0 or more"))
    }

    /// The name of the log file.
    pub(super) fn filename(&self) -> Result<PathBuf, StreamError> {
        let name = self.0.get("filename").filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| self.bad("filename", "the name of the log file"))?;
        Ok(PathBuf::from(name))
    }

    /// What puts a prefix before each line, if `time_format` is given. Blanks in it count.
    pub(super) fn prefixer(&self) -> Result<Option<Prefixer>, StreamError> {
        let Some(format) = self.0.get("time_format") else { return Ok(None) };
        let expected = "a strftime format such as %Y-%m-%d %H:%M:%S";
        Prefixer::new(format).map(Some).map_err(|_| self.bad("time_format", expected))
    }

    /// Says that an option has a value that cannot be used.
    pub(super) fn bad(&self, key: &str, expected: &'static str) -> StreamError {
        let value = self.0.get(key).cloned().unwrap_or_default();
        StreamError::BadOption { key: key.to_owned(), value, expected }
    }
}
