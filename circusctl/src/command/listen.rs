//! `listen`: the events of circusd, one line each.

use crate::subscriber::Published;

/// `listen [TOPIC...]`.
#[derive(Debug, clap::Args)]
pub struct Listen {
    /// Show only events whose topic begins so, such as `watcher.web.`; all without it
    pub topic: Vec<String>,
}

impl Listen {
    /// The line of one event.
    pub fn render(event: &Published) -> String {
        format!("{}: {}\n", event.topic, event.payload)
    }
}
