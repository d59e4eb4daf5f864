//! Commands that change what circusd manages, and the one that ends it.

use super::call::{Call, Properties};
use crate::report::CommandError;
use serde_json::{Map, Value};

/// `add NAME COMMAND...`.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// The new watcher
    name: String,
    /// Its command; several words are joined by blanks
    #[arg(required = true, allow_negative_numbers = true)]
    command: Vec<String>,
    /// Start it at once
    #[arg(long)]
    start: bool,
}

impl Call for Add {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Properties::default()
            .with("name", self.name.clone())
            .with("cmd", self.command.join(" "))
            .with("start", self.start)
            .done())
    }
}

/// `rm NAME`.
#[derive(Debug, clap::Args)]
pub struct Rm {
    /// The watcher
    name: String,
    /// Leave its processes running, unmanaged
    #[arg(long)]
    nostop: bool,
    /// Wait until it is done
    #[arg(long)]
    waiting: bool,
}

impl Call for Rm {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Properties::default()
            .with("name", self.name.clone())
            .switch("nostop", self.nostop)
            .switch("waiting", self.waiting)
            .done())
    }
}

/// `reloadconfig`.
#[derive(Debug, clap::Args)]
pub struct ReloadConfig {
    /// Wait until it is done
    #[arg(long)]
    waiting: bool,
}

impl Call for ReloadConfig {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Properties::default().with("waiting", self.waiting).done())
    }
}

/// `quit`.
#[derive(Debug, clap::Args)]
pub struct Quit {
    /// Wait until every watcher has stopped
    #[arg(long)]
    waiting: bool,
}

impl Call for Quit {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Properties::default().with("waiting", self.waiting).done())
    }
}
