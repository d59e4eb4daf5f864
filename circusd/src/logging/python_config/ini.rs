//! The ini form: that of Python's `fileConfig`.

use super::literal::{self, Literal};
use super::{
    Format, Logger, NAME, Parts, RawHandler, Target, class_name, file, level, stream, syslog,
    unknown_class,
};
use crate::config::{Sections, sections};
use indexmap::IndexMap;
use serde_json::Value;

pub(super) fn parse(text: &str) -> Result<Parts, String> {
    let all = sections(text).map_err(|errors| errors.to_string())?;
    let mut parts = Parts::default();
    for name in keys(&all, "formatters")? {
        let described = section(&all, &format!("formatter_{name}"))?;
        let text = |key: &str| described.get(key).map(String::as_str).filter(|v| !v.is_empty());
        let format = Format::parse(text("format"), text("datefmt"))
            .map_err(|problem| format!("[formatter_{name}]: {problem}"))?;
        parts.formats.insert(name, format);
    }
    for name in keys(&all, "handlers")? {
        let described = section(&all, &format!("handler_{name}"))?;
        let handler = RawHandler {
            target: target(&name, described)?,
            level: own_level(described, &name)?,
            format: described.get("formatter").filter(|v| !v.is_empty()).cloned(),
        };
        parts.handlers.insert(name, handler);
    }
    for name in keys(&all, "loggers")? {
        let described = section(&all, &format!("logger_{name}"))?;
        let qualified = described.get("qualname").map(String::as_str);
        let logger = Logger {
            level: own_level(described, &name)?,
            handlers: list(described.get("handlers")),
            stays_here: described.get("propagate").is_some_and(|value| value.trim() == "0"),
        };
        if name == "root" {
            parts.root = logger;
        } else if qualified == Some(NAME) {
            parts.circus = Some(logger);
        }
    }
    Ok(parts)
}

fn target(name: &str, described: &IndexMap<String, String>) -> Result<Option<Target>, String> {
    let class = described.get("class").map_or("", String::as_str);
    let args = described.get("args").map_or("()", String::as_str);
    let args = literal::tuple(args).ok_or_else(|| {
        format!("[handler_{name}] args = {args}: not a tuple of texts and numbers")
    })?;
    let text = |at: usize| args.get(at).and_then(Literal::text);
    let value = |at: usize| args.get(at).map_or(Value::Null, Literal::to_value);
    match class_name(class) {
        "StreamHandler" => stream(name, text(0)).map(Some),
        "FileHandler" | "WatchedFileHandler" => file(name, text(0), text(1)).map(Some),
        "SysLogHandler" => syslog(name, &value(0), &value(1)).map(Some),
        "NullHandler" => Ok(None),
        _ => Err(unknown_class(name, class)),
    }
}

fn own_level(
    described: &IndexMap<String, String>,
    name: &str,
) -> Result<Option<super::Level>, String> {
    let value = described.get("level").map_or(Value::Null, |text| Value::String(text.clone()));
    level(&value).map_err(|problem| format!("`{name}`: {problem}"))
}

fn keys(all: &Sections, group: &str) -> Result<Vec<String>, String> {
    Ok(list(section(all, group)?.get("keys")))
}

fn section<'a>(all: &'a Sections, name: &str) -> Result<&'a IndexMap<String, String>, String> {
    all.get(name).ok_or_else(|| format!("the section [{name}] is missing"))
}

fn list(text: Option<&String>) -> Vec<String> {
    let names = text.map_or("", String::as_str).split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
