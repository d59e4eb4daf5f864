//! Times and spans as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A moment, in seconds since the epoch, as `2026-03-01 12:03:04.567` in the user's time zone.
pub fn local(epoch: f64) -> String {
    at(epoch, "%Y-%m-%d %H:%M:%S%.3f")
}

/// The time of day of a moment, as `12:03:04.567` in the user's time zone.
pub fn time_of_day(epoch: f64) -> String {
    at(epoch, "%H:%M:%S%.3f")
}

fn at(epoch: f64, format: &str) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "a float that is too large saturates")]
    let milliseconds = (epoch * 1000.0).round() as i64;
    match Timestamp::from_millisecond(milliseconds) {
        Ok(moment) => moment.to_zoned(TimeZone::system()).strftime(format).to_string(),
        Err(_) => format!("{epoch}"), // Beyond the calendar: not a moment that happened.
    }
}

/// A span of seconds: `0.5 s`, `12 s`, `3 min`, `5 h`, `2 d`.
pub fn span(seconds: f64) -> String {
    match seconds.max(0.0) {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        for (seconds, text) in
            [(-1.0, "0.0 s"), (0.46, "0.5 s"), (12.2, "12 s"), (600.0, "10 min"), (9e9, "104167 d")]
        {
            assert_eq!(span(seconds), text);
        }
    }
}
