//! Commands that change how many processes a watcher has.

use super::call::{Call, Properties};
use crate::python_text::text;
use crate::report::CommandError;
use protocol::circus::response::Response;
use serde_json::{Map, Value};

/// `incr NAME [N]` and `decr NAME [N]`.
#[derive(Debug, clap::Args)]
pub struct Scale {
    /// The watcher
    name: String,
    /// How many processes more or less; 1 without it
    #[arg(allow_negative_numbers = true)]
    number: Option<i64>,
    /// Wait until it is done
    #[arg(long)]
    waiting: bool,
}

impl Call for Scale {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Properties::default()
            .with("name", self.name.clone())
            .maybe("nb", self.number.as_ref())
            .with("waiting", self.waiting)
            .done())
    }

    fn render(&self, response: &Response) -> Result<String, CommandError> {
        if response.get("singleton").and_then(Value::as_bool) == Some(true) {
            let text = "This watcher is a Singleton - not changing the number of processes\n";
            return Ok(text.into());
        }
        Ok(match response.get("numprocesses") {
            Some(number) => text(number) + "\n",
            None => "ok\n".into(),
        })
    }
}
