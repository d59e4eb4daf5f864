//! What only circusd knows: the state of watchers, their restarts, the output that was lost, and why a watcher
//! is as it is. Asked again and again by a thread of its own, since an answer may take its time.
//!
//! All of it is a bonus: without a circusd at its endpoint, or with the original, the list is the same.

use super::model::{Counters, clean};
use super::session::Input;
use super::waiter;
use crate::client::Client;
use crate::colour::Colour;
use crate::command::{Call, Tail, Why};
use crate::endpoint::Endpoint;
use protocol::circus::response::Response;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel};
use std::time::Duration;

/// The time between two rounds of questions.
const PACE: Duration = Duration::from_secs(2);

/// Lines of output that are asked for.
const LINES: usize = 50;

/// How long circusd may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the user wants to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// The watcher whose details are open.
    pub watcher: Option<String>,
}

/// What is told about one watcher, line by line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// Why it is as it is.
    pub facts: Vec<String>,
    /// What its processes have printed lately, the newest last.
    pub output: Vec<String>,
}

/// Starts the thread that asks. It ends with the sender of questions.
pub fn ask(endpoint: Endpoint, inputs: SyncSender<Input>) -> Sender<Question> {
    let (questions, inbox) = channel();
    waiter::start(&inputs.clone(), move || converse(&endpoint, &inbox, &inputs));
    questions
}

fn converse(endpoint: &Endpoint, questions: &Receiver<Question>, inputs: &SyncSender<Input>) {
    let mut question = Question::default();
    loop {
        if let Ok(mut client) = Client::connect(endpoint.clone(), PATIENCE) {
            let counters = counters(&mut client);
            if inputs.send(Input::Counters(counters)).is_err() {
                return;
            }
            if let Some(watcher) = &question.watcher {
                let details = details(&mut client, watcher);
                if inputs.send(Input::Detail(watcher.clone(), details)).is_err() {
                    return;
                }
            }
        }
        match questions.recv_timeout(PACE) {
            Ok(next) => question = next,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // Only the last of several counts.
        while let Ok(next) = questions.try_recv() {
            question = next;
        }
    }
}

/// What circusd counts, else the states that the original knows, else nothing.
fn counters(client: &mut Client) -> BTreeMap<String, Counters> {
    match client.call("counters", Map::new()) {
        Ok(reply) if reply.failure().is_none() => read_counters(&reply),
        Ok(_) => {
            client.call("status", Map::new()).map_or_else(|_| BTreeMap::new(), |r| read_states(&r))
        }
        Err(_) => BTreeMap::new(),
    }
}

fn read_counters(reply: &Response) -> BTreeMap<String, Counters> {
    let all = reply.get("counters").and_then(Value::as_object);
    let one = |(name, counted): (&String, &Value)| {
        let number = |key: &str| counted.get(key).and_then(Value::as_u64);
        let causes = counted.get("restarts").and_then(Value::as_object);
        let restarts = causes.into_iter().flatten();
        let counters = Counters {
            status: counted.get("status").and_then(Value::as_str).map(clean).unwrap_or_default(),
            running: number("running"),
            wanted: number("wanted"),
            restarts: restarts.filter_map(|(cause, n)| Some((clean(cause), n.as_u64()?))).collect(),
            dropped: number("dropped_bytes").unwrap_or(0),
        };
        (name.to_lowercase(), counters)
    };
    all.into_iter().flatten().map(one).collect()
}

fn read_states(reply: &Response) -> BTreeMap<String, Counters> {
    let states = reply.get("statuses").and_then(Value::as_object);
    let one = |(name, state): (&String, &Value)| {
        let status = clean(state.as_str().unwrap_or_default());
        (name.to_lowercase(), Counters { status, ..Counters::default() })
    };
    states.into_iter().flatten().map(one).collect()
}

/// What circusd says of a watcher and what its processes have printed, else what the original knows: its
/// options.
fn details(client: &mut Client, watcher: &str) -> Details {
    let why = Why::of(watcher);
    let facts = match why.properties().map(|properties| client.call("why", properties)) {
        Ok(Ok(reply)) if reply.failure().is_none() => why.render(&reply).unwrap_or_default(),
        Ok(Ok(_)) => return Details { facts: options(client, watcher), output: Vec::new() },
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    let facts = facts.lines().map(clean).collect();
    Details { facts, output: output(client, watcher).unwrap_or_default() }
}

/// The latest lines of the processes of a watcher.
fn output(client: &mut Client, watcher: &str) -> Option<Vec<String>> {
    let tail = Tail::of(watcher, LINES);
    let mut tailing = tail.begin();
    let reply = client.call("tail", tailing.properties(Duration::ZERO)).ok()?;
    let mut lines = tailing.take(&reply, tail.lines).ok()?.lines;
    lines.extend(tailing.rest());
    Some(lines.iter().map(|line| clean(line.render(Colour::Off).trim_end())).collect())
}

fn options(client: &mut Client, watcher: &str) -> Vec<String> {
    let mut properties = Map::new();
    properties.insert("name".to_owned(), json!(watcher));
    let reply = match client.call("options", properties) {
        Ok(reply) => reply,
        Err(error) => return vec![error.to_string()],
    };
    if let Some(failure) = reply.failure() {
        return vec![clean(&failure.reason)];
    }
    let option = |key: &str| {
        let value = reply.get("options").and_then(|options| options.get(key));
        value.map(|value| value.as_str().map_or_else(|| value.to_string(), clean))
    };
    let shown = ["cmd", "numprocesses", "working_dir", "uid", "max_retry", "graceful_timeout"];
    shown.iter().filter_map(|key| Some(format!("{key}: {}", option(key)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Response {
        Response::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn counters_and_the_states_of_the_original_are_understood() {
        let counted = read_counters(&reply(
            r#"{"status": "ok", "counters": {"Web": {"status": "active", "running": 2, "wanted": 3,
                "restarts": {"signal": 1}, "dropped_bytes": 7}}}"#,
        ));
        let expected = Counters {
            status: "active".into(),
            running: Some(2),
            wanted: Some(3),
            restarts: [("signal".to_owned(), 1)].into(),
            dropped: 7,
        };
        assert_eq!(counted["web"], expected);
        let states = read_states(&reply(r#"{"status": "ok", "statuses": {"Web": "stopped"}}"#));
        assert_eq!(states["web"], Counters { status: "stopped".into(), ..Counters::default() });
    }
}
