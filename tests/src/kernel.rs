//! A client of the papa kernel's line protocol, as plain as telnet.

use crate::PATIENCE;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The end of every reply.
const PROMPT: &str = "\n> ";

/// A connection to a kernel.
pub struct KernelClient {
    stream: Stream,
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl KernelClient {
    /// Connects to a kernel on a unix socket and reads its greeting.
    pub fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("the kernel listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a valid time");
        Self::greeted(Stream::Unix(stream))
    }

    /// Connects to a kernel on a port of this machine and reads its greeting.
    pub fn tcp(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the kernel listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a valid time");
        Self::greeted(Stream::Tcp(stream))
    }

    fn greeted(stream: Stream) -> Self {
        let mut client = Self { stream };
        let greeting = client.reply();
        assert!(greeting.starts_with("Papa is home."), "{greeting:?}");
        client
    }

    /// Sends one line and gives the reply without its prompt.
    pub fn command(&mut self, line: &str) -> String {
        self.send(format!("{line}\n").as_bytes());
        self.reply()
    }

    /// Sends bytes. A kernel that has hung up is found out by reading.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = match &mut self.stream {
            Stream::Unix(stream) => stream.write_all(bytes),
            Stream::Tcp(stream) => stream.write_all(bytes),
        };
    }

    /// Says that nothing more will be sent, as `nc` does at the end of its input.
    pub fn finish(&mut self) {
        let _ = match &self.stream {
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// Reads up to the next prompt.
    pub fn reply(&mut self) -> String {
        let text = self.read_until(|text| text.ends_with(PROMPT) || text == &PROMPT[1..]);
        text.strip_suffix("> ").expect("the prompt was found").trim_end_matches('\n').to_owned()
    }

    /// Reads until the kernel hangs up.
    pub fn rest(&mut self) -> String {
        self.read_until(|_| false)
    }

    fn read_until(&mut self, complete: impl Fn(&str) -> bool) -> String {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let read = match &mut self.stream {
                Stream::Unix(stream) => stream.read(&mut buffer),
                Stream::Tcp(stream) => stream.read(&mut buffer),
            };
            match read.expect("the kernel answers in time") {
                0 => return String::from_utf8_lossy(&bytes).into_owned(),
                count => bytes.extend_from_slice(&buffer[..count]),
            }
            let text = String::from_utf8_lossy(&bytes);
            if complete(&text) {
                return text.into_owned();
            }
        }
    }
}
