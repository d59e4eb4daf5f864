//! A real kernel for one test, and clients that talk to it byte by byte.
//!
//! Everything waits with a deadline. What a kernel hosted is ended with it.
#![allow(dead_code, unused_imports, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "only tests use it")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) use circus_e2e::PATIENCE;
pub(crate) use circus_e2e::waiting::{eventually, wait_until};

/// A running kernel.
pub(crate) struct Kernel {
    pub(crate) port: u16,
    pub(crate) child: Child,
}

/// A port that nobody listens on. Somebody else may take it first; `Kernel::start` tries again.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The program under test, with an environment that nothing may leak from.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_papa-kernel"));
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env_clear().env("PATH", "/usr/bin:/bin").env("KERNEL_ENV_MARK", "leaked");
    command
}

impl Kernel {
    /// On a free port, with further arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(|command| {
            command.args(arguments);
        })
    }

    /// On a free port, after `prepare` has changed the command.
    pub(crate) fn start_with(prepare: impl Fn(&mut Command)) -> Self {
        for _ in 0..20 {
            let port = free_port();
            let mut command = program();
            command.args(["-p", &port.to_string()]);
            prepare(&mut command);
            let mut child = command.spawn().unwrap();
            let listens = eventually("the kernel listens or has ended", || {
                let has_ended = child.try_wait().unwrap().is_some();
                let listens = !has_ended && answering_pid(port) == Some(child.id());
                (listens || has_ended).then_some(listens)
            });
            if listens {
                return Self { port, child };
            }
        }
        panic!("the kernel did not start");
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// A connection whose greeting has been read.
    pub(crate) fn client(&self) -> Client {
        let mut client = self.connect();
        assert!(client.read_to("> ").starts_with("Papa is home."));
        client
    }

    /// A connection.
    pub(crate) fn connect(&self) -> Client {
        Client::over(TcpStream::connect(("127.0.0.1", self.port)).unwrap())
    }

    /// The processes that the kernel is the parent of.
    pub(crate) fn children(&self) -> Vec<i32> {
        let pids = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| parent_of(*pid) == Some(self.pid())).collect()
    }

    /// How many pipes it has open, with those that it got from whoever runs the tests.
    pub(crate) fn pipes(&self) -> usize {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().flatten();
        let targets = fds.filter_map(|fd| std::fs::read_link(fd.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("pipe:")).count()
    }

    /// A line of `info`.
    pub(crate) fn info(&self, key: &str) -> u64 {
        let text = self.client().ask("info");
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {key} in {text}")).parse().unwrap()
    }
}

/// The pid of the kernel that answers on this port, which may be that of another test.
fn answering_pid(port: u16) -> Option<u32> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"info\nquit\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| line.strip_prefix("pid="))?.parse().ok()
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// A word of an exact request.
pub(crate) fn exact(text: &str) -> String {
    let mut out = Vec::new();
    protocol::papa::encode(text.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

/// Whether the process is there and not a zombie.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let children = self.children();
        drop(self.child.kill());
        drop(self.child.wait());
        for pid in children {
            // Each is the leader of its own session.
            // One that has ended by itself is no error.
            let group = Pid::from_raw(-pid);
            let _ = kill(group, Signal::SIGKILL);
        }
    }
}

/// Both kinds of connection.
pub(crate) trait Stream: Read + Write + Send {
    fn set_timeouts(&self);
    fn end_writing(&self);
}

impl Stream for TcpStream {
    fn set_timeouts(&self) {
        self.set_read_timeout(Some(PATIENCE)).unwrap();
        self.set_write_timeout(Some(PATIENCE)).unwrap();
        self.set_nodelay(true).unwrap();
    }
    fn end_writing(&self) {
        self.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

impl Stream for UnixStream {
    fn set_timeouts(&self) {
        self.set_read_timeout(Some(PATIENCE)).unwrap();
        self.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    fn end_writing(&self) {
        self.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

/// A connection to a kernel.
pub(crate) struct Client {
    pub(crate) stream: Box<dyn Stream>,
}

impl Client {
    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        stream.set_timeouts();
        Self { stream: Box::new(stream) }
    }

    pub(crate) fn on_path(path: &Path) -> Self {
        Self::over(UnixStream::connect(path).unwrap())
    }

    pub(crate) fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).unwrap();
    }

    /// Reads until what was read ends with `end` at the start of a line.
    pub(crate) fn read_to(&mut self, end: &str) -> String {
        String::from_utf8_lossy(&self.read_bytes_to(end.as_bytes())).into_owned()
    }

    pub(crate) fn read_bytes_to(&mut self, end: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = self.stream.read(&mut buffer).unwrap_or_else(|error| {
                panic!("{error} after {:?}", String::from_utf8_lossy(&data))
            });
            assert!(count > 0, "ended after {:?}", String::from_utf8_lossy(&data));
            data.extend_from_slice(&buffer[..count]);
            let at = data.len().wrapping_sub(end.len());
            if data.ends_with(end) && (at == 0 || data[at - 1] == b'\n') {
                return data;
            }
        }
    }

    /// Reads until the kernel ends the connection.
    pub(crate) fn read_all(&mut self) -> Vec<u8> {
        let mut data = Vec::new();
        // A reset ends it as well.
        drop(self.stream.read_to_end(&mut data));
        data
    }

    /// Sends a line and returns the reply without its prompt.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\n"));
        let reply = self.read_to("> ");
        reply.strip_suffix("> ").unwrap().trim_end_matches('\n').to_owned()
    }

    /// The next block of a stream, which `end_block` answers.
    pub(crate) fn block(&mut self) -> String {
        self.read_to("] ")
    }

    pub(crate) fn acknowledge(&mut self) {
        self.send("\n");
    }

    /// Reads and acknowledges until `done` likes the text so far, of which the last block is not
    /// acknowledged.
    pub(crate) fn blocks_until(&mut self, done: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        loop {
            text.push_str(self.block().strip_suffix("] ").unwrap());
            if done(&text) {
                return text;
            }
            self.acknowledge();
        }
    }
}
