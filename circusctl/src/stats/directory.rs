//! Asking circusd what there is, without waiting for the answers: a DEALER with questions under way.
//!
//! Which questions are asked, `service` decides; what the answers mean for the roster, too.

use super::socket_table::Listener;
use crate::client::CallError;
use crate::endpoint::Endpoint;
use protocol::circus::request::Request;
use protocol::circus::response::Response;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long circusd may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What circusd can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The names of the watchers.
    Names,
    /// The pids of one.
    Pids(String),
    /// The pids of circusd and of its kernel.
    Daemon,
    /// The sockets.
    Sockets,
}

/// What circusd has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The names of the watchers.
    Names(Vec<String>),
    /// The pids of one.
    Pids(String, Vec<i32>),
    /// The pids of circusd and, if it has one and says so, of its kernel.
    Daemon(i32, Option<i32>),
    /// The sockets.
    Sockets(Vec<Listener>),
}

/// A connection to circusd.
pub struct Directory {
    socket: zmq::Socket,
    under_way: HashMap<String, (Question, Instant)>,
    number: u64,
}

impl Directory {
    /// Prepares the connection. Nothing waits here.
    ///
    /// # Errors
    /// [`CallError::InvalidEndpoint`], and [`CallError::Socket`] when the process is out of fds.
    pub fn connect(context: &zmq::Context, endpoint: &Endpoint) -> Result<Self, CallError> {
        let failed = |source| CallError::Socket { endpoint: endpoint.clone(), source };
        let socket = context.socket(zmq::DEALER).map_err(failed)?;
        socket.set_linger(0).map_err(failed)?;
        endpoint.connect(&socket)?;
        Ok(Self { socket, under_way: HashMap::new(), number: 0 })
    }

    /// What to poll for answers.
    pub fn socket(&self) -> &zmq::Socket {
        &self.socket
    }

    /// No question waits for its answer.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Sends a question, unless the same one is under way.
    ///
    /// # Errors
    /// ZeroMQ's.
    pub fn ask(&mut self, question: Question, now: Instant) -> Result<(), zmq::Error> {
        if self.under_way.values().any(|(asked, _)| *asked == question) {
            return Ok(());
        }
        self.number += 1;
        let id = self.number.to_string();
        let (command, properties) = match &question {
            Question::Names => ("list", json!({})),
            Question::Pids(name) => ("list", json!({"name": name})),
            Question::Daemon => ("dstats", json!({})),
            Question::Sockets => ("listsockets", json!({})),
        };
        let Value::Object(properties) = properties else { return Ok(()) };
        let request = Request::new(Value::String(id.clone()), command, properties);
        match self.socket.send(request.to_bytes(), zmq::DONTWAIT) {
            // A full queue means that circusd has been away for long; it will be asked again.
            Ok(()) | Err(zmq::Error::EAGAIN) => {}
            Err(error) => return Err(error),
        }
        self.under_way.insert(id, (question, now));
        Ok(())
    }

    /// The next answer that has come. Refusals, as about a watcher that has just been removed, are none.
    ///
    /// # Errors
    /// ZeroMQ's.
    pub fn receive(&mut self) -> Result<Option<Answer>, zmq::Error> {
        loop {
            let frames = match self.socket.recv_multipart(zmq::DONTWAIT) {
                Ok(frames) => frames,
                Err(zmq::Error::EAGAIN) => return Ok(None),
                Err(zmq::Error::EINTR) => continue,
                Err(error) => return Err(error),
            };
            let response = frames.last().and_then(|body| Response::parse(body).ok());
            let Some(response) = response else { continue };
            let id = response.get("id").and_then(Value::as_str).unwrap_or_default();
            let Some((question, _)) = self.under_way.remove(id) else { continue };
            if let Some(answer) = understand(question, &response) {
                return Ok(Some(answer));
            }
        }
    }

    /// Gives up on questions that have waited too long; tells whether there were any.
    pub fn give_up(&mut self, now: Instant) -> bool {
        let before = self.under_way.len();
        self.under_way.retain(|_, (_, asked)| now.duration_since(*asked) < PATIENCE);
        self.under_way.len() < before
    }
}

fn understand(question: Question, response: &Response) -> Option<Answer> {
    let list = |key: &str| response.get(key).and_then(Value::as_array);
    match question {
        Question::Names => {
            let names = list("watchers")?.iter().filter_map(Value::as_str).map(str::to_owned);
            Some(Answer::Names(names.collect()))
        }
        Question::Pids(name) => {
            Some(Answer::Pids(name, list("pids")?.iter().filter_map(pid).collect()))
        }
        Question::Daemon => {
            let info = response.get("info").and_then(Value::as_object);
            let own = info.and_then(|info: &Map<String, Value>| pid(info.get("pid")?))?;
            Some(Answer::Daemon(own, response.get("kernel").and_then(pid)))
        }
        Question::Sockets => {
            let listeners = list("sockets")?.iter().filter_map(Listener::from_listing);
            Some(Answer::Sockets(listeners.collect()))
        }
    }
}

fn pid(value: &Value) -> Option<i32> {
    i32::try_from(value.as_i64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(question: Question, reply: &str) -> Option<Answer> {
        understand(question, &Response::parse(reply.as_bytes()).unwrap())
    }

    #[test]
    fn answers_of_circusd_and_of_the_original_are_understood() {
        let own = r#"{"status": "ok", "info": {"pid": 7}, "kernel": 9}"#;
        assert_eq!(answer(Question::Daemon, own), Some(Answer::Daemon(7, Some(9))));
        let original = r#"{"status": "ok", "info": {"pid": 7}}"#;
        assert_eq!(answer(Question::Daemon, original), Some(Answer::Daemon(7, None)));
        let refusal = r#"{"status": "error", "reason": "program web not found"}"#;
        assert_eq!(answer(Question::Pids("web".into()), refusal), None);
        let odd = r#"{"status": "ok", "pids": [1, "x", 99999999999]}"#;
        assert_eq!(
            answer(Question::Pids("web".into()), odd),
            Some(Answer::Pids("web".into(), vec![1]))
        );
    }
}
