//! A stand-in for circusd and a way to run circusctl against it.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

/// Answers the requests of one circusctl, then ends.
pub(crate) struct FakeCircusd {
    endpoint: String,
    quit: zmq::Socket,
    thread: JoinHandle<Vec<Value>>,
}

impl FakeCircusd {
    /// Starts it. `answer` gets each request and says which frames to send back, in order.
    pub(crate) fn start(answer: impl Fn(&Value) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let context = zmq::Context::new();
        let router = context.socket(zmq::ROUTER).expect("socket");
        router.set_linger(0).expect("linger");
        router.bind("tcp://127.0.0.1:*").expect("a free port");
        let endpoint = router.get_last_endpoint().expect("bound").expect("utf-8");
        let stop = context.socket(zmq::PAIR).expect("socket");
        stop.bind("inproc://quit").expect("bind");
        let quit = context.socket(zmq::PAIR).expect("socket");
        quit.connect("inproc://quit").expect("connect");
        let thread = std::thread::spawn(move || serve(&router, &stop, &answer));
        Self { endpoint, quit, thread }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Ends it and gives the requests it has seen.
    pub(crate) fn finish(self) -> Vec<Value> {
        self.quit.send("", 0).expect("the thread listens");
        self.thread.join().expect("the stand-in does not panic")
    }
}

fn serve(
    router: &zmq::Socket,
    stop: &zmq::Socket,
    answer: &impl Fn(&Value) -> Vec<Vec<u8>>,
) -> Vec<Value> {
    let mut requests = Vec::new();
    loop {
        let mut items = [router.as_poll_item(zmq::POLLIN), stop.as_poll_item(zmq::POLLIN)];
        zmq::poll(&mut items, -1).expect("poll");
        let (asked, stopped) = (items[0].is_readable(), items[1].is_readable());
        if asked {
            let frames = router.recv_multipart(0).expect("a message");
            let [client, request] = frames.try_into().expect("exactly two frames");
            let request = serde_json::from_slice(&request).expect("JSON");
            for reply in answer(&request) {
                router.send_multipart([client.clone(), reply], 0).expect("sent");
            }
            requests.push(request);
        } else if stopped {
            return requests;
        }
    }
}

/// `circusctl` with nothing of the caller's environment that it would look at.
pub(crate) fn circusctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_circusctl"));
    command.env_remove("CIRCUSCTL_ENDPOINT").stdin(Stdio::null());
    command
}

/// What a run has left behind, in the form of the recordings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            code: output.status.code().expect("ended by itself"),
        }
    }
}

/// The recorded cases of one file, with their names.
pub(crate) fn golden(file: &str) -> Vec<(String, Value)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/zmq").join(file);
    let text = std::fs::read_to_string(&path).expect("the recordings are in the repository");
    let cases: Vec<(String, Value)> = text
        .lines()
        .map(|line| {
            let case: Value = serde_json::from_str(line).expect("one object per line");
            (case["case"].as_str().expect("a name").to_owned(), case)
        })
        .collect();
    assert!(!cases.is_empty(), "{} is empty", path.display());
    cases
}

/// Judges a replay against the list of deliberate deviations (case name, entry in
/// `docs/differences.md`).
pub(crate) fn judge(compared: Vec<(String, Result<(), String>)>, deviations: &[(&str, &str)]) {
    let differences = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/differences-circusctl.md"),
    )
    .expect("the list of differences is in the repository");
    let mut wrong = Vec::new();
    for (name, entry) in deviations {
        if !compared.iter().any(|(case, _)| case == name) {
            wrong.push(format!("{name}: listed as a deviation and not recorded"));
        }
        if !differences.lines().any(|line| line.trim_start_matches('#').trim() == *entry) {
            wrong.push(format!("{name}: no entry `{entry}` among the differences"));
        }
    }
    for (case, outcome) in compared {
        let listed = deviations.iter().any(|(name, _)| *name == case);
        match outcome {
            Ok(()) if listed => wrong.push(format!("{case}: equal, strike it from the deviations")),
            Err(difference) if !listed => wrong.push(format!("{case}: {difference}")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
