//! The endpoints in an ini file of circusd, for a client that is told no endpoint.
//!
//! Reads the three endpoint keys of `[circus]` and nothing else; what a file means as a whole is
//! circusd's business. Used by `session`.

use crate::report::CommandError;
use std::io;
use std::path::{Path, PathBuf};

/// Where circusd's file usually is, first choice first.
const USUAL_PLACES: [&str; 3] =
    ["/etc/circus/circus.ini", "/etc/circus/circusd.ini", "/etc/circus.ini"];

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("could not read the configuration file {}", path.display())]
pub struct ConfigFileError {
    path: PathBuf,
    source: io::Error,
}

/// What an ini file says about endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    path: PathBuf,
    endpoints: Vec<(String, String)>,
}

impl ConfigFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or it is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, ConfigFileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigFileError { path: path.to_owned(), source })?;
        let variable = |name: &str| std::env::var(name).ok();
        Ok(Self { path: path.to_owned(), endpoints: endpoints(&text, variable) })
    }

    /// The first file in the usual places that is there and can be read.
    pub fn usual() -> Option<Self> {
        USUAL_PLACES.iter().find_map(|place| Self::read(Path::new(place)).ok())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value of an endpoint key, in a form to connect to.
    pub fn endpoint(&self, key: &str) -> Option<&str> {
        self.endpoints.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

impl From<ConfigFileError> for CommandError {
    fn from(error: ConfigFileError) -> Self {
        Self::local(error.to_string()).cause(error.source.to_string())
    }
}

/// The keys of `[circus]` that end in `endpoint`, in lower case. Values that cannot be completed from
/// the environment are left out.
fn endpoints(text: &str, variable: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.trim_end();
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            inside = section.0.trim() == "circus";
        }
        // An indented line continues the value before it, and no endpoint has two lines.
        if !inside || line.starts_with([' ', '\t', '#', ';', '[']) {
            continue;
        }
        let Some((key, value)) = line.split_once(['=', ':']) else { continue };
        let key = key.trim().to_lowercase();
        let value = value.split(" ;").next().unwrap_or_default().trim();
        if key.ends_with("endpoint")
            && let Some(value) = expanded(value, &variable).filter(|value| !value.is_empty())
        {
            found.push((key, connectable(&value)));
        }
    }
    found
}

/// The value with each `$(circus.env.NAME)` replaced; none when a variable is not set.
fn expanded(value: &str, variable: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let Some((before, rest)) = value.split_once("$(") else { return Some(value.to_owned()) };
    let (name, after) = rest.split_once(')')?;
    let value = variable(name.strip_prefix("circus.env.")?)?;
    Some(format!("{before}{value}{}", expanded(after, variable)?))
}

/// A daemon binds to every interface with `*` or `0.0.0.0`, to which nobody can connect.
fn connectable(endpoint: &str) -> String {
    for wildcard in ["tcp://*:", "tcp://0.0.0.0:"] {
        if let Some(port) = endpoint.strip_prefix(wildcard) {
            return format!("tcp://127.0.0.1:{port}");
        }
    }
    endpoint.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, String)> {
        endpoints(text, |name| (name == "PORT").then(|| "7".to_owned()))
    }

    #[test]
    fn only_the_circus_section_counts() {
        let text = "[watcher:a]\nendpoint = x\n[circus]\n# endpoint = y\nEndpoint: ipc:///run/c ; mine\n\
                    pubsub_endpoint=tcp://*:6\n[env]\nendpoint = z\n";
        let expected = [("endpoint", "ipc:///run/c"), ("pubsub_endpoint", "tcp://127.0.0.1:6")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(found(text), expected);
    }

    #[test]
    fn variables_are_those_of_the_environment() {
        let text = "[circus]\nendpoint = tcp://127.0.0.1:$(circus.env.PORT)\nstats_endpoint = $(circus.env.NO)\n";
        assert_eq!(found(text), [("endpoint".to_owned(), "tcp://127.0.0.1:7".to_owned())]);
    }
}
