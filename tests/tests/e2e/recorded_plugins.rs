//! A plugin between a circusd and a statsd, with everything that it sends written down.

use circus_e2e::process::MARK;
use circus_e2e::{Daemon, PATIENCE, TestEnv, program, waiting};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Something that a plugin has sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sent {
    /// To statsd.
    Metric(String),
    /// To circusd: the command, its properties, and whether it was sent without wanting an answer.
    Command(String, Value, bool),
}

/// What plugins of one test are run in.
pub(crate) struct Bench {
    pub(crate) env: TestEnv,
    pub(crate) circusd: Daemon,
    statsd_port: u16,
    sent: Receiver<Sent>,
    /// What has come before its time.
    early: RefCell<VecDeque<Sent>>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Bench {
    /// A circusd with these sections.
    pub(crate) fn new(sections: &str) -> Self {
        let env = TestEnv::new();
        let circusd = env.start(sections);
        let (send, sent) = channel();
        let over = Arc::new(AtomicBool::new(false));
        let statsd = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let statsd_port = statsd.local_addr().expect("an address").port();
        let frontend = zmq::Context::new().socket(zmq::ROUTER).expect("a socket");
        frontend.bind(&proxy(&env)).expect("bound");
        let (endpoint, ended, to) = (env.endpoint(), Arc::clone(&over), send.clone());
        let threads = vec![
            thread::spawn(move || relay(&frontend, &endpoint, &to, &ended)),
            thread::spawn({
                let ended = Arc::clone(&over);
                move || collect(&statsd, &send, &ended)
            }),
        ];
        Self { env, circusd, statsd_port, sent, early: RefCell::default(), over, threads }
    }

    /// Runs a plugin with these options, in the section `plugin:under-test`. Its metrics come here.
    pub(crate) fn plugin(&self, class: &str, options: &[(&str, &str)]) -> Plugin {
        self.plugin_with(class, options, &[])
    }

    /// The same with more in its environment.
    pub(crate) fn plugin_with(
        &self,
        class: &str,
        options: &[(&str, &str)],
        variables: &[(&str, &str)],
    ) -> Plugin {
        let port = self.statsd_port.to_string();
        let mut config = vec!["name:plugin:under-test".to_owned(), "host:127.0.0.1".to_owned()];
        if !class.ends_with("WatchDog") {
            config.push(format!("port:{port}"));
        }
        config.extend(options.iter().map(|(key, value)| format!("{key}:{value}")));
        let log = tempfile::Builder::new().prefix("plugin-").tempfile_in(self.env.directory());
        let (output, log) = log.expect("writable").keep().expect("kept");
        let child = Command::new(program::built("circus-plugin"))
            .args(["--endpoint", &proxy(&self.env), "--pubsub", &self.env.pubsub_endpoint()])
            .args(["--config", &config.join(":::"), class])
            .current_dir(self.env.directory())
            .env(MARK, self.env.id())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .expect("it is built");
        Plugin { child, log }
    }

    /// The next thing that is sent, other than questions about figures and names.
    pub(crate) fn next(&self) -> Sent {
        self.next_within(PATIENCE).expect("something is sent in time")
    }

    /// The same, if there is one within this time.
    pub(crate) fn next_within(&self, patience: Duration) -> Option<Sent> {
        if let Some(early) = self.early.borrow_mut().pop_front() {
            return Some(early);
        }
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.sent.recv_timeout(left) {
                Ok(Sent::Command(command, ..)) if command == "dstats" => {}
                Ok(sent) => return Some(sent),
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => unreachable!("the relays run until we end"),
            }
        }
    }

    /// The metrics from now on, as many as these, and the commands besides questions that come with them; in an
    /// order of their own, because they take different ways.
    pub(crate) fn take(&self, metrics: usize, commands: usize) -> (Vec<String>, Vec<Sent>) {
        let (mut told, mut ordered, mut early) = (Vec::new(), Vec::new(), VecDeque::new());
        while told.len() < metrics || ordered.len() < commands {
            match self.next() {
                Sent::Metric(metric) if told.len() < metrics => told.push(metric),
                Sent::Command(name, ..) if is_question(&name) => {}
                command @ Sent::Command(..) if ordered.len() < commands => ordered.push(command),
                other => early.push_back(other),
            }
        }
        early.append(&mut self.early.borrow_mut());
        *self.early.borrow_mut() = early;
        (told, ordered)
    }

    /// The commands besides questions that have come beside what was taken.
    pub(crate) fn others(&self) -> Vec<Sent> {
        let early = self.early.borrow();
        early.iter().filter(|sent| matches!(sent, Sent::Command(..))).cloned().collect()
    }

    /// Waits until this was sent, whatever comes before.
    pub(crate) fn wait_for(&self, wanted: &Sent) {
        while self.next() != *wanted {}
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A plugin that runs.
pub(crate) struct Plugin {
    child: Child,
    log: std::path::PathBuf,
}

impl Plugin {
    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until a text is in its log.
    pub(crate) fn wait_for_log(&self, text: &str) {
        waiting::for_text(&self.log, text);
    }

    /// Ends it as a user does at a terminal. It runs until then.
    pub(crate) fn interrupt(mut self) {
        assert!(self.child.try_wait().expect("ours").is_none(), "it has ended: {}", self.log());
        let pid = i32::try_from(self.child.id()).expect("pids fit");
        let handle = circus_e2e::process::Handle::open(pid).expect("it runs");
        handle.signal(circus_e2e::process::Signal::INT);
        let status = self.child.wait().expect("ours");
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    /// Waits for its end and gives the exit status.
    pub(crate) fn wait(mut self) -> Option<i32> {
        self.child.wait().expect("ours").code()
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One run of a plugin in a recording.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// The plugin.
    pub(crate) class: String,
    /// Its options.
    pub(crate) options: Vec<(String, String)>,
    /// What it has sent, questions included.
    pub(crate) sent: Vec<Sent>,
    /// Its exit status.
    pub(crate) exit: i32,
}

impl Recorded {
    /// The run with this application name.
    pub(crate) fn find(file: &str, application: &str) -> Self {
        let entries = entries(file);
        let wanted = format!("application_name:{application}:::");
        let begin =
            entries.iter().position(|entry| step(entry).is_some_and(|s| s.contains(&wanted)));
        let begin = begin.expect("a run of this name");
        let line = step(&entries[begin]).and_then(|line| line.strip_prefix("circus-plugin "));
        let (class, config) =
            line.and_then(|line| line.split_once(" --config ")).expect("its command line");
        let options = config.split(":::").map(|item| item.split_once(':').expect("key:value"));
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let rest = &entries[begin + 1..];
        let end = rest.iter().position(|e| step(e).is_some_and(|s| s.starts_with("rc ")));
        let end = end.expect("its end");
        let exit = step(&rest[end]).and_then(|s| s.strip_prefix("rc ")).expect("a status");
        Self {
            class: class.to_owned(),
            options,
            sent: rest[..end].iter().filter_map(sent).collect(),
            exit: exit.parse().expect("a number"),
        }
    }

    /// The options of the recording but for those that are given here.
    pub(crate) fn options<'a>(&'a self, others: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let given = |key: &str| others.iter().any(|(other, _)| *other == key);
        let own = self.options.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let own = own.filter(|(key, _)| !["host", "port"].contains(key) && !given(key));
        own.chain(others.iter().copied()).collect()
    }

    /// The metrics.
    pub(crate) fn metrics(&self) -> Vec<String> {
        let metrics = self.sent.iter().filter_map(|sent| match sent {
            Sent::Metric(metric) => Some(metric.clone()),
            Sent::Command(..) => None,
        });
        metrics.collect()
    }

    /// The commands that are no questions.
    pub(crate) fn commands(&self) -> Vec<Sent> {
        let is_command = |sent: &&Sent| match sent {
            Sent::Command(name, ..) => !is_question(name),
            Sent::Metric(_) => false,
        };
        self.sent.iter().filter(is_command).cloned().collect()
    }
}

/// The entries of a recording of plugins.
pub(crate) fn entries(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/tools").join(file);
    let text = std::fs::read_to_string(path).expect("the recording");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// What was done at this point of a recording.
pub(crate) fn step(entry: &Value) -> Option<&str> {
    (entry["kind"] == "step").then(|| entry["data"].as_str().expect("text"))
}

/// What was sent at this point of a recording.
pub(crate) fn sent(entry: &Value) -> Option<Sent> {
    let data = &entry["data"];
    match entry["kind"].as_str()? {
        "udp" => Some(Sent::Metric(data.as_str()?.to_owned())),
        "cmd" => Some(command(data)),
        _ => None,
    }
}

fn command(message: &Value) -> Sent {
    let name = message["command"].as_str().expect("a command").to_owned();
    Sent::Command(name, message["properties"].clone(), message["msg_type"] == "cast")
}

/// Commands that change nothing.
fn is_question(name: &str) -> bool {
    ["list", "get", "stats", "status", "options", "dstats"].contains(&name)
}

fn proxy(env: &TestEnv) -> String {
    format!("ipc://{}", env.path("proxy").display())
}

/// Hands on what comes for circusd, and its answers.
fn relay(frontend: &zmq::Socket, endpoint: &str, to: &Sender<Sent>, over: &AtomicBool) {
    let context = zmq::Context::new();
    let mut peers: HashMap<Vec<u8>, zmq::Socket> = HashMap::new();
    while !over.load(Ordering::Relaxed) {
        let mut items = vec![frontend.as_poll_item(zmq::POLLIN)];
        items.extend(peers.values().map(|peer| peer.as_poll_item(zmq::POLLIN)));
        zmq::poll(&mut items, 20).expect("poll");
        drop(items);
        while let Ok(frames) = frontend.recv_multipart(zmq::DONTWAIT) {
            let [peer, request] = frames.try_into().expect("a name and a request");
            let backend = peers.entry(peer).or_insert_with(|| {
                let socket = context.socket(zmq::DEALER).expect("a socket");
                socket.set_linger(0).expect("linger");
                socket.connect(endpoint).expect("a valid endpoint");
                socket
            });
            let message: Value = serde_json::from_slice(&request).expect("JSON");
            // Nobody listens any more when the test is over.
            let _ = to.send(command(&message));
            backend.send(request, 0).expect("sent");
        }
        for (name, peer) in &peers {
            while let Ok(reply) = peer.recv_bytes(zmq::DONTWAIT) {
                frontend.send_multipart([name.as_slice(), &reply], 0).expect("sent");
            }
        }
    }
}

fn collect(statsd: &UdpSocket, to: &Sender<Sent>, over: &AtomicBool) {
    statsd.set_read_timeout(Some(Duration::from_millis(20))).expect("a time");
    let mut buffer = [0; 2048];
    while !over.load(Ordering::Relaxed) {
        if let Ok(length) = statsd.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let _ = to.send(Sent::Metric(text));
        }
    }
}
