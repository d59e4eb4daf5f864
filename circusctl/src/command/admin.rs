//! Commands that change what circusd manages, and the one that ends it.

use super::call::{Call, Properties, required_object};
use crate::python_text::text;
use crate::report::CommandError;
use protocol::circus::response::Response;
use serde_json::{Map, Value};
use std::fmt::Write as _;

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
    /// Only show what would be done and why; nothing is changed
    #[arg(long)]
    plan: bool,
    /// Wait until it is done
    #[arg(long)]
    waiting: bool,
}

impl Call for ReloadConfig {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Properties::default().with("waiting", self.waiting).switch("plan", self.plan).done())
    }

    fn render(&self, response: &Response) -> Result<String, CommandError> {
        if self.plan { plan(required_object(response, "plan")?) } else { Ok("ok\n".into()) }
    }
}

/// One line for each step: `restart watcher web: changed: cmd`.
fn plan(plan: &Map<String, Value>) -> Result<String, CommandError> {
    let mut out = String::new();
    for (key, kind) in [("sockets", "socket"), ("watchers", "watcher"), ("circus", "[circus]")] {
        for step in plan.get(key).and_then(Value::as_array).into_iter().flatten() {
            let part = |key: &str| step.get(key).map(text).unwrap_or_default();
            let keys = step.get("keys").and_then(Value::as_array).into_iter().flatten();
            let keys: Vec<_> = keys.map(text).collect();
            let reason = match (step.get("reason").and_then(Value::as_str), keys.is_empty()) {
                (Some(reason), _) => format!(": {reason}"),
                (None, false) => format!(": changed: {}", keys.join(", ")),
                (None, true) => String::new(),
            };
            // Writing to a String cannot fail.
            let _ = match part("action").as_str() {
                "restart circusd" => writeln!(out, "restart circusd for {kind} {}", part("key")),
                action => {
                    writeln!(out, "{action} {kind} {}{}{reason}", part("name"), part("key"))
                }
            };
        }
    }
    Ok(if out.is_empty() { "nothing to do\n".into() } else { out })
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_plan_is_a_line_for_each_step() {
        let steps = json!({
            "sockets": [{"name": "web", "action": "reopen", "keys": ["port"]}],
            "watchers": [{"name": "app", "action": "restart", "keys": ["cmd"], "sockets": [],
                "reason": "changed: cmd"}],
            "circus": [{"key": "check_delay", "action": "apply"},
                {"key": "endpoint", "action": "restart circusd"}],
        });
        let text = plan(steps.as_object().expect("an object")).expect("shown");
        let expected = "reopen socket web: changed: port\nrestart watcher app: changed: cmd\n\
                        apply [circus] check_delay\nrestart circusd for [circus] endpoint\n";
        assert_eq!(text, expected);
        assert_eq!(plan(&Map::new()).expect("shown"), "nothing to do\n");
    }
}
