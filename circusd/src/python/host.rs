//! The helper process of one watcher, as others see it: imports, calls of hooks, output for stream classes.
//!
//! Whoever drops a call no longer wants to wait; [`owner`](super::owner) does what follows from that.

use super::interpreter::{Interpreter, NoPython};
use super::owner::Owner;
use super::request::Requests;
use crate::hook::outcome::Answer;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task;

/// Calls that may wait for the task.
const QUEUE: usize = 32;

/// Bytes of output that may be on their way to stream classes.
const ROOM: usize = 256 * 1024;

/// What a helper is for.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The watcher.
    pub watcher: String,
    /// The Python.
    pub interpreter: Result<Interpreter, NoPython>,
    /// Its environment.
    pub environment: Arc<Vec<(String, String)>>,
    /// Where modules are looked for after everything else.
    pub last_paths: Vec<String>,
    /// Dotted names by hook.
    pub hooks: BTreeMap<String, String>,
    /// Stream classes: `stdout` or `stderr`, dotted name, options.
    pub streams: Vec<(&'static str, String, IndexMap<String, String>)>,
    /// What never changes about circusd.
    pub arbiter: Value,
}

/// A piece of output for a stream class.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// `stdout` or `stderr`.
    pub stream: &'static str,
    /// Who printed it.
    pub pid: i32,
    /// When it was read, if the class is to know.
    pub timestamp: Option<f64>,
    /// The bytes.
    pub data: Vec<u8>,
}

impl Piece {
    /// The message; a character stands for each byte, because JSON has no bytes.
    pub(super) fn message(&self) -> Value {
        let data: String = self.data.iter().copied().map(char::from).collect();
        let mut message =
            json!({"type": "chunk", "stream": self.stream, "pid": self.pid, "data": data});
        if let (Some(time), Some(fields)) = (self.timestamp, message.as_object_mut()) {
            fields.insert("timestamp".to_owned(), json!(time));
        }
        message
    }
}

pub(super) enum Message {
    Load(oneshot::Sender<Result<(), String>>),
    Call { call: Map<String, Value>, reply: oneshot::Sender<Answer> },
    Print(Piece),
}

/// A handle on a helper; clones share it. The process ends with the last one.
#[derive(Clone)]
pub struct Host {
    messages: mpsc::Sender<Message>,
    dropped: Arc<Notify>,
    /// Bytes of output that may still be sent.
    room: Arc<Semaphore>,
}

/// Wakes the task when somebody stops waiting.
struct Waiting(Arc<Notify>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Host {
    /// Makes a helper. Its process is started when it is needed.
    pub fn new(definition: Definition, requests: Requests) -> Self {
        let (messages, inbox) = mpsc::channel(QUEUE);
        let dropped = Arc::new(Notify::new());
        let room = Arc::new(Semaphore::new(ROOM));
        let owner = Owner::new(definition, requests, Arc::clone(&room));
        task::spawn(owner.run(inbox, Arc::clone(&dropped)));
        Self { messages, dropped, room }
    }

    /// Imports everything, with a new try if it could not be imported before.
    ///
    /// # Errors
    /// What could not be imported, and why.
    pub async fn load(&self) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        let _waiting = Waiting(Arc::clone(&self.dropped));
        let gone = || "circusd is shutting down".to_owned();
        self.messages.send(Message::Load(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Runs a hook: its name, the picture of its watcher and its keywords.
    pub async fn call(&self, hook: &str, watcher: Value, keywords: Map<String, Value>) -> Answer {
        let mut call = Map::new();
        call.insert("type".to_owned(), json!("call"));
        call.insert("hook".to_owned(), json!(hook));
        call.insert("watcher".to_owned(), watcher);
        call.insert("keywords".to_owned(), Value::Object(keywords));
        self.ask(call).await
    }

    /// Lets the stream classes know that the watcher starts, and waits until they do.
    pub async fn open_streams(&self) -> Answer {
        self.ask(Map::from_iter([("type".to_owned(), json!("start"))])).await
    }

    /// Lets the stream classes know that the watcher has stopped, and waits until they do.
    pub async fn close_streams(&self) -> Answer {
        self.ask(Map::from_iter([("type".to_owned(), json!("stop"))])).await
    }

    /// Hands output to a stream class; waits while it has enough to do.
    pub async fn print(&self, piece: Piece) {
        let size = u32::try_from(piece.data.len()).unwrap_or(u32::MAX);
        // Fails only when the task is gone, which is when circusd ends.
        if let Ok(room) = self.room.acquire_many(size).await {
            room.forget();
            let _ = self.messages.send(Message::Print(piece)).await;
        }
    }

    /// Waits until the stream classes have taken everything.
    pub async fn printed(&self) {
        let all = u32::try_from(ROOM).unwrap_or(u32::MAX);
        let _ = self.room.acquire_many(all).await;
    }

    async fn ask(&self, call: Map<String, Value>) -> Answer {
        let (reply, answer) = oneshot::channel();
        let _waiting = Waiting(Arc::clone(&self.dropped));
        let gone = || Answer::failed("circusd is shutting down");
        if self.messages.send(Message::Call { call, reply }).await.is_err() {
            return gone();
        }
        answer.await.unwrap_or_else(|_| gone())
    }
}
