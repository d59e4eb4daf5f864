//! When a `TimedRotatingFileStream` rotates, and what the old file is called then.

use super::backups::with_suffix;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// `rotate_when`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// After so many seconds.
    Every(i64),
    /// At the end of each day.
    Midnight,
    /// At the end of this day of the week; 0 is Monday.
    Weekday(i8),
}

/// The times of rotation.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    when: When,
    zone: TimeZone,
    /// strftime format of what the old file is called.
    suffix: &'static str,
    /// Old files to keep; 0 keeps all.
    backups: usize,
    /// The next rotation, in seconds since the epoch.
    next: i64,
}

impl Schedule {
    /// Reads `rotate_when`, in any case. `None`: it means nothing. `base` is when the file was last
    /// written, or now, in seconds since the epoch.
    pub(super) fn new(
        when: &str,
        interval: u64,
        zone: TimeZone,
        backups: u64,
        base: i64,
    ) -> Option<Self> {
        let interval = i64::try_from(interval.max(1)).ok()?;
        let every = |unit: i64| Some(When::Every(unit.checked_mul(interval)?));
        let (when, suffix) = match when.to_uppercase().as_str() {
            "S" => (every(1)?, "%Y%m%d%H%M%S"),
            "M" => (every(60)?, "%Y%m%d%H%M"),
            "H" => (every(3600)?, "%Y%m%d%H"),
            "D" => (every(86_400)?, "%Y%m%d"),
            "MIDNIGHT" => (When::Midnight, "%Y%m%d"),
            weekly => match weekly.as_bytes() {
                [b'W', digit @ b'0'..=b'6'] => {
                    (When::Weekday((digit - b'0').cast_signed()), "%Y%m%d")
                }
                _ => return None,
            },
        };
        let backups = usize::try_from(backups).unwrap_or(usize::MAX);
        let mut schedule = Self { when, zone, suffix, backups, next: 0 };
        schedule.next = schedule.after(base);
        Some(schedule)
    }

    /// Whether something that is written at `now` belongs to a new file.
    pub(super) fn is_due(&self, now: i64) -> bool {
        now >= self.next
    }

    /// Takes into account that another stream has rotated the file.
    pub(super) fn note_rotation(&mut self, last: Option<i64>) {
        if let Some(last) = last.filter(|last| self.is_due(*last)) {
            self.next = self.after(last);
        }
    }

    /// The first rotation after `base`.
    fn after(&self, base: i64) -> i64 {
        let today = self.date(base);
        let last_day = match self.when {
            When::Every(step) => return base.saturating_add(step),
            When::Midnight => today,
            When::Weekday(day) => {
                let ahead = (day - today.weekday().to_monday_zero_offset()).rem_euclid(7);
                today.saturating_add(i64::from(ahead).days())
            }
        };
        let midnight =
            last_day.tomorrow().ok().and_then(|day| day.to_zoned(self.zone.clone()).ok());
        midnight.map_or(i64::MAX, |midnight| midnight.timestamp().as_second())
    }

    fn date(&self, time: i64) -> Date {
        let moment = Timestamp::from_second(time).unwrap_or(Timestamp::UNIX_EPOCH);
        self.zone.to_datetime(moment).date()
    }

    /// What the file is called that ends with the next rotation.
    fn old_suffix(&self) -> String {
        let begin = |days: i64| {
            let date = self.date(self.next).saturating_sub(days.days());
            date.strftime(self.suffix).to_string()
        };
        match self.when {
            When::Every(step) => {
                let moment = Timestamp::from_second(self.next.saturating_sub(step));
                let moment = moment.unwrap_or(Timestamp::UNIX_EPOCH);
                self.zone.to_datetime(moment).strftime(self.suffix).to_string()
            }
            When::Midnight => begin(1),
            When::Weekday(_) => begin(7),
        }
    }

    /// Renames the file and deletes the oldest that are too many. A name that is taken gets a number, so
    /// nothing is overwritten.
    pub(super) fn rotate(&mut self, path: &Path, now: i64) -> io::Result<()> {
        let suffix = self.old_suffix();
        let names = std::iter::once(suffix.clone())
            .chain((1u32..).map(|number| format!("{suffix}-{number}")));
        let mut names = names.map(|suffix| with_suffix(path, &suffix));
        let free = names.find(|name| fs::symlink_metadata(name).is_err());
        if let Some(free) = free {
            match fs::rename(path, free) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.next = self.after(now);
        self.delete_oldest(path)
    }

    fn delete_oldest(&self, path: &Path) -> io::Result<()> {
        if self.backups == 0 {
            return Ok(());
        }
        let mut old = self.old_files(path)?;
        old.sort();
        let surplus = old.len().saturating_sub(self.backups);
        for (_, path) in old.into_iter().take(surplus) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    /// The files that were made by rotation, each with its age: digits and number.
    fn old_files(&self, path: &Path) -> io::Result<Vec<(Age, PathBuf)>> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let digits = self.date(0).strftime(self.suffix).to_string().len();
        let mut old = Vec::new();
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name();
            let own = path.file_name().unwrap_or_default().as_encoded_bytes();
            let suffix = name.as_encoded_bytes().strip_prefix(own);
            let suffix = suffix.and_then(|rest| rest.strip_prefix(b"."));
            if let Some(age) = suffix.and_then(|suffix| age(suffix, digits)) {
                old.push((age, directory.join(&name)));
            }
        }
        Ok(old)
    }
}

/// What orders old files: the digits of the time, and the number after it.
type Age = (Vec<u8>, u32);

/// So many digits, and perhaps a number after a dash: a name without one is older than those with one.
fn age(suffix: &[u8], digits: usize) -> Option<Age> {
    let (time, rest) = suffix.split_at_checked(digits)?;
    if !time.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = match rest.strip_prefix(b"-") {
        Some(number) => std::str::from_utf8(number).ok()?.parse().ok()?,
        None if rest.is_empty() => 0,
        None => return None,
    };
    Some((time.to_vec(), number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn seconds(value: &Value) -> i64 {
        value.as_str().unwrap().parse::<Timestamp>().unwrap().as_second()
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn recorded() -> Vec<Value> {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/timed_rotation.json");
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    /// Given as a number or as text.
    fn interval(case: &Value) -> Option<f64> {
        let value = &case["rotate_interval"];
        value.as_f64().or_else(|| value.as_str()?.parse().ok())
    }

    /// The recordings that `docs/differences.md` departs from, see "Rotation by time".
    fn is_mended(case: &Value) -> bool {
        let text = |key: &str| case[key].as_str().unwrap_or_default().to_owned();
        let when = text("rotate_when");
        let spread = interval(case).is_some_and(|interval| interval.fract() != 0.0);
        let past = when.starts_with('W')
            && seconds(&case["first_rollover_at"]) <= seconds(&case["created_at"]);
        let a_week_late = when.starts_with('W')
            && seconds(&case["first_rollover_at"]) - seconds(&case["created_at"]) > 7 * 86_400;
        let multiplied =
            (when.starts_with('W') || when == "MIDNIGHT") && interval(case) != Some(1.0);
        let clock_change = case["tz"] == "Europe/Paris"
            && matches!(when.as_str(), "MIDNIGHT" | "H")
            && ["2024-03-30", "2024-10-26"].contains(&text("local").get(..10).unwrap_or_default());
        let any_text_is_true = case["utc"].is_string();
        past || a_week_late || multiplied || clock_change || spread || any_text_is_true
    }

    #[test]
    fn rotation_is_that_of_the_original_where_that_is_sane() {
        let (mut same, mut mended, mut refused) = (0, 0, 0);
        for case in recorded() {
            let zone = match case["utc"].as_bool() {
                Some(true) => TimeZone::UTC,
                _ => TimeZone::get(case["tz"].as_str().unwrap()).unwrap(),
            };
            let when = case["rotate_when"].as_str().unwrap_or("None");
            let interval = interval(&case).unwrap_or(1.0) as u64;
            let backups = case["backup_count"].as_u64().unwrap();
            let base = seconds(case.get("existing_file_mtime").unwrap_or(&case["created_at"]));
            let schedule = Schedule::new(when, interval, zone, backups, base);
            if case.get("error").is_some() {
                // Lower case works here, and numbers are checked with the configuration.
                let ours = matches!(when, "s" | "h" | "midnight" | "Midnight" | "w0");
                assert_eq!(schedule.is_some(), ours || case["rotate_interval"] == "x", "{case}");
                refused += 1;
                continue;
            }
            if is_mended(&case) {
                mended += 1;
                continue;
            }
            same += 1;
            let mut schedule = schedule.unwrap();
            assert_eq!(schedule.next, seconds(&case["first_rollover_at"]), "{case}");
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x.log");
            fs::write(&path, "").unwrap();
            for step in case["after_writes_exactly_when_due"].as_array().unwrap() {
                let now = seconds(&step["write_at"]);
                assert!(schedule.is_due(now) && !schedule.is_due(schedule.next - 1));
                schedule.rotate(&path, now).unwrap();
                fs::write(&path, "").unwrap();
                assert_eq!(serde_json::json!(names(dir.path())), step["files"], "{case}");
                assert_eq!(schedule.next, seconds(&step["next_rollover_at"]), "{case}");
            }
        }
        assert_eq!((same, mended, refused), (27, 11, 12));
    }

    #[test]
    fn what_another_stream_has_rotated_is_not_rotated_again() {
        let mut schedule = Schedule::new("S", 10, TimeZone::UTC, 0, 0).unwrap();
        schedule.note_rotation(Some(9));
        assert!(schedule.is_due(10));
        schedule.note_rotation(Some(12));
        assert!(!schedule.is_due(21) && schedule.is_due(22));
    }

    #[test]
    fn a_week_ends_with_its_day() {
        let monday = seconds(&Value::from("2024-05-13T10:00:00Z"));
        for (day, end) in [("W0", "2024-05-14"), ("W2", "2024-05-16"), ("w6", "2024-05-20")] {
            let schedule = Schedule::new(day, 1, TimeZone::UTC, 0, monday).unwrap();
            assert_eq!(schedule.next, seconds(&Value::from(format!("{end}T00:00:00Z"))), "{day}");
        }
    }

    #[test]
    fn a_day_of_25_hours_is_one_day() {
        let zone = TimeZone::get("Europe/Paris").unwrap();
        let base = seconds(&Value::from("2024-10-26T12:00:00Z"));
        let mut schedule = Schedule::new("MIDNIGHT", 3, zone, 0, base).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        for (now, name) in
            [("2024-10-26T22:00:00Z", "x.20241026"), ("2024-10-27T23:00:00Z", "x.20241027")]
        {
            let now = seconds(&Value::from(now));
            assert!(schedule.is_due(now) && !schedule.is_due(now - 1));
            fs::write(&path, "").unwrap();
            schedule.rotate(&path, now).unwrap();
            assert!(dir.path().join(name).exists(), "{name}");
        }
    }

    #[test]
    fn the_oldest_goes_whatever_the_directory_is_called() {
        let dir = tempfile::Builder::new().prefix("a-b-").tempdir().unwrap();
        let path = dir.path().join("x-y");
        let schedule = Schedule::new("D", 1, TimeZone::UTC, 2, 0).unwrap();
        let old = ["20240102-10", "20240102", "20240102-9", "20240101-3"];
        for suffix in old.iter().chain(&["2024010", "20240101-", "20240101.gz"]) {
            fs::write(with_suffix(&path, suffix), "").unwrap();
        }
        schedule.delete_oldest(&path).unwrap();
        let left: Vec<_> = old.map(|suffix| with_suffix(&path, suffix).exists()).to_vec();
        assert_eq!(left, [true, false, true, false]);
        assert_eq!(names(dir.path()).len(), 5);
    }

    #[test]
    fn no_old_file_is_overwritten_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let mut schedule = Schedule::new("H", 1, TimeZone::UTC, 2, 0).unwrap();
        for text in ["a", "b", "c"] {
            fs::write(&path, text).unwrap();
            // As after a start that finds an old file.
            schedule.next = 3600;
            schedule.rotate(&path, 3600).unwrap();
        }
        assert_eq!(names(dir.path()), ["x.1970010100-1", "x.1970010100-2"]);
        assert_eq!(fs::read_to_string(dir.path().join("x.1970010100-2")).unwrap(), "c");
    }
}
