//! Reads `stdout_stream.*` and `stderr_stream.*` of a watcher, as far as they can be checked without
//! opening anything.

use super::env::EnvNames;
use super::problem::Severity;
use super::reader::SectionReader;
use super::values;
use indexmap::IndexMap;

/// The classes that have a name without a dot.
const CLASSES: &[&str] = &[
    "FileStream",
    "WatchedFileStream",
    "TimedRotatingFileStream",
    "QueueStream",
    "StdoutStream",
    "FancyStdoutStream",
];

/// Options that are whole numbers in every class that has them.
const NUMBERS: &[&str] = &["max_bytes", "backup_count", "rotate_interval"];

/// Reads the options of one stream, `kind` being `stdout_stream` or `stderr_stream`.
///
/// Without any option the stream is the default one.
/// What the class would refuse keeps the watcher from being used.
pub(crate) fn read(
    keys: &mut SectionReader<'_>,
    kind: &str,
    names: &EnvNames,
    default: IndexMap<String, String>,
) -> IndexMap<String, String> {
    let written: Vec<String> =
        keys.entries.keys().filter(|key| key.starts_with(kind)).cloned().collect();
    let mut options = IndexMap::new();
    for key in written {
        match key[kind.len()..].strip_prefix('.') {
            Some(option) => {
                let value = keys.raw(&key, names).unwrap_or_default();
                options.insert(option.to_owned(), value);
            }
            None => {
                let message = format!("not a known key; write `{kind}.OPTION = ...`");
                keys.key_problem(Severity::Error, &key, None, message);
            }
        }
    }
    if options.is_empty() {
        return default;
    }
    check(keys, kind, &options);
    options
}

fn check(keys: &mut SectionReader<'_>, kind: &str, options: &IndexMap<String, String>) {
    let refuse = |keys: &mut SectionReader<'_>, option: &str, message: String| {
        let value = options.get(option).cloned();
        keys.key_problem(Severity::Refused, &format!("{kind}.{option}"), value, message);
    };
    let class = match options.get("class").map(String::as_str) {
        Some(class) => class,
        None if options.contains_key("filename") => "FileStream",
        None => {
            return refuse(keys, "class", format!("is missing; use one of {}", CLASSES.join(", ")));
        }
    };
    if class.contains('.') {
        return; // A class of the user's: its options are its own business.
    }
    if !CLASSES.contains(&class) {
        let message = format!(
            "not a stream class; use one of {}, or a dotted name of your own",
            CLASSES.join(", ")
        );
        return refuse(keys, "class", message);
    }
    if class.ends_with("FileStream") && options.get("filename").is_none_or(|name| name.is_empty()) {
        refuse(keys, "filename", "is missing; name the log file".to_owned());
    }
    for option in NUMBERS {
        if let Some(Err(message)) = options.get(*option).map(|text| values::integer(text)) {
            refuse(keys, option, message);
        }
    }
    if class == "TimedRotatingFileStream" {
        let when = options.get("rotate_when").map(|when| when.trim().to_uppercase());
        if !when.as_deref().is_some_and(is_rotation) {
            let message = "not a time to rotate; use S, M, H, D, MIDNIGHT, or W0 (Monday) to W6";
            refuse(keys, "rotate_when", message.to_owned());
        }
    }
}

fn is_rotation(when: &str) -> bool {
    match when {
        "S" | "M" | "H" | "D" | "MIDNIGHT" => true,
        _ => matches!(when.as_bytes(), [b'W', b'0'..=b'6']),
    }
}
