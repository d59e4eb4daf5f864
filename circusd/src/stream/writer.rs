//! The task that owns one stream: takes batches, writes them on the blocking pool, confirms.
//!
//! A destination that fails is reported once per change of state and tried again from time to time, whether
//! or not anything is printed; the processes are never blocked by it for longer than the write itself.

use super::batch::Chunk;
use super::sink::Sink;
use std::io;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::{task, time};
use tracing::{info, warn};

/// Batches that may wait for a writer. Beyond that the pipe of a direct process fills, and the kernel keeps
/// the output of a hosted one.
const QUEUE: usize = 8;

/// Bytes that are written in one go at most.
const GATHER: usize = 1024 * 1024;

/// Pause between attempts to write to a destination that fails and that nothing new is printed to.
const RETRY: Duration = Duration::from_millis(500);

enum Message {
    Replace(Box<dyn Sink>),
    Batch(Batch),
    Close,
}

/// Pieces for one stream, in order.
#[derive(Default)]
struct Batch {
    chunks: Vec<Chunk>,
    /// Unfinished lines are to be written, too.
    finish: bool,
    /// Told whether everything in the batch has been written.
    written: Option<oneshot::Sender<bool>>,
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
        task::spawn(run(Stream { label, sink, failing: false }, inbox));
        Self { messages }
    }

    /// Queues pieces of output; waits while the queue is full.
    pub async fn write(&self, chunks: Vec<Chunk>) {
        // Fails only when the task is gone, which is when the daemon ends.
        let _ = self.messages.send(Message::Batch(Batch { chunks, ..Batch::default() })).await;
    }

    /// Queues pieces of output and waits until they, and what came before, have been written. False when
    /// that failed; the stream keeps them and tries again by itself.
    pub async fn write_through(&self, chunks: Vec<Chunk>) -> bool {
        self.confirmed(chunks, false).await
    }

    /// The same, unfinished lines included.
    pub async fn flush(&self, chunks: Vec<Chunk>) -> bool {
        self.confirmed(chunks, true).await
    }

    async fn confirmed(&self, chunks: Vec<Chunk>, finish: bool) -> bool {
        let (written, done) = oneshot::channel();
        let batch = Batch { chunks, finish, written: Some(written) };
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

/// Everything that is to be done at once.
#[derive(Default)]
struct Work {
    batch: Batch,
    confirm: Vec<oneshot::Sender<bool>>,
    close: bool,
    successor: Option<Box<dyn Sink>>,
}

struct Stream {
    label: String,
    sink: Box<dyn Sink>,
    failing: bool,
}

/// The sink panicked.
struct Lost;

async fn run(mut stream: Stream, mut inbox: mpsc::Receiver<Message>) {
    loop {
        let message = if stream.failing {
            match time::timeout(RETRY, inbox.recv()).await {
                Ok(message) => message,
                Err(_) => Some(Message::Batch(Batch::default())),
            }
        } else {
            inbox.recv().await
        };
        let Some(message) = message else { return };
        if stream.perform(gather(message, &mut inbox)).await.is_err() {
            warn!("the {} stream failed and is given up", stream.label);
            return;
        }
    }
}

/// Adds what waits behind a message, up to a bound and to the next change of the destination.
fn gather(message: Message, inbox: &mut mpsc::Receiver<Message>) -> Work {
    let mut work = Work::default();
    let mut size = 0;
    let mut next = Some(message);
    while let Some(message) = next.take() {
        match message {
            Message::Close => work.close = true,
            Message::Replace(sink) => {
                work.close = true;
                work.successor = Some(sink);
            }
            Message::Batch(batch) => {
                size += batch.chunks.iter().map(|chunk| chunk.data.len()).sum::<usize>();
                work.batch.chunks.extend(batch.chunks);
                work.batch.finish |= batch.finish;
                work.confirm.extend(batch.written);
            }
        }
        if !work.close && size < GATHER {
            next = inbox.try_recv().ok();
        }
    }
    work.batch.finish |= work.close;
    work
}

impl Stream {
    async fn perform(&mut self, work: Work) -> Result<(), Lost> {
        let Work { batch, confirm, close, successor } = work;
        let mut sink = std::mem::replace(&mut self.sink, Box::new(Gone));
        let written = task::spawn_blocking(move || {
            let result = sink.write(&batch.chunks, batch.finish);
            if close {
                sink.close();
            }
            (sink, result)
        });
        let (sink, result) = written.await.map_err(|_| Lost)?;
        self.sink = sink;
        if let Some(successor) = successor {
            self.sink = successor;
            if self.failing && result.is_err() {
                warn!("what {} could not write is lost with the change of the stream", self.label);
            }
        }
        let good = result.is_ok();
        self.report(result);
        for written in confirm {
            let _ = written.send(good);
        }
        Ok(())
    }

    fn report(&mut self, result: io::Result<()>) {
        match (result, self.failing) {
            (Err(error), false) => {
                warn!("output of {} cannot be written, trying again: {error}", self.label);
                self.failing = true;
            }
            (Ok(()), true) => {
                info!("output of {} can be written again", self.label);
                self.failing = false;
            }
            (Err(_), true) | (Ok(()), false) => {}
        }
    }
}

/// In the place of a sink that is at work.
struct Gone;

impl Sink for Gone {
    fn write(&mut self, _chunks: &[Chunk], _finish: bool) -> io::Result<()> {
        Ok(())
    }

    fn close(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
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
            writer.write(vec![Chunk { pid: 1, data: vec![n], ..Chunk::default() }]).await;
        }
        writer.write_through(Vec::new()).await;
        assert_eq!(*memory.0.lock().unwrap(), (0..50).collect::<Vec<u8>>());
    }

    /// Fails so many times.
    struct Failing(u32, Memory);

    impl Sink for Failing {
        fn write(&mut self, chunks: &[Chunk], finish: bool) -> io::Result<()> {
            self.1.write(chunks, finish)?;
            self.0 = self.0.saturating_sub(1);
            if self.0 > 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }

        fn close(&mut self) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_sink_is_tried_again_although_nothing_is_printed() {
        let memory = Memory::default();
        let mut stream =
            Stream { label: "test".into(), sink: Box::new(Failing(3, memory)), failing: false };
        let (messages, mut inbox) = mpsc::channel(1);
        messages.send(Message::Batch(Batch::default())).await.unwrap();
        let first = gather(inbox.recv().await.unwrap(), &mut inbox);
        assert!(stream.perform(first).await.is_ok() && stream.failing);
        let writer = Writer { messages };
        task::spawn(run(stream, inbox));
        // Two pauses later it works again, and a confirmed write succeeds at once.
        time::sleep(3 * RETRY).await;
        assert!(writer.write_through(Vec::new()).await);
    }
}
