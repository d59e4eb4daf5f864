//! Commands that start, stop and renew the processes of watchers.

use super::call::{Call, Properties};
use crate::report::CommandError;
use serde_json::{Map, Value};

/// `start`, `stop` and `restart`, each with `[NAME]`.
#[derive(Debug, clap::Args)]
pub struct Lifecycle {
    /// The watcher, or a pattern; all without it
    name: Option<String>,
    /// Wait until it is done
    #[arg(long)]
    waiting: bool,
    /// How NAME is compared: simple, glob or regex
    #[arg(long = "match", value_name = "METHOD", default_value = "glob")]
    matching: String,
}

impl Call for Lifecycle {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Properties::default()
            .maybe("name", self.name.as_ref())
            .with("waiting", self.waiting)
            .with("match", self.matching.clone())
            .done())
    }
}

/// `reload [NAME]`.
#[derive(Debug, clap::Args)]
pub struct Reload {
    /// The watcher; all without it
    name: Option<String>,
    /// Wait until it is done
    #[arg(long)]
    waiting: bool,
    /// Replace one process after the other
    #[arg(long)]
    sequential: bool,
    /// Stop everything first, then start it: a restart
    #[arg(long)]
    terminate: bool,
}

impl Call for Reload {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Properties::default()
            .maybe("name", self.name.as_ref())
            .with("graceful", !self.terminate)
            .with("waiting", self.waiting)
            .with("sequential", self.sequential)
            .done())
    }
}
