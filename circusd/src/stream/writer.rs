//! The task that owns one stream: takes batches, writes them on the blocking pool, confirms.
//!
//! A destination that fails is reported once per change of state and tried again from time to time, whether
//! or not anything is printed; the processes are never blocked by it for longer than the write itself.
//!
//! A batch with a receipt is written exactly once by a sink that knows what it holds: what is about to be
//! written is noted first, by whoever gave the batch, and nobody else writes to the file meanwhile. Other
//! sinks write it at least once.

use super::batch::Chunk;
use super::receipt::Receipt;
use super::sink::{BatchId, Input, Prepared, Progress, Sink, Turn};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot};
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
    confirm: Confirm,
}

/// Who is told what.
#[derive(Default)]
enum Confirm {
    #[default]
    Nobody,
    /// Whether everything so far has been written.
    Success(oneshot::Sender<bool>),
    /// Each step of the batch, until it is written.
    Steps(Receipt),
}

/// A handle on a stream; clones share it.
#[derive(Clone)]
pub struct Writer {
    messages: mpsc::Sender<Message>,
    lost: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the task of a stream. `label` names it in the log.
    pub fn start(label: String, sink: Box<dyn Sink>) -> Self {
        let (messages, inbox) = mpsc::channel(QUEUE);
        let stream = Stream::new(label, sink);
        let lost = Arc::clone(&stream.lost);
        task::spawn(run(stream, inbox));
        Self { messages, lost }
    }

    /// Queues pieces of output; waits while the queue is full.
    pub async fn write(&self, chunks: Vec<Chunk>) {
        self.send(Batch { chunks, ..Batch::default() }).await;
    }

    /// Queues pieces of output and waits until they, and what came before, have been written. False when
    /// that failed; the stream keeps them and tries again by itself.
    pub async fn write_through(&self, chunks: Vec<Chunk>) -> bool {
        let (written, done) = oneshot::channel();
        let confirm = Confirm::Success(written);
        self.send(Batch { chunks, confirm, ..Batch::default() }).await;
        done.await.unwrap_or(false)
    }

    /// Queues pieces of output of one process; the receipt tells what becomes of them. With `finish`, its
    /// unfinished line is written, too.
    pub async fn deliver(&self, chunks: Vec<Chunk>, finish: bool, receipt: Receipt) {
        self.send(Batch { chunks, finish, confirm: Confirm::Steps(receipt) }).await;
    }

    async fn send(&self, batch: Batch) {
        // Fails only when the task is gone, which is when the daemon ends.
        let _ = self.messages.send(Message::Batch(batch)).await;
    }

    /// Writes to another destination from now on; what came before goes to the old one.
    pub async fn replace(&self, sink: Box<dyn Sink>) {
        let _ = self.messages.send(Message::Replace(sink)).await;
    }

    /// Bytes of output that could not be written and were given up, ever.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Lets go of the file until the next output.
    pub async fn close(&self) {
        let _ = self.messages.send(Message::Close).await;
    }
}

/// Everything that is to be done at once.
#[derive(Default)]
struct Work {
    batches: Vec<Batch>,
    close: bool,
    successor: Option<Box<dyn Sink>>,
}

struct Stream {
    label: String,
    sink: Box<dyn Sink>,
    failing: bool,
    /// Batches that are not written yet, and up to where they are.
    receipts: BTreeMap<BatchId, (Receipt, u64)>,
    next_batch: BatchId,
    /// Bytes that were given up, ever.
    lost: Arc<AtomicU64>,
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
                work.batches.push(batch);
            }
        }
        if !work.close && size < GATHER {
            next = inbox.try_recv().ok();
        }
    }
    if work.close {
        work.batches.push(Batch { finish: true, ..Batch::default() });
    }
    work
}

/// Waits, without holding a thread, until no other stream writes to the same destination.
async fn taken(turn: Option<Turn>) -> Option<OwnedMutexGuard<()>> {
    match turn {
        Some(turn) => Some(turn.lock_owned().await),
        None => None,
    }
}

impl Stream {
    fn new(label: String, sink: Box<dyn Sink>) -> Self {
        Self {
            label,
            sink,
            failing: false,
            receipts: BTreeMap::new(),
            next_batch: 0,
            lost: Arc::default(),
        }
    }

    async fn perform(&mut self, work: Work) -> Result<(), Lost> {
        let Work { batches, close, successor } = work;
        let exact = self.sink.exact().is_some();
        let mut input = Vec::new();
        let mut confirm = Vec::new();
        for Batch { chunks, finish, confirm: wanted } in batches {
            let batch = match wanted {
                Confirm::Nobody => None,
                Confirm::Success(written) => {
                    confirm.push(written);
                    None
                }
                Confirm::Steps(receipt) => {
                    self.next_batch += 1;
                    // A sink that does not tell writes a batch wholly.
                    let end = chunks.last().filter(|_| !exact).map_or(0, Chunk::end_offset);
                    self.receipts.insert(self.next_batch, (receipt, end));
                    Some(self.next_batch)
                }
            };
            input.push(Input { chunks, finish, batch });
        }
        let result = if exact && !self.receipts.is_empty() {
            self.write_exactly(input).await?
        } else {
            self.write_all(input).await?
        };
        let good = result.is_ok();
        if close {
            self.on_sink(|sink| sink.close()).await?;
        }
        if let Some(successor) = successor {
            self.sink = successor;
            // They are given again by whoever has them.
            self.receipts.clear();
            if !good {
                warn!("what {} could not write is lost with the change of the stream", self.label);
            }
        }
        self.report(result);
        for written in confirm {
            let _ = written.send(good);
        }
        Ok(())
    }

    /// Does something with the sink on the blocking pool.
    async fn on_sink<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn Sink) -> T + Send + 'static,
    ) -> Result<T, Lost> {
        let mut sink = std::mem::replace(&mut self.sink, Box::new(Gone));
        let done = task::spawn_blocking(move || {
            let result = work(&mut *sink);
            (sink, result)
        });
        let (sink, result) = done.await.map_err(|_| Lost)?;
        self.sink = sink;
        self.lost.fetch_add(self.sink.take_lost(), Ordering::Relaxed);
        Ok(result)
    }

    /// Writes everything at once. What has a receipt is confirmed when all of it is written, so nothing of
    /// it may be held back.
    async fn write_all(&mut self, input: Vec<Input>) -> Result<io::Result<()>, Lost> {
        let _turn = taken(self.sink.turn()).await;
        let finish = input.iter().any(|input| input.finish || input.batch.is_some());
        let chunks: Vec<Chunk> = input.into_iter().flat_map(|input| input.chunks).collect();
        let result = self.on_sink(move |sink| sink.write(&chunks, finish)).await?;
        if result.is_ok() {
            for (_, (receipt, end)) in std::mem::take(&mut self.receipts) {
                receipt.written(end).await;
            }
        }
        Ok(result)
    }

    /// Writes as much at once as the sink decides, and lets it be noted before.
    async fn write_exactly(&mut self, input: Vec<Input>) -> Result<io::Result<()>, Lost> {
        let mut input = input;
        loop {
            let input = std::mem::take(&mut input);
            let _turn = taken(self.sink.turn()).await;
            let gone = self.abandoned();
            let prepared = self.on_sink(move |sink| {
                let Some(sink) = sink.exact() else { return Ok(Prepared::default()) };
                sink.take_in(input, &gone);
                sink.prepare()
            });
            let Prepared { settled, ready, planned } = match prepared.await? {
                Ok(prepared) => prepared,
                Err(error) => return Ok(Err(error)),
            };
            self.advance(settled).await;
            if !ready {
                return Ok(Ok(()));
            }
            let mut noted = true;
            for (batch, intent) in &planned {
                noted &= match self.receipts.get(batch) {
                    Some((receipt, done)) => receipt.note(*done, Some(intent.clone())).await,
                    None => true,
                };
            }
            let mut result = Ok(());
            if noted {
                let committed = self.on_sink(|sink| sink.exact().map(|sink| sink.commit()));
                if let Some((progress, outcome)) = committed.await? {
                    result = outcome;
                    self.advance(progress).await;
                }
            }
            if !noted || result.is_err() {
                // What did not happen must not be looked for when others have written there.
                for (batch, _) in &planned {
                    if let Some((receipt, done)) = self.receipts.get(batch) {
                        receipt.note(*done, None).await;
                    }
                }
            }
            if result.is_err() {
                return Ok(result);
            }
        }
    }

    /// Notes how far batches are written, and tells those that are complete.
    async fn advance(&mut self, progress: Vec<Progress>) {
        for Progress { batch, done, complete } in progress {
            if let Some((_, known)) = self.receipts.get_mut(&batch) {
                *known = done.max(*known);
            }
            if complete && let Some((receipt, done)) = self.receipts.remove(&batch) {
                receipt.written(done).await;
            }
        }
    }

    /// Takes out the batches that nobody waits for any more.
    fn abandoned(&mut self) -> Vec<BatchId> {
        let gone = self.receipts.extract_if(.., |_, (receipt, _)| receipt.is_abandoned());
        gone.map(|(batch, _)| batch).collect()
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
    use tokio::sync::Notify;

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

    #[tokio::test]
    async fn more_streams_than_threads_take_turns_at_one_file() {
        use crate::stream::file::FileStream;
        use crate::stream::receipt::Step;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("all.log");
        let filename = path.to_str().unwrap().to_owned();
        let options = indexmap::IndexMap::from([("filename".to_owned(), filename)]);
        let mut waiting = task::JoinSet::new();
        // The blocking pool has 512 threads.
        for pid in 0..600 {
            let sink = FileStream::from_options(&options).unwrap();
            let writer = Writer::start("test".into(), Box::new(sink));
            waiting.spawn(async move {
                let (receipt, mut steps) = Receipt::new();
                let data = format!("{pid}\n").into_bytes();
                let chunk = Chunk { pid, data, ..Chunk::default() };
                writer.deliver(vec![chunk], false, receipt).await;
                loop {
                    match steps.recv().await.unwrap() {
                        Step::Note { noted, .. } => noted.send(()).unwrap(),
                        Step::Written { .. } => return,
                    }
                }
            });
        }
        waiting.join_all().await;
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 600);
    }

    /// Fails so many times, then tells that it works.
    struct Failing(u32, Memory, Arc<Notify>);

    impl Sink for Failing {
        fn write(&mut self, chunks: &[Chunk], finish: bool) -> io::Result<()> {
            self.1.write(chunks, finish)?;
            self.0 = self.0.saturating_sub(1);
            if self.0 > 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.2.notify_one();
            Ok(())
        }

        fn close(&mut self) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_sink_is_tried_again_although_nothing_is_printed() {
        let (memory, works) = (Memory::default(), Arc::new(Notify::new()));
        let failing = Failing(3, memory, Arc::clone(&works));
        let mut stream = Stream::new("test".into(), Box::new(failing));
        let (messages, mut inbox) = mpsc::channel(1);
        messages.send(Message::Batch(Batch::default())).await.unwrap();
        let first = gather(inbox.recv().await.unwrap(), &mut inbox);
        assert!(stream.perform(first).await.is_ok() && stream.failing);
        let writer = Writer { messages, lost: Arc::default() };
        task::spawn(run(stream, inbox));
        // Two pauses later it works again, and a confirmed write succeeds at once.
        time::timeout(3 * RETRY, works.notified()).await.unwrap();
        assert!(writer.write_through(Vec::new()).await);
    }
}
