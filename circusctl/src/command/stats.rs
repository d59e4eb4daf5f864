//! Commands that show what processes and circusd itself use.

use super::call::{Call, Properties, required, required_object};
use crate::python_text::text;
use crate::report::CommandError;
use protocol::circus::response::Response;
use serde_json::{Map, Value};

/// `stats [--extended] [NAME [PID]]`.
#[derive(Debug, clap::Args)]
pub struct Stats {
    /// The watcher; all without it
    name: Option<String>,
    /// One process of the watcher
    #[arg(allow_negative_numbers = true)]
    pid: Option<i64>,
    /// Include what the watcher's extended_stats hook adds
    #[arg(long)]
    extended: bool,
    /// Measure now; otherwise the figures may be up to a second old
    #[arg(long)]
    fresh: bool,
}

impl Call for Stats {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Properties::default()
            .maybe("name", self.name.as_ref())
            .maybe("process", self.pid.as_ref())
            .with("extended", self.extended)
            .switch("fresh", self.fresh)
            .done())
    }

    fn render(&self, response: &Response) -> Result<String, CommandError> {
        let mut lines = Vec::new();
        if response.get("infos").is_some() {
            let mut infos: Vec<_> = required_object(response, "infos")?.iter().collect();
            infos.sort_by_key(|(name, _)| *name);
            for (name, processes) in infos {
                watcher_lines(&mut lines, name, processes);
            }
        } else if let Some(pid) = response.get("process") {
            process_lines(&mut lines, &text(pid), required(response, "info")?);
            lines.push(String::new()); // Circus 0.17.2 ends this form with an empty line.
        } else {
            watcher_lines(
                &mut lines,
                &text(required(response, "name")?),
                required(response, "info")?,
            );
        }
        Ok(lines.join("\n") + "\n")
    }
}

/// `dstats`.
#[derive(Debug, clap::Args)]
pub struct DaemonStats {}

impl Call for DaemonStats {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Map::new())
    }

    fn render(&self, response: &Response) -> Result<String, CommandError> {
        let info = required(response, "info")?;
        let mut lines = vec!["Main Process:".to_owned(), format!("    {}", info_line(info))];
        let children = children(info);
        if !children.is_empty() {
            lines.push("Children:".to_owned());
            lines.extend(children.iter().map(|child| format!("    {}", info_line(child))));
        }
        Ok(lines.join("\n") + "\n")
    }
}

/// A watcher: its name and one block per process. No object means no process.
fn watcher_lines(lines: &mut Vec<String>, name: &str, processes: &Value) {
    lines.push(format!("{name}:"));
    for (pid, info) in processes.as_object().into_iter().flatten() {
        process_lines(lines, pid, info);
    }
}

/// A process and its children. circusd sends a text instead of an object when the process has gone.
fn process_lines(lines: &mut Vec<String>, pid: &str, info: &Value) {
    if !info.is_object() {
        lines.push(format!("{pid}: No such process (stopped?)"));
        return;
    }
    lines.push(format!("{pid}: {}", info_line(info)));
    lines.extend(children(info).iter().map(|child| format!("   {}", info_line(child))));
}

fn children(info: &Value) -> &[Value] {
    info.get("children").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `PID  CMDLINE USER NICE RSS VMS CPU MEM CTIME`, two blanks after the pid.
fn info_line(info: &Value) -> String {
    let part = |key: &str| info.get(key).map_or_else(|| "N/A".to_owned(), text);
    let keys = ["cmdline", "username", "nice", "mem_info1", "mem_info2", "cpu", "mem", "ctime"];
    format!("{}  {}", part("pid"), keys.map(part).join(" "))
}
