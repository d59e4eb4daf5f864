//! The ini dialect of Circus: text to sections, keys and values, each with file and line.
//!
//! Owns the syntax and the merging of several files (the first definition of a key wins). Knows no key
//! and replaces nothing; that is the work of `load` and the modules per section.
//!
//! The rules were measured on circus 0.17.2. Two of them are deliberately different, see
//! `docs/differences.md`: an option that is indented below its header, and continuation lines of a
//! repeated key.

use super::problem::{ConfigErrors, Problem, Report, Severity, shown};
use indexmap::IndexMap;
use std::path::Path;
use std::sync::Arc;

/// Its keys appear in every other section.
const DEFAULT: &str = "DEFAULT";

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: Arc<Path>,
    /// Counted from 1; 0 when it stands in no file.
    pub(crate) line: usize,
}

impl Place {
    /// Where something stands that was in no file.
    pub(crate) fn outside(named: &Path) -> Self {
        Self { file: Arc::from(named), line: 0 }
    }

    /// The line, if there is one.
    pub(crate) fn number(&self) -> Option<usize> {
        (self.line > 0).then_some(self.line)
    }
}

/// The value of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) value: String,
    pub(crate) place: Place,
    /// It stands in `[DEFAULT]`, not in the section itself.
    pub(crate) inherited: bool,
}

/// The keys of one section in their order.
pub(crate) type Entries = IndexMap<String, Entry>;

#[derive(Debug)]
struct Section {
    header: Place,
    entries: Entries,
}

/// All sections of the main file and its includes, merged.
#[derive(Debug, Default)]
pub(crate) struct Ini {
    sections: IndexMap<String, Section>,
    defaults: Entries,
}

impl Ini {
    /// Adds the text of one file; what is defined already stays as it is.
    ///
    /// All syntax errors of the file go to the report.
    pub(crate) fn add(&mut self, file: &Arc<Path>, text: &str, report: &mut Report) {
        let mut reader = LineReader { ini: self, file, report, line: 0, state: State::NoSection };
        for line in lines(text) {
            reader.line += 1;
            reader.read(line);
        }
    }

    /// Sections that are in no file.
    pub(crate) fn of_sections(sections: Sections) -> Self {
        let place = Place::outside(Path::new(""));
        let entry = |value| Entry { value, place: place.clone(), inherited: false };
        let section = |keys: IndexMap<String, String>| Section {
            header: place.clone(),
            entries: keys.into_iter().map(|(key, value)| (key, entry(value))).collect(),
        };
        let sections = sections.into_iter().map(|(name, keys)| (name, section(keys))).collect();
        Self { sections, defaults: Entries::new() }
    }

    /// Adds one value as it is; what is defined already stays.
    pub(crate) fn set(&mut self, section: &str, key: &str, value: String, place: &Place) {
        let inherited = section == DEFAULT;
        let entries = if inherited { &mut self.defaults } else { self.open(section, place) };
        let place = place.clone();
        entries.entry(key.to_owned()).or_insert(Entry { value, place, inherited });
    }

    /// The keys of a section, which is made if it is not there.
    pub(crate) fn open(&mut self, section: &str, place: &Place) -> &mut Entries {
        let header = place.clone();
        let section = self.sections.entry(section.to_owned());
        &mut section.or_insert_with(|| Section { header, entries: Entries::new() }).entries
    }

    /// The names of all sections in the order of their first appearance.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.sections.keys().map(String::as_str)
    }

    /// Where a section's header stands first.
    pub(crate) fn header(&self, name: &str) -> Option<&Place> {
        self.sections.get(name).map(|section| &section.header)
    }

    /// The keys of a section over those of `[DEFAULT]`; nothing if there is no such section.
    pub(crate) fn entries(&self, name: &str) -> Option<Entries> {
        let section = self.sections.get(name)?;
        let mut merged = self.defaults.clone();
        merged.extend(section.entries.iter().map(|(key, entry)| (key.clone(), entry.clone())));
        Some(merged)
    }
}

/// LF, CRLF and a lone CR end a line.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let (line, tail) = rest.split_at(end);
        let ending = if tail.starts_with("\r\n") { 2 } else { 1.min(tail.len()) };
        rest = tail.get(ending..).unwrap_or_default();
        Some(line)
    })
}

/// The keys and values of each section.
pub type Sections = IndexMap<String, IndexMap<String, String>>;

/// Reads a text of the same dialect that is not a circus configuration.
///
/// # Errors
/// [`ConfigErrors`]: what is wrong in which line.
pub fn sections(text: &str) -> Result<Sections, ConfigErrors> {
    let mut report = Report::default();
    let mut ini = Ini::default();
    ini.add(&Arc::from(Path::new("line")), text, &mut report);
    if !report.errors.is_empty() {
        return Err(ConfigErrors { problems: report.errors });
    }
    let values = |name: &str| {
        let entries = ini.entries(name).unwrap_or_default().into_iter();
        entries.map(|(key, entry)| (key, entry.value)).collect()
    };
    Ok(ini.names().map(|name| (name.to_owned(), values(name))).collect())
}

/// White space as Python's `str.isspace` has it.
pub(crate) fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Text without white space at both ends.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_blank)
}

#[derive(Debug)]
enum State {
    /// Nothing but comments so far.
    NoSection,
    /// As before, and an option was complained about already.
    NoSectionReported,
    In {
        section: String,
        /// Indentation of the section's first option, once there was one.
        indent: Option<usize>,
        /// The key that continuation lines belong to; none if they belong to a repeated key and are
        /// dropped with it.
        open: Option<String>,
    },
}

struct LineReader<'a> {
    ini: &'a mut Ini,
    file: &'a Arc<Path>,
    report: &'a mut Report,
    line: usize,
    state: State,
}

impl LineReader<'_> {
    fn read(&mut self, line: &str) {
        let text = line.trim_start_matches(is_blank);
        if text.is_empty() || is_comment(line) {
            return;
        }
        let depth = line.chars().take_while(|c| is_blank(*c)).count();
        match &self.state {
            State::In { indent: Some(indent), .. } if depth > *indent => {
                return self.continuation(text);
            }
            // An indented section: everything in it is read as if it stood at the margin.
            State::In { .. } if depth > 0 && is_comment(text) => return,
            _ => {}
        }
        let at_margin = if matches!(self.state, State::In { .. }) { text } else { line };
        match section_name(at_margin) {
            Some(name) => self.header(name),
            None => self.option(at_margin, depth),
        }
    }

    fn continuation(&mut self, text: &str) {
        let State::In { section, open: Some(key), .. } = &self.state else {
            return;
        };
        let entries = match self.ini.sections.get_mut(section) {
            Some(section) => &mut section.entries,
            None => &mut self.ini.defaults,
        };
        if let Some(entry) = entries.get_mut(key) {
            entry.value.push('\n');
            entry.value.push_str(strip(text));
        }
    }

    fn header(&mut self, name: &str) {
        if name != DEFAULT {
            let header = self.place();
            self.ini
                .sections
                .entry(name.to_owned())
                .or_insert_with(|| Section { header, entries: Entries::new() });
        }
        self.state = State::In { section: name.to_owned(), indent: None, open: None };
    }

    fn option(&mut self, text: &str, depth: usize) {
        let split = text.split_once(['=', ':']);
        let place = self.place();
        match &mut self.state {
            State::NoSection => {
                self.complain("stands before the first [section] header", text);
                self.state = State::NoSectionReported;
            }
            State::NoSectionReported => {}
            State::In { section, indent, open } => {
                let Some((name, rest)) = split else {
                    let message = if text.starts_with('[') {
                        "is no section header; write it as `[name]`"
                    } else {
                        "is neither a `key = value` pair nor a [section] header"
                    };
                    return self.complain(message, text);
                };
                let key = name.trim_end_matches(is_blank);
                if key.is_empty() {
                    return self.complain("has no key before the `=` or `:`", text);
                }
                indent.get_or_insert(depth);
                let entries = match self.ini.sections.get_mut(section) {
                    Some(section) => &mut section.entries,
                    None => &mut self.ini.defaults,
                };
                if let Some(first) = entries.get(key) {
                    *open = None;
                    // In a file that includes this one it stands on purpose.
                    if Arc::ptr_eq(&first.place.file, self.file) {
                        let line = first.place.line;
                        let (section, key) = (section.clone(), key.to_owned());
                        let message = format!("is given twice; what counts is line {line}");
                        self.report_key(section, key, message);
                    }
                } else {
                    let inherited = section == DEFAULT;
                    let entry = Entry { value: first_line(rest).to_owned(), place, inherited };
                    entries.insert(key.to_owned(), entry);
                    *open = Some(key.to_owned());
                }
                if key.starts_with('[') {
                    let message = format!(
                        "`{}` is read as a key, not as a section header, because it has no `]`",
                        shown(text)
                    );
                    self.report(Severity::Warning, message);
                }
            }
        }
    }

    fn report_key(&mut self, section: String, key: String, message: String) {
        let place = self.place();
        let problem = Problem {
            file: place.file.to_path_buf(),
            line: place.number(),
            section: Some(section),
            key: Some(key),
            value: None,
            message,
        };
        self.report.add(Severity::Warning, problem);
    }

    fn place(&self) -> Place {
        Place { file: Arc::clone(self.file), line: self.line }
    }

    fn complain(&mut self, what: &str, text: &str) {
        self.report(Severity::Error, format!("`{}` {what}", shown(strip(text))));
    }

    fn report(&mut self, severity: Severity, message: String) {
        let problem = Problem {
            file: self.file.to_path_buf(),
            line: Some(self.line),
            section: None,
            key: None,
            value: None,
            message,
        };
        self.report.add(severity, problem);
    }
}

/// `#` and `;` at the margin, and the word `rem` in any case.
fn is_comment(line: &str) -> bool {
    line.starts_with(['#', ';'])
        || line.starts_with(['r', 'R'])
            && line.split(is_blank).next().is_some_and(|word| word.eq_ignore_ascii_case("rem"))
}

/// The name in `[name]`; the first `]` ends it and what follows does not matter.
fn section_name(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix('[')?.split_once(']')?;
    (!name.is_empty()).then_some(name)
}

/// The value as it stands on the line of its key.
///
/// Only the first `;` can start a comment, and only after white space; a `;` that opens the value is
/// part of it.
fn first_line(rest: &str) -> &str {
    let value = rest.trim_start_matches(is_blank);
    let end = match value.find(';') {
        Some(at) if value[..at].ends_with(is_blank) => at,
        _ => value.len(),
    };
    match strip(&value[..end]) {
        "\"\"" => "",
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Ini, Report) {
        let (mut ini, mut report) = (Ini::default(), Report::default());
        ini.add(&Arc::from(Path::new("test.ini")), text, &mut report);
        (ini, report)
    }

    fn values(text: &str) -> Vec<(String, String)> {
        let (ini, report) = read(text);
        assert_eq!(report.errors, []);
        let entries = ini.entries("s").expect("section s");
        entries.into_iter().map(|(key, entry)| (key, entry.value)).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn all_syntax_errors_are_reported_with_their_lines() {
        let (_, report) = read("[s]\nnovalue\nk = v\n[]\n= x\n");
        let lines: Vec<_> = report.errors.iter().map(|e| e.line).collect();
        assert_eq!(lines, [Some(2), Some(4), Some(5)]);
    }

    #[test]
    fn a_file_without_header_is_one_error() {
        let (_, report) = read("a = 1\nb = 2\n");
        assert_eq!(report.errors.len(), 1);
        assert_eq!(report.errors[0].line, Some(1));
    }

    #[test]
    fn an_indented_section_reads_like_one_at_the_margin() {
        assert_eq!(
            values("[s]\n  # comment\n  a = 1\n    more\n  b = 2\nc = 3\n"),
            pairs(&[("a", "1\nmore"), ("b", "2"), ("c", "3")])
        );
    }

    #[test]
    fn continuation_lines_of_a_repeated_key_are_dropped_with_it() {
        assert_eq!(values("[s]\na = 1\na = 2\n  three\n"), pairs(&[("a", "1")]));
    }

    #[test]
    fn a_repeated_key_is_warned_about_unless_another_file_has_it_too() {
        let (mut ini, mut report) = read("[s]\na = 1\nb = 2\n[s]\na = 3\n");
        let expected = "test.ini:5: [s] a: is given twice; what counts is line 2";
        assert_eq!(report.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
        ini.add(&Arc::from(Path::new("other.ini")), "[s]\nb = 4\n", &mut report);
        assert_eq!(report.warnings.len(), 1);
    }

    #[test]
    fn the_word_rem_starts_a_comment_but_rem_equals_is_a_key() {
        assert_eq!(
            values("[s]\nREM a = 1\nrem\nrem=2\nremark = 3\n"),
            pairs(&[("rem", "2"), ("remark", "3")])
        );
    }

    #[test]
    fn a_value_that_starts_with_a_semicolon_is_kept_whatever_follows() {
        assert_eq!(
            values("[s]\na = ;x \nb = \"\"\nc = ''\n"),
            pairs(&[("a", ";x"), ("b", ""), ("c", "''")])
        );
    }

    #[test]
    fn defaults_come_first_and_lose() {
        assert_eq!(
            values("[s]\nb = own\nc = 3\n[DEFAULT]\na = 1\n  more\nb = 2\n"),
            pairs(&[("a", "1\nmore"), ("b", "own"), ("c", "3")])
        );
    }

    #[test]
    fn line_numbers_count_every_line_ending() {
        let (ini, _) = read("[s]\r\n\r# x\nk = 1");
        assert_eq!(ini.entries("s").expect("section")["k"].place.line, 4);
    }
}
