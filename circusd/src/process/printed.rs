//! What hooks and helpers print: line by line into circusd's log.

use std::io;
use std::os::fd::OwnedFd;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tokio::task;
use tracing::{info, warn};

/// Bytes per read.
const READ: usize = 8 * 1024;

/// The longest line in the log; a longer one becomes several.
const LINE: usize = 4 * 1024;

/// A pipe whose lines go to the log.
pub struct Printed {
    ask: Option<oneshot::Sender<oneshot::Sender<()>>>,
}

impl Printed {
    /// Logs everything that comes out of a pipe, with the label before each line, until nobody has it open
    /// any more.
    pub fn log(label: String, pipe: Option<OwnedFd>) -> Self {
        let pipe = pipe.map(pipe::Receiver::from_owned_fd).transpose();
        let pipe = pipe.unwrap_or_else(|error| {
            warn!("what {label} prints is lost: {error}");
            None
        });
        let ask = pipe.map(|pipe| {
            let (ask, asked) = oneshot::channel();
            task::spawn(run(label, pipe, asked));
            ask
        });
        Self { ask }
    }

    /// Waits until what has been printed so far is in the log.
    pub async fn logged(&mut self) {
        let Some(ask) = self.ask.take() else { return };
        let (reply, empty) = oneshot::channel();
        // Both fail only when the pipe is closed, and then it is empty, too.
        if ask.send(reply).is_ok() {
            let _ = empty.await;
        }
    }
}

async fn run(
    label: String,
    mut pipe: pipe::Receiver,
    mut asked: oneshot::Receiver<oneshot::Sender<()>>,
) {
    let mut lines = Lines { label, rest: Vec::new() };
    let mut buffer = vec![0; READ];
    let mut may_ask = true;
    loop {
        let reply = tokio::select! {
            ready = pipe.readable() => match ready {
                Ok(()) => None,
                Err(_) => break,
            },
            reply = &mut asked, if may_ask => {
                may_ask = false;
                reply.ok()
            }
        };
        let open = read_out(&mut pipe, &mut buffer, &mut lines);
        if reply.is_some() {
            lines.finish();
        }
        if let Some(reply) = reply {
            let _ = reply.send(());
        }
        if !open {
            break;
        }
    }
    lines.finish();
}

/// Reads what is there. False at the end.
fn read_out(pipe: &mut pipe::Receiver, buffer: &mut [u8], lines: &mut Lines) -> bool {
    loop {
        match pipe.try_read(buffer) {
            Ok(0) => return false,
            Ok(count) => lines.take(buffer.get(..count).unwrap_or_default()),
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

struct Lines {
    label: String,
    rest: Vec<u8>,
}

impl Lines {
    fn take(&mut self, data: &[u8]) {
        self.rest.extend_from_slice(data);
        while let Some(end) = self.rest.iter().take(LINE).position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.print(&line);
        }
        while self.rest.len() >= LINE {
            let line: Vec<u8> = self.rest.drain(..LINE).collect();
            self.print(&line);
        }
    }

    fn finish(&mut self) {
        let line = std::mem::take(&mut self.rest);
        self.print(&line);
    }

    fn print(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end();
        if !text.is_empty() {
            info!("{}: {text}", self.label);
        }
    }
}
