//! What a message looks like: Python's `%(name)s` templates, as far as our messages have the values.

use super::settings::Level;
use jiff::Zoned;

/// A message on its way to the outputs.
#[derive(Debug, Clone)]
pub struct Record {
    /// When it was made.
    pub time: Zoned,
    /// How important it is.
    pub level: Level,
    /// One line.
    pub text: String,
}

/// The form of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    parts: Vec<Part>,
    /// For `%(asctime)s`; without, Python's own with milliseconds.
    date: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field { field: Field, left: bool, zeros: bool, width: usize, most: Option<usize> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Time,
    Created,
    Level,
    LevelNumber,
    Message,
    Milliseconds,
    Name,
    Process,
    ProcessName,
}

const FIELDS: &[(&str, Field)] = &[
    ("asctime", Field::Time),
    ("created", Field::Created),
    ("levelname", Field::Level),
    ("levelno", Field::LevelNumber),
    ("message", Field::Message),
    ("msecs", Field::Milliseconds),
    ("name", Field::Name),
    ("process", Field::Process),
    ("processName", Field::ProcessName),
];

/// The name of our logger.
pub const NAME: &str = "circus";

const LINE: &str = "%(asctime)s %(name)s[%(process)d] [%(levelname)s] %(message)s";

impl Default for Format {
    /// That of files and standard error.
    fn default() -> Self {
        Self::built_in("%Y-%m-%d %H:%M:%S")
    }
}

impl Format {
    /// That of syslog.
    pub fn syslog() -> Self {
        Self::built_in("%b %d %H:%M:%S")
    }

    fn built_in(date: &str) -> Self {
        let parts = parse(LINE).unwrap_or_default();
        Self { parts, date: Some(date.to_owned()) }
    }

    /// A user's own. Python's default is the bare message.
    ///
    /// # Errors
    /// A sentence that names what cannot be used.
    pub fn parse(template: Option<&str>, date: Option<&str>) -> Result<Self, String> {
        if let Some(date) = date
            && jiff::fmt::strtime::format(date, &Zoned::now()).is_err()
        {
            return Err(format!("`{date}` is not a date format"));
        }
        Ok(Self { parts: parse(template.unwrap_or("%(message)s"))?, date: date.map(str::to_owned) })
    }

    /// The line, without its end.
    pub fn line(&self, record: &Record) -> String {
        let mut line = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Field { field, left, zeros, width, most } => {
                    let mut value = self.value(*field, record);
                    if let Some(most) = most {
                        value = value.chars().take(*most).collect();
                    }
                    let missing = width.saturating_sub(value.chars().count());
                    let fill = if *zeros && !left { "0" } else { " " }.repeat(missing);
                    let (before, after) = if *left { ("", &*fill) } else { (&*fill, "") };
                    line.extend([before, &value, after]);
                }
            }
        }
        line
    }

    fn value(&self, field: Field, record: &Record) -> String {
        let milliseconds = record.time.millisecond();
        match field {
            Field::Time => match &self.date {
                Some(date) => record.time.strftime(date).to_string(),
                None => format!("{},{milliseconds:03}", record.time.strftime("%Y-%m-%d %H:%M:%S")),
            },
            Field::Created => {
                let nanoseconds = record.time.timestamp().as_nanosecond();
                format!("{}.{:06}", nanoseconds / 1_000_000_000, nanoseconds / 1000 % 1_000_000)
            }
            Field::Level => record.level.as_str().to_owned(),
            Field::LevelNumber => record.level.number().to_string(),
            Field::Message => record.text.clone(),
            Field::Milliseconds => milliseconds.to_string(),
            Field::Name => NAME.to_owned(),
            Field::Process => std::process::id().to_string(),
            Field::ProcessName => "MainProcess".to_owned(),
        }
    }
}

fn parse(template: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            text.push('%');
            rest = after;
            continue;
        }
        let wrong = || format!("`%{after}` is not understood; write %(NAME)s, and %% for %");
        let (name, conversion) =
            after.strip_prefix('(').and_then(|after| after.split_once(')')).ok_or_else(wrong)?;
        let (_, field) = FIELDS.iter().find(|(known, _)| *known == name).ok_or_else(|| {
            let known: Vec<&str> = FIELDS.iter().map(|(known, _)| *known).collect();
            format!("`%({name})` is not known here; use one of {}", known.join(", "))
        })?;
        let end = conversion.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let (modifiers, kind) = conversion.split_at(end);
        if !kind.starts_with(['s', 'd', 'i', 'f', 'r']) {
            return Err(wrong());
        }
        let (flags, size) = modifiers
            .split_at(modifiers.find(|c: char| !"-+ #0".contains(c)).unwrap_or(modifiers.len()));
        let (width, most) = match size.split_once('.') {
            Some((width, most)) => (width, Some(most.parse().map_err(|_| wrong())?)),
            None => (size, None),
        };
        let width = if width.is_empty() { 0 } else { width.parse().map_err(|_| wrong())? };
        if !text.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut text)));
        }
        parts.push(Part::Field {
            field: *field,
            left: flags.contains('-'),
            zeros: flags.contains('0'),
            // No line is that long on purpose.
            width: usize::min(width, 1000),
            // A precision cuts text; of numbers we show what we have.
            most: most.filter(|_| kind.starts_with('s')),
        });
        rest = &kind[1..];
    }
    text.push_str(rest);
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let time = "2026-11-23T19:38:44.007[UTC]".parse().unwrap();
        Record { time, level: Level::Info, text: "web started".into() }
    }

    fn shown(template: &str, date: Option<&str>) -> String {
        Format::parse(Some(template), date).unwrap().line(&record())
    }

    #[test]
    fn the_built_in_form_is_that_of_the_original() {
        let pid = std::process::id();
        let expected = format!("2026-11-23 19:38:44 circus[{pid}] [INFO] web started");
        assert_eq!(Format::default().line(&record()), expected);
        let expected = format!("Nov 23 19:38:44 circus[{pid}] [INFO] web started");
        assert_eq!(Format::syslog().line(&record()), expected);
    }

    #[test]
    fn templates_are_filled_in_as_python_does() {
        assert_eq!(shown("%(levelname)1.1s %(levelname)s %(message)s", None), "I INFO web started");
        assert_eq!(shown("%(asctime)s|%(levelno)d", None), "2026-11-23 19:38:44,007|20");
        assert_eq!(shown("%(asctime)s", Some("%H.%M")), "19.38");
        assert_eq!(
            shown("%(levelname)-8s|%(levelname)8s|%(msecs)03d%%", None),
            "INFO    |    INFO|007%"
        );
        assert_eq!(Format::parse(None, None).unwrap().line(&record()), "web started");
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (template, part) in [
            ("%(thread)d", "thread"),
            ("%d", "%d"),
            ("50% of", "% of"),
            ("%(message)", "%(message)"),
        ] {
            let error = Format::parse(Some(template), None).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
