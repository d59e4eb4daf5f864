//! Reads the keys of one section as typed values and files a problem for each that is wrong.

use super::env::EnvNames;
use super::ini::{Entries, Entry, Ini, Place, strip};
use super::problem::{Problem, Report, Severity};
use std::path::Path;

/// A key that circus uses for itself; it is ignored when a file gives it.
pub(crate) const HIDDEN: &str = "__name__";

/// One section while it is being read.
pub(crate) struct SectionReader<'a> {
    /// As in the header.
    pub(crate) section: &'a str,
    /// Its keys and those of `[DEFAULT]`.
    pub(crate) entries: Entries,
    header: Place,
    report: &'a mut Report,
    refused: bool,
    lenient: bool,
}

impl<'a> SectionReader<'a> {
    /// None if there is no such section or it is empty; an empty one counts as absent.
    pub(crate) fn open(ini: &Ini, section: &'a str, report: &'a mut Report) -> Option<Self> {
        let mut entries = ini.entries(section)?;
        entries.shift_remove(HIDDEN);
        let header = ini.header(section)?.clone();
        let empty = entries.is_empty();
        let mut reader = Self { section, entries, header, report, refused: false, lenient: false };
        if empty {
            reader.section_problem(Severity::Warning, "the section is empty and has no effect");
            return None;
        }
        Some(reader)
    }

    /// Reads keys that come from elsewhere than a file that was just parsed.
    pub(crate) fn of_options<'o>(
        section: &'a str,
        file: &Path,
        options: impl IntoIterator<Item = (&'o String, &'o String)>,
        report: &'a mut Report,
    ) -> Self {
        let header = Place::outside(file);
        let entries = options
            .into_iter()
            .map(|(key, value)| {
                let place = header.clone();
                (key.clone(), Entry { value: value.clone(), place, inherited: false })
            })
            .collect();
        Self { section, entries, header, report, refused: false, lenient: false }
    }

    /// From now on a wrong value is only warned about and does not count.
    ///
    /// For keys that another program may use with a meaning of its own.
    pub(crate) fn be_lenient(&mut self) {
        self.lenient = true;
    }

    /// Whether something keeps this section from being used.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }

    /// The text of a key with `$(circus.env.X)` replaced.
    pub(crate) fn raw(&self, key: &str, names: &EnvNames) -> Option<String> {
        self.entries.get(key).map(|entry| names.expand(&entry.value))
    }

    /// The text of a key; nothing written after the `=` counts as no key.
    pub(crate) fn text(&self, key: &str, names: &EnvNames) -> Option<String> {
        self.raw(key, names).filter(|text| !strip(text).is_empty())
    }

    /// The value of a key, or the default if there is none or it is wrong.
    ///
    /// A wrong value is filed under `severity`.
    pub(crate) fn value<T>(
        &mut self,
        severity: Severity,
        key: &str,
        names: &EnvNames,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        self.optional(severity, key, names, parse).unwrap_or(default)
    }

    /// The value of a key, none if there is none or it is wrong.
    pub(crate) fn optional<T>(
        &mut self,
        severity: Severity,
        key: &str,
        names: &EnvNames,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.raw(key, names)?;
        parse(&text).map_err(|message| self.key_problem(severity, key, Some(text), message)).ok()
    }

    /// Files a problem with one key.
    pub(crate) fn key_problem(
        &mut self,
        severity: Severity,
        key: &str,
        value: Option<String>,
        message: impl Into<String>,
    ) {
        let place = self.entries.get(key).map_or(&self.header, |entry| &entry.place).clone();
        self.file_problem(severity, &place, Some(key), value, message.into());
    }

    /// Files a problem with the section as a whole.
    pub(crate) fn section_problem(&mut self, severity: Severity, message: impl Into<String>) {
        let place = self.header.clone();
        self.file_problem(severity, &place, None, None, message.into());
    }

    fn file_problem(
        &mut self,
        severity: Severity,
        place: &Place,
        key: Option<&str>,
        value: Option<String>,
        message: String,
    ) {
        let severity = match severity {
            Severity::Error if self.lenient => Severity::Warning,
            other => other,
        };
        self.refused |= severity != Severity::Warning;
        let problem = Problem {
            file: place.file.to_path_buf(),
            line: place.number(),
            section: Some(self.section.to_owned()),
            key: key.map(str::to_owned),
            value,
            message,
        };
        self.report.add(severity, problem);
    }
}
