//! Answers with their changing parts replaced by placeholders, as they were recorded.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "only tests use it")]

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What one case has seen so far.
#[derive(Debug, Clone)]
pub(crate) struct Normalizer {
    directory: String,
    /// Neighbouring records of one stream are joined.
    pub(crate) merge: bool,
    pub(crate) any_running: bool,
    pub(crate) free_port: Option<String>,
    /// The last pid, port and fileno.
    pub(crate) last: BTreeMap<&'static str, String>,
    pub(crate) pids: HashMap<String, i32>,
    ports: BTreeSet<String>,
}

enum Token {
    Text(String),
    Closed { name: String, code: String },
    Output { stream: String, name: String, data: Vec<u8>, whole: bool },
}

impl Normalizer {
    pub(crate) fn new(directory: &str, merge: bool) -> Self {
        let last = ["pid", "port", "fileno"].map(|key| (key, "None".to_owned()));
        Self {
            directory: directory.to_owned(),
            merge,
            any_running: false,
            free_port: None,
            last: last.into(),
            pids: HashMap::new(),
            ports: BTreeSet::new(),
        }
    }

    pub(crate) fn normal(&mut self, raw: &[u8]) -> String {
        let mut text = String::new();
        for token in self.joined(tokens(raw)) {
            match token {
                Token::Text(line) => text.push_str(&self.line(line)),
                Token::Closed { name, code } => {
                    text.push_str(&format!("closed:{name}:<ts>:{code}\n"));
                }
                Token::Output { stream, name, data, whole } => {
                    if is_flat(&data) && data.len() > 1000 {
                        text.push_str(&format!(
                            "<chunks {stream} {name} total={} byte=0x{:02x}>",
                            data.len(),
                            data[0]
                        ));
                    } else {
                        let (data, length) = self.data(&data);
                        text.push_str(&format!("{stream}:{name}:<ts>:{length}\n{data}"));
                    }
                    text.push_str(if whole { "\n" } else { "<BROKEN RECORD>" });
                }
            }
        }
        text
    }

    fn joined(&self, tokens: Vec<Token>) -> Vec<Token> {
        let mut out: Vec<Token> = Vec::new();
        for token in tokens {
            if let Token::Output { stream, name, data, whole } = &token
                && let Some(Token::Output { stream: s, name: n, data: before, whole: w }) =
                    out.last_mut()
                && (&*s, &*n, *w) == (stream, name, true)
                && (self.merge || (is_flat(data) && is_flat(before) && before[0] == data[0]))
            {
                before.extend_from_slice(data);
                *w = *whole;
            } else {
                out.push(token);
            }
        }
        out
    }

    /// What a hosted process wrote, and its length if that does not change.
    fn data(&self, data: &[u8]) -> (String, String) {
        let Ok(text) = std::str::from_utf8(data) else {
            let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
            return (format!("<hex {hex}>"), "<n>".to_owned());
        };
        let normal = self.known_ports(&text.replace(&self.directory, "<tmp>"));
        let length = if normal == text { data.len().to_string() } else { "<n>".to_owned() };
        (normal, length)
    }

    fn line(&mut self, mut text: String) -> String {
        if let Some((name, pid)) = number_between(&text, " pid=", " running=") {
            let name = name.rsplit_once(" created - ").map_or(name, |(_, name)| name);
            self.pids.insert(name.to_owned(), pid.parse().unwrap());
            self.last.insert("pid", pid.to_owned());
        }
        if let Some((_, port)) = number_between(&text, " port=", "")
            && Some(port) != self.free_port.as_deref()
        {
            self.last.insert("port", port.to_owned());
            self.ports.insert(port.to_owned());
        }
        if let Some((_, number)) = number_between(&text, " fileno=", "") {
            self.last.insert("fileno", number.to_owned());
        }
        text = replace_numbers(&text, " pid=", " running", "<pid>");
        if self.any_running {
            for state in ["True", "False"] {
                text = text.replace(&format!(" running={state} "), " running=<running> ");
            }
        }
        // The recording lost the line feed here.
        for key in ["pid", "fileno", "port"] {
            if text == format!("Error: {} not found\n", self.last[key]) {
                text = format!("Error: <{key}> not found");
            }
        }
        text = replace_times(&text);
        text = replace_numbers(&text, " fileno=", "", "<fileno>");
        if let Some(port) = &self.free_port {
            text = map_digits(&text, |digits| (digits == port).then(|| "<freeport>".to_owned()));
        }
        text = replace_numbers(&text, " port=", "", "<port>");
        self.known_ports(&text.replace(&self.directory, "<tmp>"))
    }

    fn known_ports(&self, text: &str) -> String {
        map_digits(text, |digits| self.ports.contains(digits).then(|| "<port>".to_owned()))
    }
}

fn is_flat(data: &[u8]) -> bool {
    data.len() >= 64 && data.iter().all(|byte| *byte == data[0])
}

fn tokens(raw: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = raw;
    while !rest.is_empty() {
        let end = rest.iter().position(|&byte| byte == b'\n');
        let (line, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        rest = after;
        let text = String::from_utf8_lossy(line).into_owned();
        match end.and(head(text.trim_end_matches('\n'))) {
            Some(("closed", name, code)) => {
                tokens.push(Token::Closed { name: name.to_owned(), code: code.to_owned() });
            }
            Some((stream, name, length)) => {
                let length: usize = length.parse().unwrap();
                let data = rest.get(..length).unwrap_or(rest).to_vec();
                let whole = rest.get(length) == Some(&b'\n');
                rest = rest.get(length + 1..).unwrap_or_default();
                let (stream, name) = (stream.to_owned(), name.to_owned());
                tokens.push(Token::Output { stream, name, data, whole });
            }
            None => tokens.push(Token::Text(text)),
        }
    }
    tokens
}

/// Stream, name and last field of a record's first line.
fn head(line: &str) -> Option<(&str, &str, &str)> {
    let (stream, rest) = line.split_once(':')?;
    let mut fields = rest.rsplitn(3, ':');
    let (last, time, name) = (fields.next()?, fields.next()?, fields.next()?);
    let is_head = matches!(stream, "out" | "err" | "closed")
        && last.parse::<i64>().is_ok()
        && time.parse::<f64>().is_ok();
    is_head.then_some((stream, name, last))
}

/// What stands before the first `before DIGITS after`, and the digits.
fn number_between<'a>(text: &'a str, before: &str, after: &str) -> Option<(&'a str, &'a str)> {
    text.match_indices(before).find_map(|(at, _)| {
        let rest = &text[at + before.len()..];
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let found = digits > 0 && rest[digits..].starts_with(after);
        found.then(|| (&text[..at], &rest[..digits]))
    })
}

fn replace_numbers(text: &str, before: &str, after: &str, with: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((start, digits)) = number_between(rest, before, after) {
        out.push_str(start);
        out.push_str(before);
        out.push_str(with);
        rest = &rest[start.len() + before.len() + digits.len()..];
    }
    out + rest
}

fn replace_times(text: &str) -> String {
    let text = replace_numbers(text, " started=", ".", "<ts>");
    let text = replace_numbers(&text, " started=", "", "<ts>");
    replace_numbers(&text, " started=<ts>.", "", "").replace(" started=<ts>.", " started=<ts>")
}

/// Replaces runs of digits that are no part of a longer word.
fn map_digits(text: &str, map: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        out.push_str(&map(&rest[..end]).unwrap_or_else(|| rest[..end].to_owned()));
        rest = &rest[end..];
    }
    out + rest
}
