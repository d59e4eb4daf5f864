//! The log's thread, which owns the outputs, and the handle that steers it.

use super::format::Record;
use super::layer::QueueLayer;
use super::output::Output;
use super::settings::{Level, LogError, Settings, Target};
use jiff::Zoned;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::time::Duration;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, reload};

/// Messages that may wait for a slow output. More are dropped and counted. Orders, of which there are few, always have
/// a place.
const QUEUE: usize = 4096;

/// How long the end of the daemon waits for its last messages.
const LAST_MESSAGES: Duration = Duration::from_secs(1);

enum Message {
    Record(Record),
    Use(Vec<Output>),
    Reopen,
    Flush(SyncSender<()>),
}

#[derive(Default)]
struct Counts {
    /// Messages in the queue. The channel itself has no bound, since one that has takes the room of all at once.
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

/// The way to the thread; clones share it.
#[derive(Clone)]
pub(super) struct Queue {
    messages: Sender<Message>,
    counts: Arc<Counts>,
}

impl Queue {
    pub(super) fn put(&self, record: Record) {
        if self.counts.waiting.load(Ordering::Relaxed) < QUEUE {
            self.send(Message::Record(record));
        } else {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn send(&self, message: Message) {
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        // Fails only when the thread is gone, which is when the process ends.
        let _ = self.messages.send(message);
    }
}

/// Steers the log; clones share it.
#[derive(Clone)]
pub struct Control {
    queue: Queue,
    filter: reload::Handle<LevelFilter, Registry>,
    on_stderr: Arc<AtomicBool>,
}

/// Outputs that are open and wait to be used.
pub struct Ready {
    filter: LevelFilter,
    outputs: Vec<Output>,
    on_stderr: bool,
}

/// Starts the log. Once in a process.
///
/// # Errors
/// [`LogError`] names the output that cannot be opened.
pub fn start(settings: Settings) -> Result<Control, LogError> {
    let failed = |error: &dyn std::fmt::Display| LogError::Start(error.to_string());
    let ready = Ready::open(settings)?;
    let (messages, inbox) = mpsc::channel();
    let counts = Arc::new(Counts::default());
    let queue = Queue { messages, counts: Arc::clone(&counts) };
    let outputs = ready.outputs;
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || run(&inbox, outputs, &counts))
        .map_err(|error| failed(&error))?;
    let (filter, handle) = reload::Layer::new(ready.filter);
    let subscriber = Registry::default().with(filter).with(QueueLayer(queue.clone()));
    tracing::subscriber::set_global_default(subscriber).map_err(|error| failed(&error))?;
    let on_stderr = Arc::new(AtomicBool::new(ready.on_stderr));
    Ok(Control { queue, filter: handle, on_stderr })
}

impl Ready {
    /// Opens all outputs. Blocks.
    ///
    /// # Errors
    /// [`LogError`] names the output.
    pub fn open(settings: Settings) -> Result<Self, LogError> {
        let filter = settings.filter();
        let on_stderr = settings.handlers.iter().any(|handler| handler.target == Target::Stderr);
        let outputs = settings.handlers.into_iter().map(Output::open).collect::<Result<_, _>>()?;
        Ok(Self { filter, outputs, on_stderr })
    }
}

impl Control {
    /// Whether what is logged is seen on standard error, where failures are printed.
    pub fn shows_on_stderr(&self) -> bool {
        self.on_stderr.load(Ordering::Relaxed)
    }

    /// Logs to these outputs from now on.
    pub fn switch_to(&self, ready: Ready) {
        // Fails only when the subscriber is gone, which is never.
        let _ = self.filter.reload(ready.filter);
        self.on_stderr.store(ready.on_stderr, Ordering::Relaxed);
        self.queue.send(Message::Use(ready.outputs));
    }

    /// Opens files anew, as after a rotation.
    pub fn reopen(&self) {
        self.queue.send(Message::Reopen);
    }

    /// Waits until everything is written, but not for ever.
    pub fn flush(&self) {
        let (done, written) = mpsc::sync_channel(1);
        self.queue.send(Message::Flush(done));
        let _ = written.recv_timeout(LAST_MESSAGES);
    }
}

fn run(inbox: &Receiver<Message>, mut outputs: Vec<Output>, counts: &Counts) {
    for message in inbox {
        counts.waiting.fetch_sub(1, Ordering::Relaxed);
        let missing = counts.dropped.swap(0, Ordering::Relaxed);
        if missing > 0 {
            let text = format!("{missing} messages were dropped: the log is too slow");
            let record = Record { time: Zoned::now(), level: Level::Warning, text };
            outputs.iter_mut().for_each(|output| output.write(&record));
        }
        match message {
            Message::Record(record) => outputs.iter_mut().for_each(|output| output.write(&record)),
            Message::Use(others) => outputs = others,
            Message::Reopen => outputs.iter_mut().for_each(Output::reopen),
            Message::Flush(done) => {
                // Whoever asked may not wait any longer.
                let _ = done.try_send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_reach_a_log_that_has_no_room_for_messages() {
        let (messages, inbox) = mpsc::channel();
        let queue = Queue { messages, counts: Arc::default() };
        let (_layer, filter) = reload::Layer::new(LevelFilter::INFO);
        let control = Control { queue: queue.clone(), filter, on_stderr: Arc::default() };
        for number in 0..QUEUE + 3 {
            let text = number.to_string();
            queue.put(Record { time: Zoned::now(), level: Level::Info, text });
        }
        control.reopen();
        // Nobody reads, so it gives up.
        control.flush();
        assert_eq!(queue.counts.dropped.load(Ordering::Relaxed), 3);
        let waiting: Vec<Message> = inbox.try_iter().collect();
        let records = waiting.iter().filter(|message| matches!(message, Message::Record(_)));
        assert_eq!(records.count(), QUEUE);
        let orders = waiting.get(QUEUE..).unwrap_or_default();
        assert!(matches!(orders, [Message::Reopen, Message::Flush(_)]));
    }
}
