//! One metric as the text of a statsd datagram: `NAME:VALUE|TYPE[|@RATE]`.
//!
//! Names are not escaped, as in the original: `plugin:x` in one makes a second colon.

use crate::python_text;
use serde_json::Value as Json;
use std::fmt;

/// A value and its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// `c`: so many more.
    Count(i64),
    /// `g`: a whole number.
    Whole(u64),
    /// `g`: a number, as Python prints it.
    Float(f64),
    /// `ms`: a time in milliseconds.
    Milliseconds(u64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}|c"),
            Self::Whole(number) => write!(f, "{number}|g"),
            Self::Float(number) => write!(f, "{}|g", python_text::text(&Json::from(*number))),
            Self::Milliseconds(time) => write!(f, "{time}|ms"),
        }
    }
}

/// The datagram. A rate other than 1 is only told; nothing is left out for it, as in the original.
pub fn datagram(prefix: &str, bucket: &str, value: Value, rate: f64) -> String {
    let rate = match rate {
        1.0 => String::new(),
        rate => format!("|@{}", python_text::text(&Json::from(rate))),
    };
    format!("{prefix}.{bucket}:{value}{rate}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_those_of_the_original() {
        let datagram = |value, rate| datagram("circus.app.watcher", "web.spawn", value, rate);
        assert_eq!(datagram(Value::Count(1), 1.0), "circus.app.watcher.web.spawn:1|c");
        assert_eq!(datagram(Value::Whole(2), 0.5), "circus.app.watcher.web.spawn:2|g|@0.5");
        assert_eq!(datagram(Value::Float(0.0), 1.0), "circus.app.watcher.web.spawn:0.0|g");
        assert_eq!(datagram(Value::Float(12.5), 2.0), "circus.app.watcher.web.spawn:12.5|g|@2.0");
        assert_eq!(datagram(Value::Milliseconds(7), 1.0), "circus.app.watcher.web.spawn:7|ms");
    }
}
