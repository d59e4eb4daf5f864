//! The same sections and keys as in an ini file, as a JSON object of objects: every value exactly as it is given,
//! blanks, newlines and semicolons included. For programs that write a configuration.

use super::ini::{Ini, Place};
use super::problem::{Problem, Report, Severity};
use indexmap::IndexMap;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// Adds the text of one file; what is defined already stays as it is.
pub(crate) fn add(ini: &mut Ini, file: &Arc<Path>, text: &str, report: &mut Report) {
    let problem = |line, section: Option<&str>, key: Option<&str>, message: String| Problem {
        file: file.to_path_buf(),
        line,
        section: section.map(str::to_owned),
        key: key.map(str::to_owned),
        value: None,
        message,
    };
    let sections: IndexMap<String, IndexMap<String, Value>> = match serde_json::from_str(text) {
        Ok(sections) => sections,
        Err(error) => {
            let message = format!(
                "is no JSON object of sections, such as {{\"watcher:web\": {{\"cmd\": \"serve\"}}}}: {error}"
            );
            return report.add(Severity::Error, problem(Some(error.line()), None, None, message));
        }
    };
    let place = Place { file: Arc::clone(file), line: 1 };
    for (section, keys) in sections {
        for (key, value) in keys {
            let value = match value {
                Value::String(text) => text,
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                _ => {
                    let message = "must be text, a number, true or false".to_owned();
                    let problem = problem(None, Some(&section), Some(&key), message);
                    report.add(Severity::Error, problem);
                    continue;
                }
            };
            ini.set(&section, &key, value, &place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Ini, Report) {
        let (mut ini, mut report) = (Ini::default(), Report::default());
        add(&mut ini, &Arc::from(Path::new("test.json")), text, &mut report);
        (ini, report)
    }

    #[test]
    fn values_are_exact_and_defaults_are_in_every_section() {
        let text = r#"{"DEFAULT": {"shell": true},
            "watcher:w": {"cmd": " a ; b\n; c \"\"", "numprocesses": 2, "cmd ": ""}}"#;
        let (ini, report) = read(text);
        assert!(report.errors.is_empty(), "{report:?}");
        let entries = ini.entries("watcher:w").unwrap();
        let values =
            ["cmd", "numprocesses", "shell", "cmd "].map(|key| entries[key].value.as_str());
        assert_eq!(values, [" a ; b\n; c \"\"", "2", "true", ""]);
        assert!(entries["shell"].inherited && !entries["cmd"].inherited);
    }

    #[test]
    fn what_cannot_be_a_value_is_said_with_its_place() {
        let told = |text| {
            let problems = read(text).1.errors;
            problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            told(r#"{"watcher:w": {"cmd": ["a"], "args": null}}"#),
            ["cmd", "args"].map(|key| {
                format!("test.json: [watcher:w] {key}: must be text, a number, true or false")
            })
        );
        let told = told("{\n3}");
        assert!(told[0].starts_with("test.json:2: is no JSON object of sections"), "{told:?}");
    }
}
