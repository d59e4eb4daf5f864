//! A running circusd, and what a test does with it.

use crate::process::{Handle, Signal, children};
use crate::{PATIENCE, waiting};
use protocol::circus::request::Request;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A circusd. Dropping it kills it; what the kernel hosts lives until its `TestEnv` ends.
pub struct Daemon {
    child: Child,
    handle: Handle,
    endpoint: String,
    pubsub_endpoint: String,
    log: PathBuf,
    context: zmq::Context,
}

/// A subscription to events.
pub struct Subscription {
    socket: zmq::Socket,
    /// Lives as long as the socket: without a reader a report of its connections would block ZeroMQ.
    _monitor: zmq::Socket,
}

impl Daemon {
    /// Starts circusd; what it prints is added to the log.
    pub fn spawn(
        mut command: Command,
        endpoint: String,
        pubsub_endpoint: String,
        log: PathBuf,
    ) -> Self {
        let output = File::options().create(true).append(true).open(&log).expect("writable");
        let child = command
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let pid = i32::try_from(child.id()).expect("pids fit");
        let handle = Handle::open(pid).expect("a child stays until it is waited for");
        Self { child, handle, endpoint, pubsub_endpoint, log, context: zmq::Context::new() }
    }

    /// circusd's own pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a command and gives the reply.
    ///
    /// # Panics
    /// When circusd ends before it answers, or does not answer in time.
    pub fn call(&self, command: &str, properties: Value) -> Value {
        let Value::Object(properties) = properties else { panic!("properties are an object") };
        let reply = self.exchange(&Request::new(command, command, properties).to_bytes());
        serde_json::from_slice(&reply).expect("a reply is JSON")
    }

    /// The same for a command that may be sent twice: it is sent again when the answer does not come, as between
    /// two programs of an upgrade.
    pub fn call_again(&self, command: &str, properties: Value) -> Value {
        let Value::Object(properties) = properties else { panic!("properties are an object") };
        let request = Request::new(command, command, properties).to_bytes();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let socket = self.context.socket(zmq::DEALER).expect("a socket");
            socket.set_linger(0).expect("linger");
            socket.set_reconnect_ivl(5).expect("interval");
            socket.connect(&self.endpoint).expect("a valid endpoint");
            socket.send(&request, 0).expect("sent");
            if socket.poll(zmq::POLLIN, 500).expect("poll") > 0 {
                let reply = socket.recv_bytes(0).expect("one frame");
                return serde_json::from_slice(&reply).expect("a reply is JSON");
            }
            assert!(Instant::now() < deadline, "circusd does not answer:\n{}", self.log());
        }
    }

    /// Sends a command that must succeed and gives the reply.
    pub fn ok(&self, command: &str, properties: Value) -> Value {
        let reply = self.call(command, properties);
        assert_ne!(reply["status"], "error", "{command}: {reply}");
        reply
    }

    /// The same, again for as long as another operation, such as the start of all watchers, is under way.
    pub fn ok_when_idle(&self, command: &str, properties: &Value) -> Value {
        self.wait_until(&format!("{command} is not refused"), || {
            let reply = self.call(command, properties.clone());
            let reason = reply["reason"].as_str().unwrap_or_default();
            let busy = reason.starts_with("arbiter is already running");
            assert!(busy || reply["status"] != "error", "{command}: {reply}");
            (!busy).then_some(reply)
        })
    }

    /// A socket of a client.
    pub fn client(&self) -> zmq::Socket {
        let socket = self.context.socket(zmq::DEALER).expect("a socket");
        socket.set_linger(0).expect("linger");
        // circusd may not have bound yet; 100 ms, the default, would make every start slow.
        socket.set_reconnect_ivl(5).expect("interval");
        socket.connect(&self.endpoint).expect("a valid endpoint");
        socket
    }

    /// Sends one frame of any content and gives the frame that comes back.
    pub fn exchange(&self, frame: &[u8]) -> Vec<u8> {
        let socket = self.client();
        socket.send(frame, 0).expect("sent");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut items = [
                socket.as_poll_item(zmq::POLLIN),
                zmq::PollItem::from_fd(self.handle.fd(), zmq::POLLIN),
            ];
            let left = deadline.saturating_duration_since(Instant::now()).as_millis();
            let left = i64::try_from(left).expect("seconds fit");
            zmq::poll(&mut items, left).expect("poll");
            if items[0].is_readable() {
                return socket.recv_bytes(0).expect("one frame");
            }
            if items[1].is_readable() {
                // What it sent before it ended may still be on its way through ZeroMQ's thread.
                let arrived = socket.poll(zmq::POLLIN, 2000).expect("poll") > 0;
                assert!(arrived, "circusd has ended:\n{}", self.log());
                continue;
            }
            assert!(Instant::now() < deadline, "circusd does not answer:\n{}", self.log());
        }
    }

    /// Waits until the endpoint answers at all.
    pub fn wait_for_answer(&self) {
        self.ok("numwatchers", json!({}));
    }

    /// The pids of a watcher's live processes.
    pub fn pids(&self, watcher: &str) -> Vec<i32> {
        let reply = self.ok("list", json!({"name": watcher}));
        serde_json::from_value(reply["pids"].clone()).expect("a list of pids")
    }

    /// Waits until a watcher is active with so many live processes, and gives their pids.
    pub fn wait_for_pids(&self, watcher: &str, count: usize) -> Vec<i32> {
        self.wait_until(&format!("{watcher} has {count} processes"), || {
            let status = self.ok("status", json!({"name": watcher}));
            let pids = self.pids(watcher);
            (status["status"] == "active" && pids.len() == count).then_some(pids)
        })
    }

    /// Waits until a watcher has this state.
    pub fn wait_for_status(&self, watcher: &str, status: &str) {
        self.wait_until(&format!("{watcher} is {status}"), || {
            (self.ok("status", json!({"name": watcher}))["status"] == status).then_some(())
        });
    }

    /// Looks again after every event, and every 50 ms for what makes no event, until there is a value.
    pub fn wait_until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let events = subscriber(&self.context, &self.pubsub_endpoint);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = look() {
                return value;
            }
            assert!(Instant::now() < deadline, "not in time: {what}\n{}", self.log());
            if events.poll(zmq::POLLIN, 50).expect("poll") > 0 {
                events.recv_multipart(0).expect("an event");
            }
        }
    }

    /// Subscribes to the topics that begin with `watcher.`.
    pub fn subscribe(&self) -> Subscription {
        let socket = subscriber(&self.context, &self.pubsub_endpoint);
        let monitor = self.context.socket(zmq::PAIR).expect("a socket");
        // ZeroMQ lets go of the name of one before only after a while.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("inproc://subscription-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let handshake = i32::from(zmq::SocketEvent::HANDSHAKE_SUCCEEDED.to_raw());
        // Only connections from now on are reported; so the first one is made again.
        socket.disconnect(&self.pubsub_endpoint).expect("connected");
        socket.monitor(&name, handshake).expect("a monitor");
        monitor.connect(&name).expect("the monitor is there");
        socket.connect(&self.pubsub_endpoint).expect("a valid endpoint");
        monitor.set_rcvtimeo(timeout(PATIENCE)).expect("a valid time");
        monitor.recv_multipart(0).expect("circusd publishes");
        // The subscription follows the handshake; a round trip later it has arrived.
        self.wait_for_answer();
        Subscription { socket, _monitor: monitor }
    }

    /// Waits for its end, and fails when it comes within this time, before a test makes it come.
    ///
    /// # Panics
    /// When it ends by itself.
    pub fn lives_for(&self, time: Duration) {
        let pid = i32::try_from(self.pid()).expect("pids fit");
        let ended = Handle::open(pid).is_none_or(|daemon| daemon.wait(time));
        assert!(!ended, "it has ended by itself:\n{}", self.log());
    }

    /// Kills it with SIGKILL and waits for its end.
    pub fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// Sends SIGTERM.
    pub fn ask_to_end(&self) {
        self.handle.terminate();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.handle.signal(signal);
    }

    /// Waits until a text is in the log.
    pub fn wait_for_log(&self, text: &str) {
        waiting::for_text(&self.log, text);
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(self) -> ExitStatus {
        self.handle.terminate();
        self.wait()
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait(mut self) -> ExitStatus {
        assert!(self.handle.wait(PATIENCE), "circusd does not end:\n{}", self.log());
        self.child.wait().expect("it is our child")
    }

    /// Asks it to quit and waits for the end.
    pub fn quit(self) -> ExitStatus {
        self.ok("quit", json!({}));
        self.wait()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A worker whose environment a command has replaced carries no mark to be found by later.
        let children = match self.child.try_wait() {
            Ok(None) => children(i32::try_from(self.child.id()).expect("pids fit")),
            // Its number may be somebody else's by now.
            _ => Vec::new(),
        };
        let children: Vec<Handle> = children.into_iter().filter_map(Handle::open).collect();
        // Both fail only when it was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        children.iter().for_each(Handle::kill);
    }
}

impl Subscription {
    /// The next event: topic and payload.
    pub fn next_event(&self) -> (String, Map<String, Value>) {
        let frames = self.socket.recv_multipart(0).expect("an event in time");
        let [topic, payload] = frames.try_into().expect("two frames");
        let topic = String::from_utf8(topic).expect("UTF-8");
        (topic, serde_json::from_slice(&payload).expect("an object"))
    }

    /// The next event, if one comes within this time.
    pub fn next_within(&self, patience: Duration) -> Option<(String, Map<String, Value>)> {
        let ready = self.socket.poll(zmq::POLLIN, i64::from(timeout(patience))).expect("poll");
        (ready > 0).then(|| self.next_event())
    }

    /// Skips to the next event with this topic and gives its payload.
    pub fn wait_for(&self, topic: &str) -> Map<String, Value> {
        loop {
            let (found, payload) = self.next_event();
            if found == topic {
                return payload;
            }
        }
    }
}

fn subscriber(context: &zmq::Context, endpoint: &str) -> zmq::Socket {
    let socket = context.socket(zmq::SUB).expect("a socket");
    socket.set_linger(0).expect("linger");
    socket.set_reconnect_ivl(5).expect("interval");
    socket.set_rcvtimeo(timeout(PATIENCE)).expect("a valid time");
    socket.set_subscribe(b"watcher.").expect("a topic");
    socket.connect(endpoint).expect("a valid endpoint");
    socket
}

fn timeout(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).expect("seconds fit")
}
