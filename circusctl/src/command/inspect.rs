//! Commands that look without touching: what there is and in which state.

use super::call::{Call, Properties, required, required_list, required_object};
use crate::colour::Colour;
use crate::python_text::text;
use crate::report::CommandError;
use protocol::circus::response::Response;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// `list [NAME]`.
#[derive(Debug, clap::Args)]
pub struct List {
    /// The watcher whose pids are wanted
    name: Option<String>,
}

impl Call for List {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Properties::default().maybe("name", self.name.as_ref()).done())
    }

    fn render(&self, response: &Response) -> Result<String, CommandError> {
        let key = if response.get("pids").is_some() { "pids" } else { "watchers" };
        let words: Vec<_> = required_list(response, key)?.iter().map(text).collect();
        Ok(words.join(",") + "\n")
    }
}

/// `status [NAME]`.
#[derive(Debug, clap::Args)]
pub struct Status {
    /// The watcher; all without it
    name: Option<String>,
}

impl Call for Status {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Properties::default().maybe("name", self.name.as_ref()).done())
    }

    fn render(&self, response: &Response) -> Result<String, CommandError> {
        self.show(response, Colour::Off)
    }

    fn show(&self, response: &Response, colour: Colour) -> Result<String, CommandError> {
        if response.get("statuses").is_none() {
            return Ok(format!("{}\n", colour.state(response.status())));
        }
        let mut statuses: Vec<_> = required_object(response, "statuses")?.iter().collect();
        statuses.sort_by_key(|(name, _)| *name);
        let line =
            |(name, state): (&String, &Value)| format!("{name}: {}", colour.state(&text(state)));
        let lines: Vec<_> = statuses.into_iter().map(line).collect();
        Ok(lines.join("\n") + "\n")
    }
}

/// `numprocesses [NAME]`.
#[derive(Debug, clap::Args)]
pub struct NumProcesses {
    /// The watcher; all without it
    name: Option<String>,
}

impl Call for NumProcesses {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Properties::default().maybe("name", self.name.as_ref()).done())
    }

    fn render(&self, response: &Response) -> Result<String, CommandError> {
        Ok(text(required(response, "numprocesses")?) + "\n")
    }
}

/// `numwatchers`.
#[derive(Debug, clap::Args)]
pub struct NumWatchers {}

impl Call for NumWatchers {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Map::new())
    }

    fn render(&self, response: &Response) -> Result<String, CommandError> {
        Ok(text(required(response, "numwatchers")?) + "\n")
    }
}

/// `listsockets`.
#[derive(Debug, clap::Args)]
pub struct ListSockets {}

impl Call for ListSockets {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Map::new())
    }

    fn render(&self, response: &Response) -> Result<String, CommandError> {
        let sockets = required_list(response, "sockets")?;
        let mut out = String::new();
        for socket in sockets {
            let part = |key: &str| socket.get(key).map(text).unwrap_or_default();
            let address = match socket.get("path") {
                Some(path) => text(path),
                None => format!("{}:{}", part("host"), part("port")),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}:socket '{}' at {address}", part("fd"), part("name"));
        }
        Ok(if out.is_empty() { "\n".into() } else { out })
    }
}
