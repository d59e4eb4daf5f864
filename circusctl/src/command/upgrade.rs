//! `upgrade`: lets circusd, or its kernel, go on as another program.

use super::call::Properties;
use crate::report::CommandError;
use protocol::circus::response::Response;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `upgrade [BINARY]`.
#[derive(Debug, clap::Args)]
pub struct Upgrade {
    /// The program to go on as; the file that is running now, or what has taken its place, if left out
    binary: Option<PathBuf>,
    /// Upgrade the papa kernel instead of circusd
    #[arg(long)]
    kernel: bool,
    /// Stop and start again what does not live in the papa kernel
    #[arg(long)]
    restart_direct: bool,
}

/// What circusd said to the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is done; this is what to show.
    Done(String),
    /// It has begun under this name.
    Pending(String),
}

impl Upgrade {
    /// What circusd is told: `within` is the time that the new circusd has before the old one comes back. The
    /// path is made absolute, since circusd may run elsewhere.
    ///
    /// # Errors
    /// The path cannot be made absolute.
    pub fn properties(&self, within: Duration) -> Result<Map<String, Value>, CommandError> {
        let mut properties = Properties::default()
            .switch("kernel", self.kernel)
            .switch("restart_direct", self.restart_direct)
            .with("timeout", within.as_secs_f64())
            .done();
        if let Some(path) = &self.binary {
            properties.insert("program".to_owned(), Value::String(absolute(path)?));
        }
        Ok(properties)
    }

    /// Reads the answer to the order.
    pub fn begun(&self, response: &Response) -> Begun {
        let text = |key: &str| response.get(key).and_then(Value::as_str).map(str::to_owned);
        match text("upgrade") {
            Some(id) => Begun::Pending(id),
            None => Begun::Done(text("kernel").map_or_else(|| "ok\n".to_owned(), |k| k + "\n")),
        }
    }

    /// The question how it ended.
    pub fn question(id: &str) -> Map<String, Value> {
        Properties::default().with("result", id.to_owned()).done()
    }

    /// Whether it has not ended yet.
    pub fn is_pending(response: &Response) -> bool {
        response.get("pending") == Some(&Value::Bool(true))
    }

    /// What to show at the end.
    pub fn render(response: &Response) -> String {
        let text = |key: &str| response.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
        format!("circusd {} has taken over from {}\n", text("to"), text("from"))
    }
}

fn absolute(path: &Path) -> Result<String, CommandError> {
    let failed = |why: String| {
        CommandError::local(format!("cannot use the program `{}`", path.display())).cause(why)
    };
    let absolute = std::path::absolute(path).map_err(|error| failed(error.to_string()))?;
    absolute.into_os_string().into_string().map_err(|_| failed("its path is not UTF-8".to_owned()))
}
