//! One helper process and the socket to it.
//!
//! Reads and writes without ever blocking; what it is killed for, and what its lines mean, is up to its owner.

use super::message::LONGEST_LINE;
use crate::process::companion::{Companion, CompanionError, describe};
use crate::process::printed::Printed;
use bytes::{Buf, BytesMut};
use papa_spawn::child::{ChildSpec, Output};
use serde_json::Value;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as Socket;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time;

/// The Python side.
const SOURCE: &str =
    concat!(include_str!("../../python/circus/_remote.py"), include_str!("host.py"));

/// Reads the source from the socket and runs it, so that neither a file nor the command line has it.
const BOOT: &str = "\
import os
fd = int(os.environ['CIRCUSD_HELPER_FD'])
size = int(os.environ.pop('CIRCUSD_HELPER_SIZE'))
source = b''
while len(source) < size:
    piece = os.read(fd, size - len(source))
    if not piece:
        os._exit(1)
    source += piece
del size, piece
exec(compile(source, '<circusd>', 'exec'))
";

/// How long the end of the process may take after the end of its socket.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// Bytes per read.
const READ: usize = 64 * 1024;

/// A helper could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No socket.
    #[error("cannot make a socket: {0}")]
    Socket(#[from] io::Error),
    /// No process.
    #[error("cannot run `{program}`: {source}")]
    Start {
        /// The Python.
        program: String,
        /// Why.
        #[source]
        source: CompanionError,
    },
}

/// A running helper.
pub struct Session {
    process: Companion,
    printed: Printed,
    socket: UnixStream,
    incoming: BytesMut,
    /// Up to here there is no end of a line.
    searched: usize,
    outgoing: BytesMut,
}

/// What has come from a helper.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A line.
    Line(Vec<u8>),
    /// Nothing comes any more, and this is why.
    End(String),
}

impl Session {
    /// Starts a Python and gives it the source of the helper. `label` is shown by `ps` and in the log.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn start(
        program: &str,
        environment: &[(String, String)],
        label: &str,
    ) -> Result<Self, SessionError> {
        let (ours, theirs) = Socket::pair()?;
        ours.set_nonblocking(true)?;
        let theirs = OwnedFd::from(theirs);
        let words = [program, "-u", "-c", BOOT, label];
        let pair = |key: &str, value: String| (key.as_bytes().to_vec(), value.into_bytes());
        let mut env: Vec<_> =
            environment.iter().map(|(key, value)| pair(key, value.clone())).collect();
        env.push(pair("CIRCUSD_HELPER_FD", theirs.as_raw_fd().to_string()));
        env.push(pair("CIRCUSD_HELPER_SIZE", SOURCE.len().to_string()));
        let spec = ChildSpec {
            argv: words.map(|word| word.as_bytes().to_vec()).to_vec(),
            env,
            stdout: Output::Pipe,
            stderr: Output::Stdout,
            keep_fds: vec![theirs.as_raw_fd()],
            ..ChildSpec::default()
        };
        let started = Companion::start(spec, vec![theirs]).await;
        let mut process = started
            .map_err(|source| SessionError::Start { program: program.to_owned(), source })?;
        let printed = Printed::log(label.to_owned(), process.stdout.take());
        Ok(Self {
            process,
            printed,
            socket: UnixStream::from_std(ours)?,
            incoming: BytesMut::new(),
            searched: 0,
            outgoing: BytesMut::from(SOURCE),
        })
    }

    /// Queues a line.
    pub fn send(&mut self, message: &Value) {
        self.outgoing.extend_from_slice(message.to_string().as_bytes());
        self.outgoing.extend_from_slice(b"\n");
    }

    /// Bytes that wait to be sent.
    pub fn unsent(&self) -> usize {
        self.outgoing.len()
    }

    /// Sends and receives until a line is complete or nothing comes any more. May be given up and called
    /// again.
    pub async fn turn(&mut self) -> Heard {
        loop {
            if let Some(line) = self.line() {
                return Heard::Line(line);
            }
            if self.incoming.len() > LONGEST_LINE {
                return Heard::End(format!("it sent a line of more than {LONGEST_LINE} bytes"));
            }
            let moved = tokio::select! {
                ready = self.socket.readable() => match ready {
                    Ok(()) => self.receive(),
                    Err(error) => Err(error),
                },
                ready = self.socket.writable(), if !self.outgoing.is_empty() => match ready {
                    Ok(()) => self.transmit(),
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = moved
                && error.kind() != io::ErrorKind::WouldBlock
            {
                return Heard::End(self.why().await);
            }
        }
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let found = self.incoming.iter().skip(self.searched).position(|byte| *byte == b'\n');
        let Some(found) = found else {
            self.searched = self.incoming.len();
            return None;
        };
        let line = self.incoming.split_to(self.searched + found + 1);
        self.searched = 0;
        Some(line.to_vec())
    }

    fn receive(&mut self) -> io::Result<()> {
        self.incoming.reserve(READ);
        match self.socket.try_read_buf(&mut self.incoming)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn transmit(&mut self) -> io::Result<()> {
        let count = self.socket.try_write(&self.outgoing)?;
        self.outgoing.advance(count);
        Ok(())
    }

    /// How the process has ended; its last words are in the log then.
    async fn why(&mut self) -> String {
        let ended = time::timeout(LAST_BREATH, self.process.ended()).await;
        let _ = time::timeout(LAST_BREATH, self.printed.logged()).await;
        match ended {
            Ok(exit) => describe(exit),
            Err(_) => "it closed its socket".to_owned(),
        }
    }
}
