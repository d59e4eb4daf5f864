//! Plays one recorded session against a fresh circusd and notes every step that comes out differently.

use crate::events::{Expected, Extent};
use crate::pattern::{Bindings, Keys, Mismatch};
use crate::recording::{self, Deviation, Line, Places};
use circus_e2e::daemon::Subscription;
use circus_e2e::{Daemon, PATIENCE, TestEnv};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::TcpStream;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// What the recordings say for circusd's own endpoints.
const ENDPOINT_PORT: u16 = 21_555;
const PUBSUB_PORT: u16 = 21_556;

/// A pause that is longer than this waits for an operation to end.
const LONG_PAUSE: f64 = 1.0;

/// One session under way.
pub(crate) struct Player<'a> {
    pub(super) env: &'a TestEnv,
    context: zmq::Context,
    endpoint: String,
    pub(super) daemon: Option<Daemon>,
    pub(super) ended: Option<ExitStatus>,
    clients: HashMap<String, zmq::Socket>,
    /// The id of a request that a client has sent and not yet read the answer to.
    pending: HashMap<String, Value>,
    pub(super) connections: Vec<TcpStream>,
    subscription: Option<Subscription>,
    pub(super) bindings: Bindings,
    requests: u32,
    pub(super) killed: Vec<i32>,
    /// Something may have been spawned.
    has_changed: bool,
    /// There was a pause and only requests since then.
    is_after_pause: bool,
    /// The session begins while circusd starts its watchers.
    is_starting: bool,
}

/// Plays sessions in one scratch directory, each with a circusd of its own, and fails with all steps that
/// differ without being listed, or are listed without need.
pub(crate) fn play(file: &str, sessions: &[&str]) {
    if sessions.contains(&"endpoint_owner") && !nix::unistd::geteuid().is_root() {
        return circus_e2e::python::say_skipped("endpoint_owner: only root can give a file away");
    }
    let env = TestEnv::new();
    let mut places = Places::new(env.directory().display().to_string());
    let lines = recording::lines(file, &mut places);
    let mut bindings = Bindings::default();
    for session in sessions {
        let lines: Vec<&Line> = lines.iter().filter(|line| belongs_to(line, session)).collect();
        let mut deviations = Deviation::of_session(session, &mut places);
        let mut player = Player::start(&env, &lines, &mut places, bindings);
        let mut problems = Vec::new();
        for line in lines {
            let case = line.get("case").or(line.get("op")).and_then(Value::as_str);
            let case = case.unwrap_or_default();
            let listed = deviations.iter().position(|found| found.case() == case);
            let deviation = listed.map(|index| deviations.remove(index));
            if let Err(problem) = player.step(line, deviation.as_ref()) {
                problems.push(format!("{case}: {problem}"));
            }
        }
        let unused = deviations.iter().map(|left| format!("{}: not in the session", left.case()));
        problems.extend(unused);
        bindings = player.bindings.clone();
        let log = player.finish();
        assert!(problems.is_empty(), "{file} {session}:\n{}\n\n{log}", problems.join("\n"));
    }
}

/// The line is one of the session, or an observation after it.
fn belongs_to(line: &Line, session: &str) -> bool {
    let case = line.get("case").and_then(Value::as_str).unwrap_or_default();
    let is_observation = case == "events/papa-quit-check" && session == "papa";
    recording::session_of(line).map_or(is_observation, |found| found == session)
}

impl<'a> Player<'a> {
    fn start(env: &'a TestEnv, lines: &[&Line], places: &mut Places, bindings: Bindings) -> Self {
        let first = lines.first().expect("a session has lines");
        let config = first["config"].as_str().expect("a session has a config");
        for entry in std::fs::read_dir(recording::folder().join("configs")).expect("the configs") {
            let path = entry.expect("readable").path();
            let text = std::fs::read_to_string(&path).expect("text");
            let name = path.file_name().expect("a file");
            let text = places.translate(&text);
            let kernel = env.kernel_path().expect("no port was asked for").display();
            let text = text.replacen(
                "[circus]\n",
                &format!("[circus]\npapa_endpoint = ipc://{kernel}\n"),
                1,
            );
            std::fs::write(env.directory().join(name), text).expect("writable");
        }
        std::fs::copy(env.path(config), env.path("circus.ini")).expect("the config");
        let is_owned = config == "owner.ini";
        let local = |port| format!("tcp://127.0.0.1:{port}");
        let in_directory = |name| format!("ipc://{}", env.path(name).display());
        let (endpoint, pubsub) = if is_owned {
            (in_directory("ctl.sock"), in_directory("pub.sock"))
        } else {
            (local(places.port(ENDPOINT_PORT)), local(places.port(PUBSUB_PORT)))
        };
        let mut command = env.command();
        command.env("PYTHONPATH", env.directory()).env("USER", "root").env("HOME", "/root");
        let daemon = Daemon::spawn(command, endpoint.clone(), pubsub, env.path("circusd.log"));
        let subscription =
            lines.iter().any(|line| line.contains_key("events")).then(|| daemon.subscribe());
        let has_to_wait =
            !first.contains_key("action") && first.get("op").is_none_or(|op| op != "no-wait");
        let player = Self {
            env,
            context: zmq::Context::new(),
            endpoint,
            daemon: Some(daemon),
            ended: None,
            clients: HashMap::new(),
            pending: HashMap::new(),
            connections: Vec::new(),
            subscription,
            bindings,
            requests: 0,
            killed: Vec::new(),
            has_changed: false,
            is_after_pause: false,
            is_starting: first.get("op").is_some_and(|op| op == "no-wait"),
        };
        if has_to_wait {
            player.settle();
            player.wait_for_programs();
            player.skip_events();
        }
        player
    }

    pub(super) fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("circusd has not been asked to quit")
    }

    /// Waits until nothing is under way: no watcher changes its state, and each can be operated on.
    fn settle(&self) {
        let daemon = self.daemon();
        daemon.wait_until("everything has settled", || {
            let statuses = daemon.ok("status", json!({}));
            let statuses = statuses["statuses"].as_object()?.clone();
            let is_idle = |name: &String| {
                daemon.call("set", json!({"name": name, "options": {}}))["status"] == "ok"
            };
            let stable = |status: &Value| status == "active" || status == "stopped";
            (statuses.values().all(stable) && statuses.keys().all(is_idle)).then_some(())
        });
    }

    fn skip_events(&self) {
        while self
            .subscription
            .as_ref()
            .is_some_and(|events| events.next_within(Duration::ZERO).is_some())
        {}
    }

    fn step(&mut self, line: &Line, deviation: Option<&Deviation>) -> Result<(), Mismatch> {
        let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
        match text("op") {
            "settle" => self.settle(),
            "sleep" => {
                self.is_after_pause = true;
                self.pause(line["seconds"].as_f64().unwrap_or_default());
            }
            "copy-config" => self.copy_config(text("from")),
            "remove-config" => {
                std::fs::remove_file(self.env.path("circus.ini")).expect("it is there")
            }
            "write-config" => {
                std::fs::write(self.env.path("circus.ini"), text("content")).expect("writable")
            }
            "kill-all" => self.kill_all(text("watcher"), &line["signal"]),
            "wait-respawn" => self.wait_for_others(text("watcher")),
            "no-wait" | "cleanup" => {}
            "recv" => {
                let id = self.pending.remove(text("client")).unwrap_or_default();
                let reply = self.receive(text("client"), &id);
                return self.judge(line, deviation, reply.as_ref(), &id);
            }
            _ => return self.exchange(line, deviation),
        }
        Ok(())
    }

    fn exchange(&mut self, line: &Line, deviation: Option<&Deviation>) -> Result<(), Mismatch> {
        if let Some(check) = line.get("check") {
            return self.observe(check, deviation);
        }
        if deviation.is_some_and(Deviation::is_not_sent) {
            return Ok(());
        }
        if std::mem::take(&mut self.has_changed) {
            self.wait_for_programs();
        }
        if let Some(act) = line.get("act") {
            self.act(act)?;
        } else if let Some(action) = line.get("action").and_then(Value::as_str) {
            self.act_in_words(action);
        }
        if line.contains_key("frames") {
            return self.send_frames(line, deviation);
        }
        let outcome = match line.get("request") {
            Some(request) => self.request(line, request, deviation),
            None if line.get("reply").is_some_and(Value::is_null) => self.nothing_more_comes(),
            None => Ok(()),
        };
        // Also after a wrong reply, so that the next step has its own events.
        let events = self.compare_events(line, deviation);
        outcome.and(events)
    }

    fn request(
        &mut self,
        line: &Line,
        request: &Value,
        deviation: Option<&Deviation>,
    ) -> Result<(), Mismatch> {
        let mut request = self.bindings.resolve(request)?;
        self.requests += 1;
        if request.get("id").is_some_and(|id| id == "<uuid>") {
            request["id"] = format!("{:032x}", self.requests).into();
        }
        if let Some(properties) = deviation.and_then(Deviation::properties) {
            for (key, value) in properties {
                request["properties"][key] = value.clone();
            }
        }
        let id = request.get("id").cloned().unwrap_or(Value::Null);
        let client = line.get("client").and_then(Value::as_str).unwrap_or("A").to_owned();
        self.client(&client).send(request.to_string().as_bytes(), 0).expect("sent");
        if line.get("op").is_some_and(|op| op == "send") {
            self.pending.insert(client, id);
            return Ok(());
        }
        let command = request["command"].as_str().unwrap_or_default().to_owned();
        self.has_changed |= !["list", "status", "get", "options"].contains(&command.as_str());
        let is_silent = line["reply"].is_null() && deviation.and_then(Deviation::reply).is_none();
        if is_silent && command == "quit" {
            return Ok(());
        }
        let reply = if is_silent { self.probe(&client)? } else { self.receive(&client, &id) };
        let mut judged = self.judge(line, deviation, reply.as_ref(), &id);
        let deadline = Instant::now() + PATIENCE;
        // The recording had a pause before it, in which what was under way went on.
        while judged.is_err()
            && self.is_after_pause
            && command == "status"
            && Instant::now() < deadline
        {
            self.client(&client).send(request.to_string().as_bytes(), 0).expect("sent");
            let reply = self.receive(&client, &id);
            judged = self.judge(line, deviation, reply.as_ref(), &id);
        }
        judged
    }

    /// Compares a reply with the recorded one, or with ours where that is another one.
    fn judge(
        &mut self,
        line: &Line,
        deviation: Option<&Deviation>,
        reply: Option<&Value>,
        id: &Value,
    ) -> Result<(), Mismatch> {
        let none = Value::Null;
        let reply = reply.unwrap_or(&none);
        let recorded = &line["reply"];
        let ours = deviation.and_then(Deviation::reply);
        let mut attempt = self.bindings.clone();
        let as_recorded = if is_internal_error(recorded) && reply["status"] == "error" {
            Ok(())
        } else {
            attempt.fit(recorded, reply, "reply", Keys::AtLeast, id)
        };
        match (as_recorded, ours) {
            (Ok(()), None) => {
                self.bindings = attempt;
                Ok(())
            }
            (Ok(()), Some(_)) => Err(format!("listed as different, but as recorded: {reply}")),
            (Err(mismatch), None) => Err(format!("{mismatch}\n    whole reply: {reply}")),
            (Err(_), Some(ours)) => self.bindings.fit(ours, reply, "our reply", Keys::AtLeast, id),
        }
    }

    fn compare_events(
        &mut self,
        line: &Line,
        deviation: Option<&Deviation>,
    ) -> Result<(), Mismatch> {
        let Some(recorded) = line.get("events").and_then(Value::as_array) else { return Ok(()) };
        let flag = |key: &str| line.get(key).is_some_and(|value| value == true);
        let is_start = line.get("action").is_some_and(|action| action == "start circusd");
        let extent = if deviation.is_some_and(Deviation::is_in_any_order) {
            Extent::Counts
        } else if flag("racy") {
            Extent::Kinds
        } else if flag("timing") || is_start {
            Extent::FromFirst
        } else {
            Extent::All
        };
        let expected = match deviation.and_then(Deviation::events) {
            Some(topics) => Expected::topics(topics, extent),
            None => {
                Expected::new(recorded, extent, deviation.is_some_and(Deviation::has_more_reaps))
            }
        };
        let subscription = self.subscription.as_ref().expect("subscribed for sessions with events");
        expected.wait(subscription, &mut self.bindings)
    }

    fn client(&mut self, name: &str) -> &zmq::Socket {
        let (context, endpoint) = (&self.context, &self.endpoint);
        self.clients
            .entry(name.to_owned())
            .or_insert_with(|| connect(context, endpoint, zmq::DEALER))
    }

    /// The reply with this id; others are not ours to read.
    fn receive(&mut self, client: &str, id: &Value) -> Option<Value> {
        let deadline = Instant::now() + PATIENCE;
        let socket = self.client(client);
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).as_millis();
            if socket.poll(zmq::POLLIN, i64::try_from(left).unwrap_or_default()).expect("poll") == 0
            {
                return None;
            }
            let reply: Value =
                serde_json::from_slice(&socket.recv_bytes(0).expect("a frame")).expect("JSON");
            if reply["id"] == *id {
                return Some(reply);
            }
        }
    }

    /// What comes before the answer to a second request: nothing, if the first one is never answered.
    fn probe(&mut self, client: &str) -> Result<Option<Value>, Mismatch> {
        let request = json!({"id": "probe", "command": "numwatchers"});
        let socket = self.client(client);
        socket.send(request.to_string().as_bytes(), 0).expect("sent");
        let limit = i64::try_from(PATIENCE.as_millis()).expect("it fits");
        if socket.poll(zmq::POLLIN, limit).expect("poll") == 0 {
            return Err("circusd does not answer any more".to_owned());
        }
        let first: Value =
            serde_json::from_slice(&socket.recv_bytes(0).expect("a frame")).expect("JSON");
        Ok((first["id"] != "probe").then_some(first))
    }

    fn send_frames(&mut self, line: &Line, deviation: Option<&Deviation>) -> Result<(), Mismatch> {
        let latin1 = |text: &str| {
            text.chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1")).collect()
        };
        let frames = line["frames"].as_array().expect("frames").iter();
        let frames: Vec<Vec<u8>> =
            frames.map(|frame| latin1(frame.as_str().expect("text"))).collect();
        let socket = connect(&self.context, &self.endpoint, zmq::DEALER);
        socket.send_multipart(frames, 0).expect("sent");
        let limit = i64::try_from(PATIENCE.as_millis()).expect("it fits");
        let answered = socket.poll(zmq::POLLIN, limit).expect("poll") > 0;
        let reply = answered.then(|| {
            serde_json::from_slice::<Value>(&socket.recv_bytes(0).expect("a frame")).expect("JSON")
        });
        self.judge(line, deviation, reply.as_ref(), &Value::Null)
    }

    fn nothing_more_comes(&mut self) -> Result<(), Mismatch> {
        self.wait_for_end();
        let late = self.client("A").poll(zmq::POLLIN, 0).expect("poll") > 0;
        if late { Err("a second reply".to_owned()) } else { Ok(()) }
    }

    fn pause(&self, seconds: f64) {
        if self.is_starting {
            // The pause lets the start begin.
            return self.daemon().wait_for_status("slowstart", "starting");
        }
        if seconds >= LONG_PAUSE {
            return self.settle();
        }
        if !self.pending.is_empty() {
            // The pause lets the request of another client arrive.
            let daemon = self.daemon();
            let moves = |status: &Value| status == "starting" || status == "stopping";
            daemon.wait_until("the request has its effect", || {
                let reply = daemon.ok("status", json!({}));
                reply["statuses"].as_object()?.values().any(moves).then_some(())
            });
        }
    }

    /// Ends circusd if it still runs, and gives what it has logged.
    fn finish(mut self) -> String {
        self.connections.clear();
        let Some(daemon) = self.daemon.take() else { return String::new() };
        let log = daemon.log();
        // Not `kill`: that leaves the workers, as the end of circusd does.
        drop(daemon);
        log
    }
}

/// The original's way to say that it did not expect something; any error will do.
fn is_internal_error(recorded: &Value) -> bool {
    recorded["status"] == "error" && !recorded["tb"].is_null()
}

fn connect(context: &zmq::Context, endpoint: &str, kind: zmq::SocketType) -> zmq::Socket {
    let socket = context.socket(kind).expect("a socket");
    socket.set_linger(0).expect("linger");
    socket.set_reconnect_ivl(5).expect("interval");
    socket.connect(endpoint).expect("a valid endpoint");
    socket
}
