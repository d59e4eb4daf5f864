//! `why`: what a watcher is doing, what it waits for, and how its processes ended.

use super::call::{Call, Properties};
use crate::clock;
use crate::colour::Colour;
use crate::report::CommandError;
use protocol::circus::response::Response;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// `why NAME`.
#[derive(Debug, clap::Args)]
pub struct Why {
    /// The watcher
    name: String,
}

impl Call for Why {
    fn properties(&self) -> Result<Map<String, Value>, CommandError> {
        Ok(Properties::default().with("name", self.name.clone()).done())
    }

    fn render(&self, response: &Response) -> Result<String, CommandError> {
        self.show(response, Colour::Off)
    }

    fn show(&self, response: &Response, colour: Colour) -> Result<String, CommandError> {
        let facts = Facts(response);
        let mut out = String::new();
        // Writing to a String cannot fail.
        let state = facts.text("state");
        let (running, wanted) = (facts.number("running"), facts.number("wanted"));
        let name = facts.text("name");
        let _ = writeln!(out, "{name}: {}, {running} of {wanted} running", colour.state(&state));
        for sentence in facts.sentences() {
            let _ = writeln!(out, "  {sentence}");
        }
        if let Some(error) = response.get("last_error").filter(|error| error.is_object()) {
            let reason = error.get("reason").and_then(Value::as_str).unwrap_or_default();
            let time = clock::local(error.get("time").and_then(Value::as_f64).unwrap_or(0.0));
            let _ = writeln!(out, "  {} {time}: {reason}", colour.bad("last failed start"));
        }
        let exits = response.get("exits").and_then(Value::as_array);
        let exits = exits.map_or(&[][..], Vec::as_slice);
        if !exits.is_empty() {
            out.push_str("last exits:\n");
        }
        for exit in exits {
            let part = |key: &str| exit.get(key).cloned().unwrap_or(Value::Null);
            let time = part("time").as_f64().unwrap_or(0.0);
            let lived = time - part("started").as_f64().unwrap_or(time);
            let _ = writeln!(
                out,
                "  {} wid {} pid {}: {} after {}",
                clock::local(time),
                part("wid"),
                part("pid"),
                ending(&part("exit_code"), &part("signal")),
                clock::span(lived),
            );
            for line in part("lines").as_array().into_iter().flatten() {
                let _ = writeln!(out, "    {}", colour.faint(line.as_str().unwrap_or_default()));
            }
        }
        Ok(out)
    }
}

impl Why {
    /// The question about this watcher.
    pub fn of(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// The operation that a watcher is in, as `stopping web: 2 of 5 left, 12 s of 30 s`; none when it
    /// is in none.
    pub fn progress(name: &str, reply: &Response) -> Option<String> {
        let facts = Facts(reply);
        facts.operation().map(|(verb, rest)| format!("{verb} {name}: {rest}"))
    }
}

/// How a process ended.
fn ending(code: &Value, signal: &Value) -> String {
    match (code.as_i64(), signal.as_str()) {
        (_, Some(signal)) => format!("killed by {signal}"),
        (Some(code), None) => format!("exit code {code}"),
        (None, None) => "ended, nobody saw how".into(),
    }
}

struct Facts<'r>(&'r Response);

impl Facts<'_> {
    fn text(&self, key: &str) -> String {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn number(&self, key: &str) -> u64 {
        self.0.get(key).and_then(Value::as_u64).unwrap_or(0)
    }

    fn part(&self, object: &str, key: &str) -> Option<f64> {
        self.0.get(object)?.get(key)?.as_f64()
    }

    /// The operation in progress: what is done and how far it is.
    fn operation(&self) -> Option<(&'static str, String)> {
        let (running, wanted) = (self.number("running"), self.number("wanted"));
        match self.text("state").as_str() {
            "starting" => Some(("starting", format!("{running} of {wanted} running"))),
            "stopping" => {
                let left = self.part("stopping", "left")?;
                let of = self.part("stopping", "of")?;
                let (waited, limit) =
                    (self.part("stopping", "waited")?, self.part("stopping", "limit")?);
                Some(("stopping", format!("{left} of {of} left, {waited:.0} s of {limit:.0} s")))
            }
            _ => {
                let left = self.part("stopping", "left").filter(|left| *left > 0.0)?;
                let (waited, limit) =
                    (self.part("stopping", "waited")?, self.part("stopping", "limit")?);
                let text = format!("{left} old processes left, {waited:.0} s of {limit:.0} s");
                Some(("renewing", text))
            }
        }
    }

    /// What the watcher does and waits for.
    fn sentences(&self) -> Vec<String> {
        let mut all = Vec::new();
        if let Some((verb, rest)) = self.operation() {
            all.push(format!("{verb}: {rest}"));
        }
        match self.text("waits_for").as_str() {
            "demand" => all.push("waits for a connection to one of its sockets".into()),
            "start" => all.push("waits for `circusctl start`".into()),
            "spawn" => all.push("a process is being started".into()),
            "warmup" => all.push(format!(
                "waits {} before it starts the next process (warmup_delay)",
                clock::span(self.part("next_try", "in").unwrap_or(0.0))
            )),
            "retry" => {
                let wid = self.part("next_try", "wid").unwrap_or(0.0);
                let wait = clock::span(self.part("next_try", "in").unwrap_or(0.0));
                all.push(format!("next try for wid {wid} in {wait}"));
            }
            "hook" => all.push(running(&self.text("hook"))),
            "exits" | "" => {}
            other => all.push(format!("waits for {other}")),
        }
        if let Some(failed) = self.part("attempts", "failed").filter(|failed| *failed > 0.0) {
            all.push(match self.part("attempts", "limit") {
                Some(limit) => format!("{failed} of {limit} starts in a row failed (max_retry)"),
                None => format!("{failed} starts in a row failed"),
            });
        }
        all
    }
}

/// What a watcher waits for that has a hook running. Three of circusd's names are no hook of the user's.
fn running(hook: &str) -> String {
    match hook {
        "load" => "its hooks and stream classes in Python are being imported".into(),
        "open" => "its stream classes in Python are being opened".into(),
        "close" => "its stream classes in Python are being closed".into(),
        hook => format!("the hook {hook} runs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reply(value: Value) -> Response {
        Response::parse(value.to_string().as_bytes()).expect("a reply")
    }

    #[test]
    fn a_slow_stop_tells_how_far_it_is() {
        let reply = reply(json!({"status": "ok", "state": "stopping", "wanted": 5,
            "stopping": {"left": 2, "of": 5, "waited": 12.2, "limit": 30.0}}));
        let expected = "stopping web: 2 of 5 left, 12 s of 30 s";
        assert_eq!(Why::progress("web", &reply).as_deref(), Some(expected));
    }

    #[test]
    fn what_python_does_before_and_after_the_hooks_is_told_in_words() {
        let sentence = |hook: &str| {
            let reply = reply(json!({"status": "ok", "name": "web", "state": "stopped",
                "wanted": 1, "running": 0, "waits_for": "hook", "hook": hook}));
            let text = Why { name: "web".into() }.render(&reply).expect("shown");
            text.lines().nth(1).unwrap_or_default().trim().to_owned()
        };
        assert_eq!(sentence("before_start"), "the hook before_start runs");
        let imported = "its hooks and stream classes in Python are being imported";
        assert_eq!(sentence("load"), imported);
        assert!(!["open", "close"].iter().any(|step| sentence(step).contains("hook")));
    }

    #[test]
    fn a_crash_loop_is_explained_with_its_last_words() {
        let reply = reply(json!({"status": "ok", "name": "web", "state": "active", "wanted": 1,
            "running": 0, "waits_for": "retry", "next_try": {"wid": 1, "in": 0.8},
            "exits": [{"wid": 1, "pid": 7, "started": 1.0, "time": 1.5, "exit_code": 3,
                       "signal": null, "lines": ["no database"]}]}));
        let text = Why { name: "web".into() }.render(&reply).expect("shown");
        assert!(
            text.starts_with("web: active, 0 of 1 running\n  next try for wid 1 in 0.8 s\n"),
            "{text}"
        );
        assert!(
            text.ends_with("wid 1 pid 7: exit code 3 after 0.5 s\n    no database\n"),
            "{text}"
        );
    }
}
