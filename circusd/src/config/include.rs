//! Reads the main file and the files it includes into one table.

use super::env::EnvNames;
use super::ini::{Entry, Ini};
use super::json;
use super::pattern;
use super::problem::{Problem, Report, Severity};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Reads everything; `process` replaces `$(circus.env.X)` in the include lines.
///
/// An included file's own include lines are ignored, as in circus.
pub(crate) fn read(path: &Path, process: &EnvNames, report: &mut Report) -> Ini {
    let mut ini = Ini::default();
    match read_text(path) {
        Ok(text) => add(&mut ini, path, &text, report),
        Err(message) => return fail(path, message, Severity::Error, report, ini),
    }
    let entries = ini.entries("circus").unwrap_or_default();
    let mut included = Vec::new();
    for (key, suffix) in [("include", ""), ("include_dir", "*.ini")] {
        let Some(entry) = entries.get(key) else { continue };
        for word in process.expand(&entry.value).split_whitespace() {
            let mut wanted = path.parent().unwrap_or(Path::new("")).join(word);
            if !suffix.is_empty() {
                wanted.push(suffix);
            }
            let found = glob(&wanted);
            if found.is_empty() {
                warn_nothing_found(&wanted, key, entry, report);
            }
            included.extend(found);
        }
    }
    for file in included {
        match read_text(&file) {
            Ok(text) => add(&mut ini, &file, &text, report),
            Err(TextError::NotUtf8(message)) => {
                let error = TextError::NotUtf8(message);
                ini = fail(&file, error, Severity::Error, report, ini);
            }
            Err(error) => ini = fail(&file, error, Severity::Warning, report, ini),
        }
    }
    ini
}

fn add(ini: &mut Ini, path: &Path, text: &str, report: &mut Report) {
    let file = Arc::from(path);
    if path.extension().is_some_and(|extension| extension == "json") {
        json::add(ini, &file, text, report);
    } else {
        ini.add(&file, text, report);
    }
}

/// The longest file that is read, in bytes: far above any configuration, so that `include = /dev/zero`
/// is an error and does not take the memory.
const LONGEST: u64 = 16 * 1024 * 1024;

/// Why a file could not be read as text.
enum TextError {
    Unreadable(String),
    NotUtf8(usize),
}

fn fail(path: &Path, error: TextError, severity: Severity, report: &mut Report, ini: Ini) -> Ini {
    let (line, message) = match error {
        TextError::Unreadable(message) => (None, message),
        TextError::NotUtf8(line) => (Some(line), "is not UTF-8 text".to_owned()),
    };
    let problem =
        Problem { file: path.to_path_buf(), line, section: None, key: None, value: None, message };
    report.add(severity, problem);
    ini
}

fn warn_nothing_found(wanted: &Path, key: &str, entry: &Entry, report: &mut Report) {
    let problem = Problem {
        file: entry.place.file.to_path_buf(),
        line: Some(entry.place.line),
        section: Some("circus".to_owned()),
        key: Some(key.to_owned()),
        value: None,
        message: format!(
            "`{}` leads to no file; include paths are relative to the main configuration file",
            wanted.display()
        ),
    };
    report.add(Severity::Warning, problem);
}

/// A file as text, without a byte order mark.
fn read_text(path: &Path) -> Result<String, TextError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
    read.map_err(|source| {
        TextError::Unreadable(match source.kind() {
            io::ErrorKind::NotFound => "the configuration file does not exist".to_owned(),
            io::ErrorKind::IsADirectory => "is a directory, not a configuration file".to_owned(),
            _ => format!("cannot be read: {source}"),
        })
    })?;
    if bytes.len() as u64 > LONGEST {
        let message = format!("is longer than {LONGEST} bytes, so it is no configuration file");
        return Err(TextError::Unreadable(message));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
        Err(error) => {
            let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            Err(TextError::NotUtf8(1 + good.iter().filter(|byte| **byte == b'\n').count()))
        }
    }
}

/// The existing paths that fit, sorted; a path without pattern characters fits itself.
///
/// A wildcard does not match a leading dot, and `**` is not recursive.
fn glob(wanted: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in wanted.components() {
        let text = component.as_os_str().to_string_lossy();
        if matches!(component, Component::Normal(_)) && pattern::is_pattern(&text) {
            found = found.iter().flat_map(|folder| matching(folder, &text)).collect();
        } else {
            for path in &mut found {
                path.push(component);
            }
        }
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    found.sort();
    found
}

fn matching(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(names) = std::fs::read_dir(listed) else {
        return Vec::new();
    };
    names
        .filter_map(|name| Some(name.ok()?.file_name()))
        .filter(|name| {
            let name = name.to_string_lossy();
            (!name.starts_with('.') || pattern.starts_with('.')) && pattern::matches(pattern, &name)
        })
        .map(|name| folder.join(name))
        .collect()
}
