//! Commands to the kernel, over one connection that is opened again when it breaks.

use super::connection::Connection;
use super::endpoint::PapaEndpoint;
use super::watch::Watch;
use protocol::papa::{
    Command, Form, Noun, Pattern, ProcessRow, ProcessSpec, ReplyError, RowError, SocketRow,
    SocketSpec, StreamError, ValueRow,
};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task;

/// Requests that may wait for the kernel.
const QUEUE: usize = 64;

/// The kernel refused, or could not be talked to.
#[derive(Debug, thiserror::Error)]
pub enum PapaError {
    /// Nothing accepts connections there.
    #[error("nobody listens at {0}")]
    NobodyListens(String),
    /// Somebody else listens there.
    #[error("what answers there is not a papa kernel")]
    NotPapa,
    /// It could do what it likes with what it is told, and its processes could not be signalled.
    #[error(
        "what listens there belongs to user {0}, not to us or root; stop it or set papa_endpoint to a place \
         of your own"
    )]
    Stranger(u32),
    /// The kernel's own words.
    #[error("papa says: {0}")]
    Refused(String),
    /// It closed the connection.
    #[error("papa closed the connection")]
    Closed,
    /// It does not answer.
    #[error("papa does not answer")]
    Silent,
    /// The connection broke.
    #[error("the connection to papa broke: {0}")]
    Io(#[from] io::Error),
    /// A reply beyond any sense.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// A row of a list that cannot be read.
    #[error(transparent)]
    Row(#[from] RowError),
    /// A stream that cannot be read.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl PapaError {
    /// Trying again later may help.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::NotPapa | Self::Stranger(_))
    }
}

/// A kernel about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelFacts {
    /// Its pid.
    pub pid: i32,
    /// Its resident memory in bytes.
    pub memory: u64,
    /// Bytes of output that it had to drop, ever.
    pub dropped: u64,
    /// Seconds since it was started.
    pub uptime: u64,
}

impl KernelFacts {
    /// Reads `key=value` lines; keys that are not known do not matter.
    fn parse(text: &str) -> Option<Self> {
        let value =
            |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let number = |key: &str| value(key)?.trim().parse().ok();
        Some(Self {
            pid: value("pid")?.trim().parse().ok()?,
            memory: number("memory")?,
            dropped: number("dropped")?,
            uptime: number("uptime")?,
        })
    }
}

/// Connections for watching that are made at the same time. A circusd that takes over a thousand workers at
/// once answers commands in between.
const WATCHES_AT_ONCE: usize = 16;

/// How long an upgrade of the kernel may take: it gives the new program 30 s to show what it can.
const UPGRADE: Duration = Duration::from_secs(60);

struct Ask {
    command: Command,
    reply: oneshot::Sender<Result<Vec<u8>, PapaError>>,
}

/// A handle on the connection; clones share it.
#[derive(Clone)]
pub struct KernelClient {
    endpoint: PapaEndpoint,
    form: Form,
    asks: mpsc::Sender<Ask>,
    losses: watch::Receiver<u64>,
    /// Held while a connection for watching is made.
    making: Arc<Semaphore>,
}

impl KernelClient {
    /// Connects to a kernel.
    ///
    /// # Errors
    /// [`PapaError::NobodyListens`] when there is none.
    pub async fn connect(endpoint: PapaEndpoint) -> Result<Self, PapaError> {
        let connection = Connection::open(&endpoint, None).await?;
        let form = connection.form();
        let (asks, inbox) = mpsc::channel(QUEUE);
        let (lost, losses) = watch::channel(0);
        task::spawn(run(endpoint.clone(), form, connection, inbox, lost));
        let making = Arc::new(Semaphore::new(WATCHES_AT_ONCE));
        Ok(Self { endpoint, form, asks, losses, making })
    }

    /// Where the kernel listens.
    pub fn endpoint(&self) -> &PapaEndpoint {
        &self.endpoint
    }

    /// Changes whenever the connection has broken, which is seen at once. Most often the kernel is gone then.
    pub fn losses(&self) -> watch::Receiver<u64> {
        self.losses.clone()
    }

    /// How this kernel wants its requests; only one that knows the exact form has the extensions.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The processes whose name matches.
    ///
    /// # Errors
    /// [`PapaError`].
    pub async fn list_processes(&self, pattern: &str) -> Result<Vec<ProcessRow>, PapaError> {
        let text = self.ask(Command::List(Noun::Processes, patterns(pattern))).await?;
        rows(&text).map(|row| Ok(ProcessRow::parse(self.form, row)?)).collect()
    }

    /// The sockets whose name matches.
    ///
    /// # Errors
    /// [`PapaError`].
    pub async fn list_sockets(&self, pattern: &str) -> Result<Vec<SocketRow>, PapaError> {
        let text = self.ask(Command::List(Noun::Sockets, patterns(pattern))).await?;
        rows(&text).map(|row| Ok(SocketRow::parse(self.form, row)?)).collect()
    }

    /// The values whose name matches.
    ///
    /// # Errors
    /// [`PapaError`].
    pub async fn list_values(&self, pattern: &str) -> Result<Vec<ValueRow>, PapaError> {
        let text = self.ask(Command::List(Noun::Values, patterns(pattern))).await?;
        rows(&text).map(|row| Ok(ValueRow::parse(self.form, row)?)).collect()
    }

    /// Stores a value, or removes it.
    ///
    /// # Errors
    /// [`PapaError`].
    pub async fn set_value(&self, name: &str, value: Option<Vec<u8>>) -> Result<(), PapaError> {
        self.ask(Command::Set(name.to_owned(), value)).await.map(drop)
    }

    /// Makes a process, or returns the one that was made with the same name and settings.
    ///
    /// # Errors
    /// [`PapaError::Refused`] when the kernel could not, or has another of that name.
    pub async fn make_process(&self, spec: &ProcessSpec) -> Result<ProcessRow, PapaError> {
        let command = Command::MakeProcess { spec: Box::new(spec.clone()), watch: false };
        Ok(ProcessRow::parse(self.form, &self.ask(command).await?)?)
    }

    /// Makes a socket, or returns the one that was made with the same name and settings.
    ///
    /// # Errors
    /// [`PapaError::Refused`] when the kernel could not, or has another of that name.
    pub async fn make_socket(&self, spec: &SocketSpec) -> Result<SocketRow, PapaError> {
        let text = self.ask(Command::MakeSocket(Box::new(spec.clone()))).await?;
        Ok(SocketRow::parse(self.form, &text)?)
    }

    /// Closes the sockets whose name matches.
    ///
    /// # Errors
    /// [`PapaError`].
    pub async fn remove_sockets(&self, pattern: &str) -> Result<(), PapaError> {
        self.ask(Command::Remove(Noun::Sockets, patterns(pattern))).await.map(drop)
    }

    /// Keeps a note beside a process.
    ///
    /// # Errors
    /// [`PapaError::Refused`] when the kernel does not have it, or knows no notes.
    pub async fn note(&self, process: &str, note: Vec<u8>) -> Result<(), PapaError> {
        self.ask(Command::Note(process.to_owned(), Some(note))).await.map(drop)
    }

    /// Asks the kernel to end if it holds nothing.
    ///
    /// # Errors
    /// [`PapaError`].
    pub async fn exit_if_idle(&self) -> Result<(), PapaError> {
        self.ask(Command::ExitIfIdle).await.map(drop)
    }

    /// What the kernel tells of itself; none when it is the original, which has no `info`, or is away.
    pub async fn facts(&self) -> Option<KernelFacts> {
        if self.form == Form::Classic {
            return None;
        }
        let text = self.ask(Command::Info).await.ok()?;
        KernelFacts::parse(&String::from_utf8_lossy(&text))
    }

    /// Lets the kernel go on as the program at this path, or as the file that it was started from, and gives
    /// what it says then. Takes as long as the program needs to show that it can take over.
    ///
    /// # Errors
    /// [`PapaError::Refused`] with the reason; the kernel is as it was.
    pub async fn upgrade(&self, program: Option<Vec<u8>>) -> Result<String, PapaError> {
        // On a connection of its own, which nobody else waits for.
        let mut connection = Connection::open(&self.endpoint, Some(self.form)).await?;
        let answer = connection.slow_request(&Command::Upgrade(program), UPGRADE).await?;
        Ok(String::from_utf8_lossy(&answer).trim().to_owned())
    }

    /// Opens a connection that follows one process.
    ///
    /// # Errors
    /// [`PapaError::Refused`] when the kernel does not have it.
    pub async fn watch(&self, process: &str) -> Result<Watch, PapaError> {
        // Closed by nobody.
        let _turn = self.making.acquire().await;
        let connection = Connection::open(&self.endpoint, Some(self.form)).await?;
        Watch::begin(connection, process).await
    }

    async fn ask(&self, command: Command) -> Result<Vec<u8>, PapaError> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask { command, reply }).await.map_err(|_| PapaError::Closed)?;
        answer.await.map_err(|_| PapaError::Closed)?
    }
}

fn patterns(pattern: &str) -> Vec<Pattern> {
    vec![Pattern(pattern.to_owned())]
}

fn rows(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|row| !row.is_empty())
}

/// Carries out one request after the other. A broken connection is opened again for the next request; the
/// one that met the break is not repeated, since it may have had its effect.
async fn run(
    endpoint: PapaEndpoint,
    form: Form,
    connection: Connection,
    mut inbox: mpsc::Receiver<Ask>,
    lost: watch::Sender<u64>,
) {
    let mut connection = Some(connection);
    loop {
        let ask = match &mut connection {
            Some(idle) => tokio::select! {
                biased;
                ask = inbox.recv() => ask,
                () = idle.closed() => {
                    connection = None;
                    lost.send_modify(|losses| *losses += 1);
                    continue;
                }
            },
            None => inbox.recv().await,
        };
        let Some(Ask { command, reply }) = ask else { return };
        let ready = match connection.take() {
            Some(ready) => Ok(ready),
            None => Connection::open(&endpoint, Some(form)).await,
        };
        let result = match ready {
            Ok(mut ready) => {
                let result = ready.request(&command).await;
                if matches!(result, Ok(_) | Err(PapaError::Refused(_))) {
                    connection = Some(ready);
                } else {
                    lost.send_modify(|losses| *losses += 1);
                }
                result
            }
            Err(error) => Err(error),
        };
        // The asker may have given up.
        let _ = reply.send(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_a_kernel_are_read_from_its_lines() {
        let text = "version=1\npid=7\nuptime=3\nmemory=4096\nclient_memory=1\ndropped=9\n";
        let facts = KernelFacts { pid: 7, memory: 4096, dropped: 9, uptime: 3 };
        assert_eq!(KernelFacts::parse(text), Some(facts));
        assert_eq!(KernelFacts::parse("pid=7"), None);
    }
}
