//! Runs `tail` and `events`: shows what there is, and goes on while the user wants to follow.
//!
//! A request waits in circusd until there is something new, so following is neither a poll nor a second
//! connection. When circusd goes away it is waited for, and read on from where it was.

use crate::advice;
use crate::client::{self, CallError, Client};
use crate::colour::Colour;
use crate::command::{Events, Tail};
use crate::outcome::{Ending, Output, print};
use crate::python_text;
use crate::report::CommandError;
use crate::session::Session;
use crate::ui;
use protocol::circus::response::Response;
use serde_json::{Map, Value};
use std::time::Duration;

/// How long a request waits in circusd for news.
const WAIT: Duration = Duration::from_secs(10);

/// How much longer its answer may take before circusd counts as gone.
const SLACK: Duration = Duration::from_secs(3);

/// Asks circusd again and again, and tells once when it has gone.
struct Asking<'s> {
    session: &'s Session,
    client: Client,
    gone: bool,
}

impl<'s> Asking<'s> {
    fn new(session: &'s Session) -> Result<Self, Ending> {
        Ok(Self { session, client: session.client()?, gone: false })
    }

    /// The first answer must come in the usual time.
    fn first(&mut self, command: &str, properties: Map<String, Value>) -> Result<Response, Ending> {
        let response = self.client.call(command, properties.clone())?;
        self.accepted(response, &properties)
    }

    /// An answer to a request that may wait for news; none while circusd is gone.
    fn more(
        &mut self,
        command: &str,
        properties: Map<String, Value>,
    ) -> Result<Option<Response>, Ending> {
        let endpoint = self.client.endpoint().address.clone();
        self.client.wait_for(WAIT + SLACK);
        match self.client.call(command, properties.clone()) {
            Ok(response) => {
                if std::mem::take(&mut self.gone) {
                    ui::err(&format!("circusd answers at {endpoint} again\n"));
                }
                self.accepted(response, &properties).map(Some)
            }
            Err(CallError::NoAnswer { .. }) => {
                if !std::mem::replace(&mut self.gone, true) {
                    ui::err(&format!("circusd does not answer at {endpoint}; waiting for it\n"));
                }
                // Requests that nobody took must not pile up.
                self.client = self.session.client()?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn accepted(
        &self,
        response: Response,
        properties: &Map<String, Value>,
    ) -> Result<Response, Ending> {
        let Some(refusal) = client::refusal(&response) else { return Ok(response) };
        let hints = advice::on_refusal(self.session, properties, &refusal.message);
        Err(hints.into_iter().fold(refusal, CommandError::hint).into())
    }
}

/// `tail`.
///
/// # Errors
/// As every command; a follower ends with an interruption.
pub fn tail(session: &Session, output: Output, tail: &Tail) -> Result<(), Ending> {
    let colour = Colour::of_stdout();
    let show = |lines: &[crate::command::OutputLine]| {
        let line = |line: &crate::command::OutputLine| match output.json {
            true => python_text::json(&line.json()) + "\n",
            false => line.render(colour),
        };
        print(&lines.iter().map(line).collect::<String>())
    };
    let mut asking = Asking::new(session)?;
    let mut tailing = tail.begin();
    let response = asking.first("tail", tailing.properties(Duration::ZERO))?;
    let arrived = tailing.take(&response, tail.lines)?;
    show(&arrived.lines)?;
    for unseen in &arrived.unseen {
        let hint = format!(
            "{unseen} goes straight to where circusd's own output goes and cannot be shown; give the \
             watcher a stream (such as stdout_stream.class = StdoutStream) to see it here"
        );
        ui::err(&format!("{} {hint}\n", Colour::of_stderr().note("hint:")));
    }
    if !tail.follow {
        return show(&tailing.rest());
    }
    loop {
        if let Some(response) = asking.more("tail", tailing.properties(WAIT))? {
            show(&tailing.take(&response, usize::MAX)?.lines)?;
        }
    }
}

/// `events`.
///
/// # Errors
/// As every command; a follower ends with an interruption.
pub fn events(session: &Session, output: Output, events: &Events) -> Result<(), Ending> {
    let colour = Colour::of_stdout();
    let misfit = |key: &str| CommandError::local(format!("the reply has no usable `{key}`"));
    let take = |response: &Response, number: usize| -> Result<u64, Ending> {
        let list = response.get("events").and_then(Value::as_array);
        let list = list.ok_or_else(|| misfit("events"))?;
        let wanted: Vec<_> = list.iter().filter(|event| events.wants(event)).collect();
        let latest = wanted.get(wanted.len().saturating_sub(number)..).unwrap_or_default();
        let line = |event: &&Value| match output.json {
            true => python_text::json(event) + "\n",
            false => Events::render(event, colour),
        };
        print(&latest.iter().map(line).collect::<String>())?;
        let next = response.get("next").and_then(Value::as_u64);
        Ok(next.ok_or_else(|| misfit("next"))?)
    };
    let mut asking = Asking::new(session)?;
    let response = asking.first("events", Events::properties(None, WAIT))?;
    let mut next = take(&response, events.number)?;
    if !events.follow {
        return Ok(());
    }
    loop {
        if let Some(response) = asking.more("events", Events::properties(Some(next), WAIT))? {
            next = take(&response, usize::MAX)?;
        }
    }
}
