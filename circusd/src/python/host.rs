//! The task that owns the helper process of one watcher: starts it when it is needed, hands calls to it,
//! carries its requests to circusd, and notices its end.
//!
//! The process is started again after a crash when the next hook runs; after several crashes in a row only
//! with the next start of the watcher. A caller that drops its call no longer wants to wait, and because
//! nothing can stop a Python function, the process is killed then.

use super::interpreter::{Interpreter, NoPython};
use super::message::{FromHost, HostRequest};
use super::request::{Request, Requests};
use super::session::{Heard, Session};
use crate::hook::outcome::{Answer, Edits};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{self, JoinError, JoinSet};
use tracing::{debug, error, info, warn};

/// Calls that may wait for the task.
const QUEUE: usize = 32;

/// Requests of one helper that may be under way.
const REQUESTS: usize = 64;

/// Nothing new is taken while so many bytes wait to be read by the helper.
const UNSENT: usize = 1024 * 1024;

/// After so many crashes without an answer in between nothing is tried until the next start.
const CRASHES: u32 = 3;

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
    /// What never changes about circusd.
    pub arbiter: Value,
}

enum Message {
    Load(oneshot::Sender<Result<(), String>>),
    Call { call: Map<String, Value>, reply: oneshot::Sender<Answer> },
}

/// A handle on a helper; clones share it. The process ends with the last one.
#[derive(Clone)]
pub struct Host {
    messages: mpsc::Sender<Message>,
    dropped: Arc<Notify>,
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
        let owner = Owner {
            definition,
            requests,
            session: None,
            generation: 0,
            ready: false,
            next_id: 0,
            loads: Vec::new(),
            calls: BTreeMap::new(),
            queued: Vec::new(),
            answers: JoinSet::new(),
            crashes: 0,
        };
        task::spawn(owner.run(inbox, Arc::clone(&dropped)));
        Self { messages, dropped }
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
        let (reply, answer) = oneshot::channel();
        let _waiting = Waiting(Arc::clone(&self.dropped));
        let gone = || Answer::failed("circusd is shutting down");
        if self.messages.send(Message::Call { call, reply }).await.is_err() {
            return gone();
        }
        answer.await.unwrap_or_else(|_| gone())
    }
}

struct Owner {
    definition: Definition,
    requests: Requests,
    session: Option<Session>,
    /// Counts the processes, so that no answer reaches a later one.
    generation: u64,
    /// Everything has been imported.
    ready: bool,
    next_id: u64,
    loads: Vec<oneshot::Sender<Result<(), String>>>,
    calls: BTreeMap<u64, oneshot::Sender<Answer>>,
    /// Calls that wait for the imports.
    queued: Vec<Value>,
    answers: JoinSet<(u64, Value)>,
    crashes: u32,
}

enum Event {
    Message(Option<Message>),
    Dropped,
    Heard(Heard),
    Answered(Result<(u64, Value), JoinError>),
}

async fn turn(session: &mut Option<Session>) -> Heard {
    match session {
        Some(session) => session.turn().await,
        None => std::future::pending().await,
    }
}

impl Owner {
    async fn run(mut self, mut inbox: mpsc::Receiver<Message>, dropped: Arc<Notify>) {
        loop {
            let unsent = self.session.as_ref().map_or(0, Session::unsent);
            let event = tokio::select! {
                message = inbox.recv(), if unsent < UNSENT => Event::Message(message),
                () = dropped.notified() => Event::Dropped,
                heard = turn(&mut self.session) => Event::Heard(heard),
                Some(answer) = self.answers.join_next() => Event::Answered(answer),
            };
            match event {
                Event::Message(None) => return,
                Event::Message(Some(Message::Load(reply))) => {
                    self.crashes = 0;
                    if self.ready {
                        // The asker may have gone.
                        let _ = reply.send(Ok(()));
                    } else {
                        self.loads.push(reply);
                        self.start().await;
                    }
                }
                Event::Message(Some(Message::Call { call, reply })) => self.call(call, reply).await,
                Event::Dropped => self.drop_the_dropped(),
                Event::Heard(Heard::Line(line)) => self.line(&line),
                Event::Heard(Heard::End(why)) => {
                    self.crashes += 1;
                    self.end(&format!("the Python that runs it is gone: {why}"));
                }
                Event::Answered(Ok((generation, reply))) => {
                    if generation == self.generation
                        && let Some(session) = &mut self.session
                    {
                        session.send(&reply);
                    }
                }
                Event::Answered(Err(error)) => warn!("a request of a hook was lost: {error}"),
            }
        }
    }

    async fn call(&mut self, mut call: Map<String, Value>, reply: oneshot::Sender<Answer>) {
        if self.crashes >= CRASHES {
            let error = format!(
                "the Python that runs it has crashed {CRASHES} times in a row; it is tried again when \
                 the watcher is started"
            );
            let _ = reply.send(Answer::failed(error));
            return;
        }
        self.next_id += 1;
        self.calls.insert(self.next_id, reply);
        call.insert("id".to_owned(), json!(self.next_id));
        match &mut self.session {
            Some(session) if self.ready => session.send(&Value::Object(call)),
            _ => {
                self.queued.push(Value::Object(call));
                self.start().await;
            }
        }
    }

    /// Starts the process, if there is none, and lets it import everything.
    async fn start(&mut self) {
        if self.session.is_some() {
            return;
        }
        let interpreter = match &self.definition.interpreter {
            Ok(interpreter) => interpreter.clone(),
            Err(error) => return self.end(&error.to_string()),
        };
        let label = format!("hooks of {}", self.definition.watcher);
        let environment = &self.definition.environment;
        match Session::start(&interpreter.program, environment, &label).await {
            Ok(mut session) => {
                self.generation += 1;
                session.send(&json!({
                    "type": "load",
                    "first_paths": interpreter.first_paths,
                    "last_paths": self.definition.last_paths,
                    "hooks": self.definition.hooks,
                    "arbiter": self.definition.arbiter,
                }));
                self.session = Some(session);
            }
            Err(error) => self.end(&error.to_string()),
        }
    }

    /// There is no process any more, and everybody who waits for one is told why.
    fn end(&mut self, why: &str) {
        self.session = None;
        self.ready = false;
        self.queued.clear();
        // Whoever has gone meanwhile does not want to know.
        for load in mem::take(&mut self.loads) {
            let _ = load.send(Err(why.to_owned()));
        }
        for (_, call) in mem::take(&mut self.calls) {
            let _ = call.send(Answer::failed(why));
        }
    }

    /// Nothing can stop a Python function, so one that nobody waits for any more costs the process.
    fn drop_the_dropped(&mut self) {
        let (loads, calls) = (self.loads.len(), self.calls.len());
        self.loads.retain(|load| !load.is_closed());
        self.calls.retain(|_, call| !call.is_closed());
        if self.loads.len() < loads || self.calls.len() < calls {
            self.end("the Python that runs it was killed because another hook took too long");
        }
    }

    fn line(&mut self, line: &[u8]) {
        let message = match serde_json::from_slice(line) {
            Ok(message) => message,
            Err(error) => {
                return self.end(&format!("its Python sent a line that is no message: {error}"));
            }
        };
        match message {
            FromHost::Loaded { error: None } => {
                self.ready = true;
                for load in mem::take(&mut self.loads) {
                    let _ = load.send(Ok(()));
                }
                for call in mem::take(&mut self.queued) {
                    if let Some(session) = &mut self.session {
                        session.send(&call);
                    }
                }
            }
            FromHost::Loaded { error: Some(error) } => self.end(&error),
            FromHost::Result { id, ok, env, attributes, stats } => {
                let edits = Edits { env, attributes };
                self.answer(id, Answer { edits, stats, ..Answer::returned(ok) });
            }
            FromHost::Failure { id, error, traceback } => {
                error!("{}", traceback.trim_end());
                self.answer(id, Answer::failed(error));
            }
            FromHost::Request(request) => self.request(request),
            FromHost::Log { level, message } => self.log(&level, &message),
        }
    }

    fn answer(&mut self, id: u64, answer: Answer) {
        self.crashes = 0;
        if let Some(reply) = self.calls.remove(&id) {
            // The asker may have gone.
            let _ = reply.send(answer);
        }
    }

    /// Hands a request on. The answer comes back through `answers`, so a hook that waits for it waits for
    /// nothing of ours.
    fn request(&mut self, HostRequest { id, wish }: HostRequest) {
        let (requests, generation) = (self.requests.clone(), self.generation);
        let busy = self.answers.len() >= REQUESTS;
        self.answers.spawn(async move {
            let refused = |error: &str| json!({"type": "reply", "id": id, "error": error});
            if busy {
                return (generation, refused("too many requests at once"));
            }
            let (reply, answer) = oneshot::channel();
            if requests.send(Request { wish, reply }).await.is_err() {
                return (generation, refused("circusd is shutting down"));
            }
            let reply = match answer.await {
                Ok(Ok(value)) => json!({"type": "reply", "id": id, "value": value}),
                Ok(Err(error)) => refused(&error),
                Err(_) => refused("circusd is shutting down"),
            };
            (generation, reply)
        });
    }

    fn log(&self, level: &str, message: &str) {
        let watcher = &self.definition.watcher;
        match level {
            "DEBUG" => debug!("hooks of {watcher}: {message}"),
            "INFO" => info!("hooks of {watcher}: {message}"),
            "WARNING" => warn!("hooks of {watcher}: {message}"),
            _ => error!("hooks of {watcher}: {message}"),
        }
    }
}
