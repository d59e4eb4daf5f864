//! The task that owns the helper process of one watcher: starts it when it is needed, hands calls and output to
//! it, carries its requests to circusd, and notices its end.
//!
//! The process is started again after a crash when the next hook runs, or at once when output may come; after
//! several crashes in a row only with the next start of the watcher. Nothing can stop a Python function, so
//! when its caller no longer waits the process is killed.

use super::host::{Definition, Message, Piece};
use super::message::{FromHost, HostRequest};
use super::package;
use super::request::{Request, Requests};
use super::session::{Heard, Session};
use crate::hook::outcome::{Answer, Edits};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tracing::{debug, error, info, warn};

/// Requests of one helper that may be under way.
const REQUESTS: usize = 64;

/// Nothing new is taken while so many bytes wait to be read by the helper.
const UNSENT: usize = 1024 * 1024;

/// Lost output is said at most so often.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// After so many crashes without an answer in between nothing is tried until the next start.
const CRASHES: u32 = 3;

pub(super) struct Owner {
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
    /// The stream classes have been told of a start and not of its end.
    open: bool,
    room: Arc<Semaphore>,
    /// Bytes of output that the stream classes have not confirmed.
    unconfirmed: usize,
    lost: Lost,
}

/// Output that no stream class has taken.
#[derive(Default)]
struct Lost {
    bytes: usize,
    /// When it was said last.
    said: Option<Instant>,
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
    /// An owner of no process yet.
    pub(super) fn new(definition: Definition, requests: Requests, room: Arc<Semaphore>) -> Self {
        Self {
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
            open: false,
            room,
            unconfirmed: 0,
            lost: Lost::default(),
        }
    }

    /// Works until every handle is gone.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Message>, dropped: Arc<Notify>) {
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
                Event::Message(Some(Message::Print(piece))) => self.print(&piece).await,
                Event::Dropped => self.drop_the_dropped(),
                Event::Heard(Heard::Line(line)) => self.line(&line),
                Event::Heard(Heard::End(why)) => {
                    self.crashes += 1;
                    self.end(&format!("the Python that runs it is gone: {why}"));
                    // Output may come at any time; hooks can wait for the next one.
                    if self.open && self.crashes < CRASHES {
                        self.start().await;
                    }
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
        match call.get("type").and_then(Value::as_str) {
            Some("start") => self.open = true,
            Some("stop") => {
                self.open = false;
                if self.session.is_none() {
                    // Nobody is there who would have to know.
                    let _ = reply.send(Answer::returned(true));
                    return;
                }
            }
            _ => {}
        }
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

    async fn print(&mut self, piece: &Piece) {
        self.unconfirmed += piece.data.len();
        match &mut self.session {
            Some(session) if self.ready => session.send(&piece.message()),
            _ if self.crashes >= CRASHES => {
                self.lose("its Python has crashed several times in a row")
            }
            _ => {
                self.queued.push(piece.message());
                self.start().await;
            }
        }
    }

    /// What has not been confirmed will not be.
    fn lose(&mut self, why: &str) {
        let bytes = mem::take(&mut self.unconfirmed);
        self.room.add_permits(bytes);
        self.lost.bytes += bytes;
        let quiet = self.lost.said.is_some_and(|said| said.elapsed() < SAY_AGAIN);
        if self.lost.bytes > 0 && !quiet {
            let (lost, watcher) = (mem::take(&mut self.lost.bytes), &self.definition.watcher);
            warn!(
                "{lost} bytes of output of {watcher} are lost on the way to its stream class: {why}"
            );
            self.lost.said = Some(Instant::now());
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
        let mut last_paths = self.definition.last_paths.clone();
        let without = format!("{label} have nothing of circus but its logger");
        last_paths.extend(package::directory(&without).await);
        let environment = &self.definition.environment;
        match Session::start(&interpreter.program, environment, &label).await {
            Ok(mut session) => {
                self.generation += 1;
                session.send(&json!({
                    "type": "load",
                    "first_paths": interpreter.first_paths,
                    "last_paths": last_paths,
                    "hooks": self.definition.hooks,
                    "streams": self.definition.streams,
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
        self.lose(why);
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
                let queued = mem::take(&mut self.queued);
                let Some(session) = &mut self.session else { return };
                // After a crash the new objects have to know what the old ones knew.
                if self.open && !queued.iter().any(|message| message["type"] == "start") {
                    session.send(&json!({"type": "start", "id": 0}));
                }
                for message in queued {
                    session.send(&message);
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
            FromHost::Credit { bytes } => {
                let bytes = bytes.min(self.unconfirmed);
                self.unconfirmed -= bytes;
                self.room.add_permits(bytes);
                self.crashes = 0;
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
