//! What helps after a failure, or during a long wait: found out by asking circusd a little more.
//!
//! Every question here has a short time-out and may fail: then there is simply no advice.

use crate::client::{CallError, Client, Patience};
use crate::colour::Colour;
use crate::command::Why;
use crate::endpoint::Endpoint;
use crate::session::Session;
use crate::suggest;
use crate::ui;
use protocol::circus::response::Response;
use serde_json::{Map, Value, json};
use std::thread;
use std::time::Duration;

/// How long to wait for what only makes a message better.
const BRIEFLY: Duration = Duration::from_secs(1);

/// Watchers that are asked what they do; more would be no help.
const MAX_ASKED: usize = 5;

/// A successful reply, or nothing.
fn ask(session: &Session, command: &str, properties: Value) -> Option<Response> {
    let Value::Object(properties) = properties else { return None };
    let timeout = BRIEFLY.min(session.timeout());
    let reply = session.client_with(timeout).ok()?.call(command, properties).ok()?;
    reply.failure().is_none().then_some(reply)
}

/// The state of each watcher, by the name the user gave it.
///
/// None when there is no answer to that, either.
fn states(session: &Session) -> Option<Vec<(String, String)>> {
    let reply = ask(session, "status", json!({}))?;
    let all = reply.get("statuses").and_then(Value::as_object);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Some(all.into_iter().flatten().map(|(name, state)| (name.clone(), text(state))).collect())
}

/// Hints for a refusal with this reason.
pub fn on_refusal(session: &Session, properties: &Map<String, Value>, reason: &str) -> Vec<String> {
    let name = properties.get("name").and_then(Value::as_str).unwrap_or_default();
    let unknown = reason.strip_prefix("program ").and_then(|rest| rest.strip_suffix(" not found"));
    if let Some(name) = unknown {
        let states = states(session).unwrap_or_default();
        let nearest = suggest::nearest(name, states.iter().map(|(name, _)| name.as_str()));
        return nearest
            .map(|near| format!("did you mean `{near}`? `circusctl list` shows all watchers"))
            .into_iter()
            .collect();
    }
    if let Some(key) = reason.strip_suffix(" option not found") {
        let reply = ask(session, "options", json!({ "name": name }));
        let options = reply.as_ref().and_then(|reply| reply.get("options"));
        let known = options.and_then(Value::as_object).into_iter().flatten();
        let nearest = suggest::nearest(key.trim_matches('\''), known.map(|(key, _)| key.as_str()));
        return nearest.map(|near| format!("did you mean `{near}`?")).into_iter().collect();
    }
    if reason.starts_with("arbiter is already running") {
        return doing(session, properties).unwrap_or_default();
    }
    Vec::new()
}

/// Hints for a time-out of a circusd that is there: what it is doing.
pub fn on_time_out(session: &Session, properties: &Map<String, Value>) -> Vec<String> {
    if session.timeout().is_zero() {
        return Vec::new();
    }
    doing(session, properties).unwrap_or_else(|| {
        vec!["it does not answer `status` either; its log may tell why".to_owned()]
    })
}

/// A sentence for each watcher that is between two states; only the named one, if there is one.
fn doing(session: &Session, properties: &Map<String, Value>) -> Option<Vec<String>> {
    let name = properties.get("name").and_then(Value::as_str);
    let between = |state: &str| matches!(state, "starting" | "stopping");
    let busy: Vec<_> = states(session)?
        .into_iter()
        .filter(|(watcher, _)| name.is_none_or(|name| watcher.eq_ignore_ascii_case(name)))
        .filter(|(_, state)| name.is_some() || between(state))
        .take(MAX_ASKED)
        .collect();
    let sentence = |(name, state): (String, String)| {
        let told = ask(session, "why", json!({ "name": name }));
        // An older circusd does not know the question, but its states say something, too.
        let told = told.map(|reply| Why::progress(&name, &reply));
        told.unwrap_or_else(|| between(&state).then(|| format!("{state}: {name}")))
    };
    Some(busy.into_iter().filter_map(sentence).collect())
}

/// Says, while `listen` waits there, that an endpoint is the one for commands, where nothing is ever published.
pub fn while_listening(endpoint: Endpoint) {
    thread::spawn(move || {
        let Ok(mut client) = Client::connect(endpoint, BRIEFLY) else { return };
        if client.publishes() {
            return;
        }
        let Ok(reply) = client.call("globaloptions", Map::new()) else { return };
        let options = reply.get("options");
        let events = options.and_then(|all| all.get("pubsub_endpoint")).and_then(Value::as_str);
        if let Some(events) = events {
            let here = &client.endpoint().address;
            let hint = format!("{here} is for commands; events are published at {events}");
            ui::err(&format!("{} {hint}\n", Colour::of_stderr().note("hint:")));
        }
    });
}

/// A line on the terminal that tells how a slow command goes on.
pub struct Progress<'s> {
    session: &'s Session,
    properties: Option<Map<String, Value>>,
    shown: bool,
}

impl<'s> Progress<'s> {
    /// For commands that wait, and for people who look at standard error.
    pub fn of(session: &'s Session, properties: &Map<String, Value>) -> Self {
        let waits = properties.get("waiting").and_then(Value::as_bool) == Some(true);
        let seen = ui::stderr_is_terminal();
        let properties = (waits && seen).then(|| properties.clone());
        Self { session, properties, shown: false }
    }

    /// Runs a call; while it lasts, the line is kept true.
    pub fn watch(
        &mut self,
        call: impl FnOnce(&mut Patience<'_>) -> Result<Response, CallError>,
    ) -> Result<Response, CallError> {
        let Some(properties) = self.properties.take() else {
            return call(&mut Patience::silent());
        };
        let mut tell = |_waited| {
            if let Some(sentence) = doing(self.session, &properties).unwrap_or_default().first() {
                self.shown = true;
                ui::err_again(&Colour::of_stderr().faint(sentence));
            }
        };
        let result = call(&mut Patience::telling(&mut tell));
        if self.shown {
            ui::err_again("");
        }
        result
    }
}
