//! The task that owns one stream: takes batches, writes them on the blocking pool, confirms.
//!
//! A write error is logged once per change of state; the processes are never blocked by it for longer than
//! the write itself.

use super::batch::{Batch, Chunk};
use super::sink::Sink;
use tokio::sync::{mpsc, oneshot};
use tokio::task;
use tracing::{info, warn};

/// Batches that may wait for a writer. Beyond that the pipe of a direct process fills, and the kernel keeps
/// the output of a hosted one.
const QUEUE: usize = 8;

/// Bytes that are written in one go at most.
const GATHER: usize = 1024 * 1024;

enum Message {
    Replace(Box<dyn Sink>),
    Batch(Batch),
    Close,
}

/// A handle on a stream; clones share it.
#[derive(Clone)]
pub struct Writer {
    messages: mpsc::Sender<Message>,
}

impl Writer {
    /// Starts the task of a stream. `label` names it in the log.
    pub fn start(label: String, sink: Box<dyn Sink>) -> Self {
        let (messages, inbox) = mpsc::channel(QUEUE);
        task::spawn(run(label, sink, inbox));
        Self { messages }
    }

    /// Queues pieces of output; waits while the queue is full.
    pub async fn write(&self, chunks: Vec<Chunk>) {
        // Fails only when the task is gone, which is when the daemon ends.
        let _ = self.messages.send(Message::Batch(Batch { chunks, written: None })).await;
    }

    /// Queues pieces of output and waits until they have been written, unfinished lines included. False
    /// when they could not be written; the stream keeps them, and a call with no pieces tries again.
    pub async fn write_through(&self, chunks: Vec<Chunk>) -> bool {
        let (written, done) = oneshot::channel();
        let batch = Batch { chunks, written: Some(written) };
        let sent = self.messages.send(Message::Batch(batch)).await.is_ok();
        sent && done.await.unwrap_or(false)
    }

    /// Writes to another destination from now on; what came before goes to the old one.
    pub async fn replace(&self, sink: Box<dyn Sink>) {
        let _ = self.messages.send(Message::Replace(sink)).await;
    }

    /// Lets go of the file until the next output.
    pub async fn close(&self) {
        let _ = self.messages.send(Message::Close).await;
    }
}

async fn run(label: String, mut sink: Box<dyn Sink>, mut inbox: mpsc::Receiver<Message>) {
    let mut failing = false;
    while let Some(message) = inbox.recv().await {
        let (mut chunks, mut confirm) = (Vec::new(), Vec::new());
        let mut close = false;
        let mut successor = None;
        let mut size = 0;
        let mut next = Some(message);
        while let Some(message) = next.take() {
            match message {
                Message::Close => close = true,
                Message::Replace(sink) => {
                    close = true;
                    successor = Some(sink);
                }
                Message::Batch(batch) => {
                    size += batch.chunks.iter().map(|chunk| chunk.data.len()).sum::<usize>();
                    chunks.extend(batch.chunks);
                    confirm.extend(batch.written);
                }
            }
            if !close && size < GATHER {
                next = inbox.try_recv().ok();
            }
        }
        let finish = close || !confirm.is_empty();
        let written = task::spawn_blocking(move || {
            let result = sink.write(&chunks, finish);
            if close {
                sink.close();
            }
            (sink, result)
        });
        let Ok((back, result)) = written.await else {
            warn!("the {label} stream failed and is given up");
            return;
        };
        sink = successor.unwrap_or(back);
        let good = result.is_ok();
        match (result, failing) {
            (Err(error), false) => {
                warn!("output of {label} cannot be written: {error}");
                failing = true;
            }
            (Ok(()), true) => {
                info!("output of {label} can be written again");
                failing = false;
            }
            (Err(_), true) | (Ok(()), false) => {}
        }
        for written in confirm {
            let _ = written.send(good);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Sink for Memory {
        fn write(&mut self, chunks: &[Chunk], _finish: bool) -> io::Result<()> {
            let mut all = self.0.lock().unwrap();
            for chunk in chunks {
                all.extend_from_slice(&chunk.data);
            }
            Ok(())
        }

        fn close(&mut self) {}
    }

    #[tokio::test]
    async fn write_through_returns_after_everything_before_it_is_written() {
        let memory = Memory::default();
        let writer = Writer::start("test".into(), Box::new(memory.clone()));
        for n in 0..50u8 {
            writer.write(vec![Chunk { pid: 1, time: 0.0, data: vec![n] }]).await;
        }
        writer.write_through(Vec::new()).await;
        assert_eq!(*memory.0.lock().unwrap(), (0..50).collect::<Vec<u8>>());
    }
}
