//! A kernel of the built binary on a socket of its own, and clients of it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use circus_e2e::PATIENCE;
use circus_e2e::waiting::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocol::papa::{BlockDecoder, Form, Record, Reply, ReplyDecoder};

/// The binary under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_papa-kernel");

/// A running kernel. Ends with everything it hosts when it is dropped.
pub(crate) struct Kernel {
    process: Child,
    pub(crate) directory: tempfile::TempDir,
}

impl Kernel {
    pub(crate) fn start() -> Self {
        Self::start_as(Path::new(PROGRAM), &[])
    }

    pub(crate) fn start_as(program: &Path, variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let process = Command::new(program)
            .arg("-u")
            .arg(directory.path().join("papa.sock"))
            .args(["--title", "tests"])
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let kernel = Self { process, directory };
        wait_until("the kernel listens", || UnixStream::connect(kernel.socket()).is_ok());
        kernel
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("papa.sock")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.socket())
    }

    /// A file about the kernel in /proc.
    pub(crate) fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid()))
    }

    pub(crate) fn children(&self) -> Vec<i32> {
        let path = self.proc(&format!("task/{}/children", self.pid()));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// The open descriptors: number, what it is, and whether it is closed at an exec. What only
    /// differs in its number in the system is left out.
    pub(crate) fn descriptors(&self) -> Vec<(u32, String, bool)> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(self.proc("fd")).unwrap() {
            let path = entry.unwrap().path();
            let number: u32 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            let info = std::fs::read_to_string(self.proc(&format!("fdinfo/{number}"))).unwrap();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
            let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
            let target = std::fs::read_link(&path).unwrap().to_string_lossy().into_owned();
            all.push((number, target, flags & 0o2_000_000 != 0));
        }
        all.sort();
        all
    }

    /// Asks the kernel to end and waits for it.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        // Hosted processes outlive their kernel; none may outlive the test.
        self.kill_children();
        kill(Pid::from_raw(self.pid() as i32), Signal::SIGTERM).unwrap();
        self.process.wait().unwrap()
    }

    /// Kills it and what it hosts.
    pub(crate) fn kill(&self) {
        self.kill_children();
        let pid = Pid::from_raw(self.pid().cast_signed());
        // Not waited for yet, so the number is still its own.
        let _ = kill(pid, Signal::SIGKILL);
    }

    fn kill_children(&self) {
        for pid in self.children() {
            // A child of a living kernel is running or not yet reaped: the number is its own.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the kernel's log:\n{}", self.log());
        }
        self.kill_children();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connection.
pub(crate) struct Client {
    stream: UnixStream,
    replies: ReplyDecoder,
    blocks: BlockDecoder,
}

impl Client {
    pub(crate) fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Self {
            stream,
            replies: ReplyDecoder::new(Form::Exact, 64 << 20),
            blocks: BlockDecoder::new(Form::Exact, 64 << 20),
        };
        assert!(matches!(client.reply(), Reply::Text(text) if text.starts_with(b"Papa is home")));
        client
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn reply(&mut self) -> Reply {
        loop {
            if let Some(reply) = self.replies.take_reply() {
                return reply;
            }
            let bytes = self.receive();
            self.replies.feed(&bytes).unwrap();
        }
    }

    /// Sends a line and returns the text of the reply, errors with `Error: ` in front.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.send(&format!("{line}\n"));
        self.answer()
    }

    pub(crate) fn answer(&mut self) -> String {
        match self.reply() {
            Reply::Text(text) => String::from_utf8(text).unwrap(),
            Reply::Error(text) => format!("Error: {text}"),
        }
    }

    /// Begins a stream in exact form.
    pub(crate) fn watch(&mut self, names: &str) {
        self.send(&format!("%watch processes {names}\n"));
    }

    pub(crate) fn record(&mut self) -> Record {
        loop {
            if let Some(record) = self.blocks.next_record().unwrap() {
                return record;
            }
            let bytes = self.receive();
            self.blocks.feed(&bytes);
        }
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut buffer = vec![0; 64 << 10];
        let count = self.stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the kernel has closed the connection");
        buffer.truncate(count);
        buffer
    }
}
