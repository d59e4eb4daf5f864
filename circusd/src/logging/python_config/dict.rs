//! JSON and YAML: the form of Python's `dictConfig`.

use super::{
    Format, Level, Logger, NAME, Parts, RawHandler, Target, class_name, file, level, stream,
    syslog, unknown_class,
};
use serde_json::{Map, Value};

pub(super) fn parse_json(text: &str) -> Result<Parts, String> {
    let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    parts(&value)
}

pub(super) fn parse_yaml(text: &str) -> Result<Parts, String> {
    let value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    parts(&value)
}

fn parts(value: &Value) -> Result<Parts, String> {
    let top = object(value, "the file")?;
    let mut parts = Parts::default();
    for (name, formatter) in entries(top, "formatters")? {
        let formatter = object(formatter, &format!("formatter `{name}`"))?;
        let text = |key: &str| formatter.get(key).and_then(Value::as_str);
        let format = Format::parse(text("format"), text("datefmt"))
            .map_err(|problem| format!("formatter `{name}`: {problem}"))?;
        parts.formats.insert(name.clone(), format);
    }
    for (name, described) in entries(top, "handlers")? {
        let described = object(described, &format!("handler `{name}`"))?;
        let handler = RawHandler {
            target: target(name, described)?,
            level: own_level(described, name)?,
            format: described.get("formatter").and_then(Value::as_str).map(str::to_owned),
        };
        parts.handlers.insert(name.clone(), handler);
    }
    if let Some(root) = top.get("root") {
        parts.root = logger(root, "root")?;
    }
    for (name, described) in entries(top, "loggers")? {
        if name == NAME {
            parts.circus = Some(logger(described, name)?);
        } else if name.is_empty() {
            parts.root = logger(described, "root")?;
        }
    }
    Ok(parts)
}

fn target(name: &str, described: &Map<String, Value>) -> Result<Option<Target>, String> {
    let text = |key: &str| {
        let value = described.get(key).and_then(Value::as_str);
        value.map(|value| value.strip_prefix("ext://").unwrap_or(value))
    };
    let class = text("class").unwrap_or_default();
    let value = |key: &str| described.get(key).cloned().unwrap_or(Value::Null);
    match class_name(class) {
        "StreamHandler" => stream(name, text("stream")).map(Some),
        "FileHandler" | "WatchedFileHandler" => {
            file(name, text("filename"), text("mode")).map(Some)
        }
        "SysLogHandler" => {
            let facility = match text("facility") {
                Some(text) => Value::String(text.to_owned()),
                None => value("facility"),
            };
            syslog(name, &value("address"), &facility).map(Some)
        }
        "NullHandler" => Ok(None),
        _ => Err(unknown_class(name, class)),
    }
}

fn logger(described: &Value, name: &str) -> Result<Logger, String> {
    let described = object(described, &format!("logger `{name}`"))?;
    let names = described.get("handlers").and_then(Value::as_array);
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    Ok(Logger {
        level: own_level(described, name)?,
        handlers: names.map(str::to_owned).collect(),
        stays_here: described.get("propagate") == Some(&Value::Bool(false)),
    })
}

fn own_level(described: &Map<String, Value>, name: &str) -> Result<Option<Level>, String> {
    let value = described.get("level").unwrap_or(&Value::Null);
    level(value).map_err(|problem| format!("`{name}`: {problem}"))
}

fn entries<'a>(
    top: &'a Map<String, Value>,
    key: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, String> {
    let group = top.get(key).map(|value| object(value, &format!("`{key}`"))).transpose()?;
    Ok(group.into_iter().flatten())
}

fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("{what} is not a mapping"))
}
