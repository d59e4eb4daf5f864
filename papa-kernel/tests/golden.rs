//! The recorded dialogs with papa 1.0.6, played against our kernel.
//!
//! `tests/golden/papa/README.md` explains the steps. What is deliberately answered otherwise is
//! listed here; each has its entry in `docs/differences-papa.md`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "only tests use it")]

mod harness;
#[path = "golden/normal.rs"]
mod normal;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use circus_e2e::process::Handle;
use harness::{Kernel, free_port, wait_until};
use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use normal::Normalizer;
use serde_json::Value;

/// Cases in which ours answers otherwise, on purpose.
const DIFFERENT: &[&str] = &[
    "help/bad",
    "processes/bad-options",
    "processes/names",
    "processes/nul-arg",
    "processes/shell",
    "session/abbrev",
    "session/case",
    "session/telnet-iac",
    "sockets/badargs",
    "sockets/reuseport",
    "sockets/unix-errors",
    "sockets/unix-types",
    "sockets/unix-umask",
    "watch/fds",
    "watch/grandchild",
    "watch/half-close-mid",
    "watch/removed-while-watched",
];

/// What everybody is welcomed with.
const GREETING: &str = "Papa is home. Type \"help\" for commands.\n> ";

/// With this many at once the waiting of one case hides behind that of others.
const AT_ONCE: usize = 8;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_dialog_is_answered_as_papa_does_or_differs_on_purpose() {
    let text = read("tests/golden/papa/papa-transcripts.jsonl");
    let cases: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let waiting = Mutex::new(cases.iter().collect::<Vec<_>>());
    let failures = Mutex::new(HashMap::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = { waiting.lock().unwrap().pop() } {
                    if let Err(text) = Player::new(case).play() {
                        let name = case["case"].as_str().unwrap().to_owned();
                        failures.lock().unwrap().insert(name, text);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let unexpected = failures.iter().filter(|(name, _)| !DIFFERENT.contains(&name.as_str()));
    let unexpected: Vec<_> = unexpected.map(|(name, text)| format!("{name}\n{text}")).collect();
    assert!(unexpected.is_empty(), "answered otherwise:\n{}", unexpected.join("\n"));
    for name in DIFFERENT {
        assert!(failures.contains_key(*name), "{name} is answered as papa does: unlist it");
    }
    assert_eq!(cases.len(), 90);
}

#[test]
fn every_listed_difference_is_documented() {
    let documented = read("docs/differences-papa.md");
    for name in DIFFERENT {
        assert!(documented.contains(&format!("`{name}`")), "{name} has no entry");
    }
}

/// One case on one kernel.
struct Player<'a> {
    case: &'a Value,
    kernel: Kernel,
    directory: tempfile::TempDir,
    connections: HashMap<String, TcpStream>,
    normalizer: Normalizer,
    /// Patience for one answer, in seconds.
    patience: f64,
}

impl<'a> Player<'a> {
    fn new(case: &'a Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Hosted processes of other users look into it.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).unwrap();
        let kernel = Kernel::start_with(|command| {
            command.env("LANG", "C.UTF-8");
        });
        let merge = case["chunks"] == "free";
        let normalizer = Normalizer::new(directory.path().to_str().unwrap(), merge);
        let connections = HashMap::new();
        Self { case, kernel, directory, connections, normalizer, patience: 6.0 }
    }

    fn play(mut self) -> Result<(), String> {
        let steps = self.case["dialog"].as_array().unwrap();
        if steps.first().is_none_or(|step| step.get("connect").is_none()) {
            self.connection("A");
        }
        for (index, step) in steps.iter().enumerate() {
            self.step(step).map_err(|text| format!("  step {index}: {text}"))?;
        }
        Ok(())
    }

    fn connection(&mut self, name: &str) -> &mut TcpStream {
        let port = self.kernel.port;
        let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
        self.connections.entry(name.to_owned()).or_insert_with(connect)
    }

    /// A request with its placeholders filled in.
    fn fill_in(&mut self, text: &str) -> String {
        if text.contains("<freeport>") && self.normalizer.free_port.is_none() {
            self.normalizer.free_port = Some(free_port().to_string());
        }
        let mut text = text.replace("<tmp>", self.directory.path().to_str().unwrap());
        let free = self.normalizer.free_port.clone().unwrap_or_default();
        for (name, value) in
            self.normalizer.last.iter().map(|(n, v)| (*n, v)).chain([("freeport", &free)])
        {
            text = text.replace(&format!("<{name}>"), value);
        }
        text
    }

    fn step(&mut self, step: &Value) -> Result<(), String> {
        let name = step["conn"].as_str().unwrap_or("A").to_owned();
        let text = |key: &str| step[key].as_str();
        let seconds = |key: &str| step[key].as_f64();
        if step.get("connect").is_some() {
            self.connection(&name);
        } else if let Some(line) = text("send") {
            let line = self.fill_in(line);
            self.connection(&name).write_all(line.as_bytes()).unwrap();
        } else if let Some(hex) = text("send_hex") {
            let digits: Vec<u32> = hex.chars().map(|c| c.to_digit(16).unwrap()).collect();
            let bytes: Vec<u8> = digits.chunks(2).map(|two| (two[0] * 16 + two[1]) as u8).collect();
            self.connection(&name).write_all(&bytes).unwrap();
        } else if let Some([piece, count, tail]) = step["send_repeat"].as_array().map(Vec::as_slice)
        {
            let line = piece.as_str().unwrap().repeat(count.as_u64().unwrap() as usize);
            let line = line + tail.as_str().unwrap();
            self.connection(&name).write_all(line.as_bytes()).unwrap();
        } else if let Some(wanted) = text("recv") {
            self.normalizer.any_running = step["any_running"].as_bool().unwrap_or_default();
            let got = self.receive(&name, wanted, seconds("timeout").unwrap_or(self.patience));
            compare(wanted, &got)?;
        } else if step.get("eof").is_some() {
            let stream = self.connection(&name);
            stream.set_read_timeout(Some(harness::PATIENCE)).unwrap();
            let ended = match stream.read(&mut [0]) {
                Ok(count) => count == 0,
                Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
            };
            compare("the end", if ended { "the end" } else { "no end" })?;
            self.connections.remove(&name);
        } else if let Some(time) = seconds("silence") {
            let stream = self.connection(&name);
            stream.set_read_timeout(Some(Duration::from_secs_f64(time))).unwrap();
            let mut buffer = [0; 1024];
            if let Ok(count) = stream.read(&mut buffer) {
                compare("silence", &String::from_utf8_lossy(&buffer[..count]))?;
            }
        } else if let Some(time) = seconds("sleep") {
            // The pace of the recorded client, which the dialog is about as much as about its words; unless the kernel
            // ends.
            let kernel = Handle::open(self.kernel.child.id() as i32).unwrap();
            kernel.wait(Duration::from_secs_f64(time));
        } else if step.get("shutdown").is_some() {
            self.connection(&name).shutdown(std::net::Shutdown::Write).unwrap();
        } else if step.get("close").is_some() {
            self.connections.remove(&name);
        } else if step.get("rst").is_some() {
            let stream = self.connections.remove(&name).unwrap();
            let linger = linger { l_onoff: 1, l_linger: 0 };
            setsockopt(&stream, sockopt::Linger, &linger).unwrap();
        } else if let Some(signal) = step["kill"].as_i64() {
            let pid = self.normalizer.pids[text("proc").unwrap()];
            let signal = nix::sys::signal::Signal::try_from(signal as i32).unwrap();
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
        } else {
            return self.outside(step);
        }
        Ok(())
    }

    /// What happens beside the connections.
    fn outside(&mut self, step: &Value) -> Result<(), String> {
        let text = |key: &str| step[key].as_str();
        let expected = text("expect").unwrap_or_default();
        if let Some(port) = text("connect_tcp") {
            let port: u16 = self.fill_in(port).parse().unwrap();
            let host = text("host").unwrap_or("127.0.0.1");
            compare(expected, shown(TcpStream::connect((host, port)).map(drop)))?;
        } else if let Some(path) = text("connect_unix") {
            let path = self.fill_in(path);
            let result = match text("type") {
                Some("SOCK_DGRAM") => {
                    UnixDatagram::unbound().and_then(|socket| socket.connect(&path))
                }
                _ => UnixStream::connect(&path).map(drop),
            };
            compare(expected, shown(result))?;
        } else if let Some(path) = text("path_mode") {
            let listed = Command::new("stat").args(["-c", "%A", &self.fill_in(path)]).output();
            let mode = String::from_utf8(listed.unwrap().stdout).unwrap();
            compare(expected, if mode.is_empty() { "missing" } else { mode.trim_end() })?;
        } else if let Some(path) = text("touch") {
            std::fs::write(self.fill_in(path), "").unwrap();
        } else if let Some(path) = text("mkdir") {
            std::fs::create_dir(self.fill_in(path)).unwrap();
        } else if let Some(exits) = step["kernel_exits"].as_bool() {
            if exits {
                wait_until("it ends", || self.kernel.child.try_wait().unwrap().is_some());
            } else {
                self.has_decided_to_stay()?;
            }
        } else {
            panic!("unknown step {step}");
        }
        Ok(())
    }

    /// The kernel decides to end when it has closed a connection, before it does anything else. So whoever is
    /// answered after that is answered by one that stays.
    fn has_decided_to_stay(&mut self) -> Result<(), String> {
        if self.connections.is_empty() {
            let port = self.kernel.port;
            wait_until("it has closed all connections", || accepted_connections(port) == 0);
            let mut greeting = vec![0; GREETING.len()];
            let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
            stream.set_read_timeout(Some(harness::PATIENCE)).unwrap();
            stream.read_exact(&mut greeting).map_err(|error| error.to_string())?;
            return compare(GREETING, &String::from_utf8_lossy(&greeting));
        }
        for stream in self.connections.values_mut() {
            stream.set_read_timeout(Some(harness::PATIENCE)).unwrap();
            stream.write_all(b"get nothing\n").unwrap();
            let mut reply = [0; 3];
            stream.read_exact(&mut reply).map_err(|error| error.to_string())?;
            compare("\n> ", &String::from_utf8_lossy(&reply))?;
        }
        Ok(())
    }

    /// Reads until `wanted` is there, or long enough to know that it will not come.
    fn receive(&mut self, name: &str, wanted: &str, patience: f64) -> String {
        const SETTLE: Duration = Duration::from_millis(150);
        let merge = self.normalizer.merge;
        let mut stream = self.connection(name).try_clone().unwrap();
        let deadline = Instant::now() + Duration::from_secs_f64(patience);
        let mut data = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let prompted = [&b"> "[..], b"] "].iter().any(|prompt| {
                let line = data.len().wrapping_sub(2);
                data.ends_with(prompt) && (line == 0 || data[line - 1] == b'\n')
            });
            if prompted {
                let got = self.normalizer.clone().normal(&data);
                if got == wanted {
                    break;
                }
                // The rest is in the next block: which records a block holds is a matter of time.
                if let (true, Some(block)) = (merge, got.strip_suffix("] "))
                    && wanted.len() > got.len()
                    && wanted.starts_with(block)
                {
                    data.truncate(data.len() - 2);
                    stream.write_all(b"\n").unwrap();
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = if prompted { SETTLE } else { left };
            if wait.is_zero() {
                break;
            }
            stream.set_read_timeout(Some(wait)).unwrap();
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => data.extend_from_slice(&buffer[..count]),
            }
        }
        self.normalizer.normal(&data)
    }
}

fn compare(wanted: &str, got: &str) -> Result<(), String> {
    if wanted == got { Ok(()) } else { Err(format!("wanted {wanted:?}\n          got    {got:?}")) }
}

/// The connections to this port that its listener has or will get, also those whose client has closed its end.
fn accepted_connections(port: u16) -> usize {
    const ESTABLISHED: &str = "01";
    const CLOSE_WAIT: &str = "08";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let own = format!(":{port:04X}");
    let is_one = |line: &&str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        fields[1].ends_with(&own) && [ESTABLISHED, CLOSE_WAIT].contains(&fields[3])
    };
    table.lines().skip(1).filter(is_one).count()
}

fn shown(result: std::io::Result<()>) -> &'static str {
    match result {
        Ok(()) => "ok",
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "missing",
        Err(_) => "refused",
    }
}
