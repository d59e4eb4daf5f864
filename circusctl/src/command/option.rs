//! Commands that show and set options.

use super::call::{Call, Properties, required_object};
use super::option_value;
use crate::python_text::{shown, text};
use crate::report::CommandError;
use protocol::circus::response::Response;
use serde_json::{Map, Value};

/// `get NAME KEY...`.
#[derive(Debug, clap::Args)]
pub struct Get {
    /// The watcher
    name: String,
    /// The options
    #[arg(required = true)]
    key: Vec<String>,
}

impl Call for Get {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        let properties = Properties::default().with("name", self.name.clone());
        Ok(properties.with("keys", self.key.clone()).done())
    }

    fn render(&self, response: &Response) -> Result<String, CommandError> {
        option_lines(response)
    }
}

/// `options NAME`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The watcher
    name: String,
}

impl Call for Options {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Properties::default().with("name", self.name.clone()).done())
    }

    fn render(&self, response: &Response) -> Result<String, CommandError> {
        option_lines(response)
    }
}

/// `globaloptions [OPTION]`.
#[derive(Debug, clap::Args)]
pub struct GlobalOptions {
    /// The option; all without it
    option: Option<String>,
}

impl Call for GlobalOptions {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Properties::default().maybe("option", self.option.as_ref()).done())
    }

    fn render(&self, response: &Response) -> Result<String, CommandError> {
        option_lines(response)
    }
}

/// `set NAME KEY VALUE...`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "circusctl set [OPTIONS] <NAME> <KEY> <VALUE> [<KEY> <VALUE>]...")]
pub struct Set {
    /// The watcher
    name: String,
    /// The options and their new values
    #[arg(required = true, value_name = "KEY VALUE", allow_negative_numbers = true)]
    pairs: Vec<String>,
    /// Wait until it is done
    #[arg(long)]
    waiting: bool,
}

impl Call for Set {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        let mut options = Map::new();
        for pair in self.pairs.chunks(2) {
            let [key, value] = pair else {
                let key = pair.first().map_or("", String::as_str);
                return Err(CommandError::local(format!("option `{key}` has no value"))
                    .hint("keys and values alternate: circusctl set NAME KEY VALUE KEY VALUE"));
            };
            let key = key.to_lowercase();
            let value = option_value::parse(&key, value)?;
            options.insert(key, value);
        }
        Ok(Properties::default()
            .with("name", self.name.clone())
            .with("options", options)
            .switch("waiting", self.waiting)
            .done())
    }
}

/// `KEY: VALUE` per line in the order of the reply.
fn option_lines(response: &Response) -> Result<String, CommandError> {
    let lines: Vec<_> = required_object(response, "options")?
        .iter()
        .map(|(key, value)| match value {
            Value::Object(variables) if key == "env" => {
                format!("{key}: {}", environment(variables))
            }
            value => format!("{key}: {}", shown(value)),
        })
        .collect();
    Ok(lines.join("\n") + "\n")
}

/// `K=V,K=V`, sorted by name.
fn environment(variables: &Map<String, Value>) -> String {
    let mut pairs: Vec<_> =
        variables.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
    pairs.sort();
    pairs.join(",")
}
