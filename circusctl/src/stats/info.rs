//! What is told about one process, in the forms measured on circus 0.17.2: sizes for people (`2.48M`), CPU in
//! percent of one core, CPU time as `M:SS.ff`.
//!
//! Text and numbers only; `process_table` reads them.

use serde::{Serialize, Serializer};

/// A process and its children, as `stats` and the statistics feed carry it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Info {
    /// Resident memory.
    pub mem_info1: String,
    /// Virtual memory.
    pub mem_info2: String,
    /// Percent of one core since the last look; 0 at the first.
    pub cpu: Figure,
    /// Percent of the machine's memory.
    pub mem: Figure,
    /// CPU time of the process and its collected children.
    pub ctime: String,
    /// Its pid.
    pub pid: i32,
    /// Who it runs as: a name, or a number without one.
    pub username: String,
    /// Its nice value.
    pub nice: i64,
    /// When it was made, in seconds since the epoch.
    pub create_time: f64,
    /// Seconds since then.
    pub age: Figure,
    /// The base name of its program.
    pub cmdline: String,
    /// Its children, the same way.
    pub children: Vec<Info>,
}

/// A number, or `N/A` on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// Known.
    Known(f64),
    /// It could not be read.
    Unknown,
}

impl Figure {
    /// The number, if it is known.
    pub fn known(self) -> Option<f64> {
        match self {
            Self::Known(number) => Some(number),
            Self::Unknown => None,
        }
    }

    /// The sum; unknown when a part is.
    pub fn sum(figures: impl Iterator<Item = Self>) -> Self {
        figures.map(Self::known).sum::<Option<f64>>().map_or(Self::Unknown, Self::Known)
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Known(number) => serializer.serialize_f64(*number),
            Self::Unknown => serializer.serialize_str("N/A"),
        }
    }
}

/// A size for people, as the plugins can parse it back: `512B`, `784.00K`, `2.48M`.
pub fn human(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = as_float(bytes);
    let mut unit = ' ';
    for next in "KMGTPEZY".chars() {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.2}{unit}")
}

/// Hundredths of a second as `M:SS.ff`, with as many minutes as there are.
pub fn cpu_time(hundredths: u64) -> String {
    let (seconds, rest) = (hundredths / 100, hundredths % 100);
    format!("{}:{:02}.{rest:02}", seconds / 60, seconds % 60)
}

/// Rounds to so many decimals.
pub(crate) fn round(number: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (number * scale).round() / scale
}

/// For numbers that are shown to a few digits.
#[expect(clippy::cast_precision_loss, reason = "shown to two or three digits")]
pub fn as_float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(human(512), "512B");
        assert_eq!(human(784 * 1024), "784.00K");
        assert_eq!(human(2_600_000), "2.48M");
        assert_eq!(human(3 << 30), "3.00G");
    }

    #[test]
    fn cpu_time_keeps_its_hours_and_its_zeros() {
        assert_eq!(cpu_time(0), "0:00.00");
        assert_eq!(cpu_time(5), "0:00.05");
        assert_eq!(cpu_time(100 * 3_725 + 7), "62:05.07");
    }

    #[test]
    fn a_sum_with_an_unknown_part_is_unknown() {
        let known = [Figure::Known(1.5), Figure::Known(2.0)];
        assert_eq!(Figure::sum(known.into_iter()), Figure::Known(3.5));
        assert_eq!(Figure::sum([known[0], Figure::Unknown].into_iter()), Figure::Unknown);
        assert_eq!(serde_json::to_string(&Figure::Unknown).unwrap(), "\"N/A\"");
    }
}
