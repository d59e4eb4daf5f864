//! One connection to the kernel: lines out, replies in.

use super::client::PapaError;
use super::endpoint::PapaEndpoint;
use papa_spawn::peer::owner_of_tcp;
use protocol::papa::{Command, Form, Reply, ReplyDecoder};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time;

/// The longest reply that is taken, in bytes: the list of many thousand processes.
const MAX_REPLY: usize = 64 * 1024 * 1024;

/// How long the kernel may take to answer. It never waits for anything itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes per read.
const READ: usize = 64 * 1024;

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// A connection that is ready for a request.
pub struct Connection {
    stream: Stream,
    form: Form,
    decoder: ReplyDecoder,
}

impl Connection {
    /// Connects and reads the greeting. `form` is how this kernel wants its requests; without it the
    /// kernel is asked: one that does not know the exact form calls it an unknown command.
    ///
    /// # Errors
    /// [`PapaError::NobodyListens`] when nothing accepts there, else what went wrong.
    pub async fn open(endpoint: &PapaEndpoint, form: Option<Form>) -> Result<Self, PapaError> {
        let stream = match endpoint {
            PapaEndpoint::Tcp(port) => {
                TcpStream::connect(("127.0.0.1", *port)).await.map(|stream| {
                    // Requests are single small writes; waiting to fill a segment only delays them.
                    let _ = stream.set_nodelay(true);
                    Stream::Tcp(stream)
                })
            }
            PapaEndpoint::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
        };
        let stream = stream.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                PapaError::NobodyListens(endpoint.to_string())
            }
            _ => PapaError::Io(error),
        })?;
        let decoder = ReplyDecoder::new(Form::Classic, MAX_REPLY);
        let mut connection = Self { stream, form: Form::Classic, decoder };
        match connection.reply(PATIENCE).await? {
            Reply::Text(text) if text.starts_with(b"Papa is home") => connection.check_owner()?,
            Reply::Text(_) => return Err(PapaError::NotPapa),
            Reply::Error(reason) => return Err(PapaError::Refused(reason)),
        }
        let form = match form {
            Some(form) => form,
            None => connection.ask_form().await?,
        };
        connection.use_form(form);
        Ok(connection)
    }

    /// Any user can take a port that no kernel listens on yet. Asked for after the greeting, because
    /// only then the other end has an owner.
    fn check_owner(&self) -> Result<(), PapaError> {
        let owner = match &self.stream {
            Stream::Tcp(stream) => owner_of_tcp(stream)?,
            Stream::Unix(stream) => stream.peer_cred()?.uid(),
        };
        let own = nix::unistd::geteuid().as_raw();
        if owner == own || owner == 0 { Ok(()) } else { Err(PapaError::Stranger(owner)) }
    }

    /// How this kernel wants its requests.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Sends a request and returns the text of its reply.
    ///
    /// # Errors
    /// [`PapaError::Refused`] with the kernel's reason; after any other error the connection is of no use.
    pub async fn request(&mut self, command: &Command) -> Result<Vec<u8>, PapaError> {
        self.slow_request(command, PATIENCE).await
    }

    /// The same for a request whose reply may take so long.
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub async fn slow_request(
        &mut self,
        command: &Command,
        patience: Duration,
    ) -> Result<Vec<u8>, PapaError> {
        self.send(&command.to_line(self.form)).await?;
        match self.reply(patience).await? {
            Reply::Text(text) => Ok(text),
            Reply::Error(reason) => Err(PapaError::Refused(reason)),
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection is broken, or the kernel does not read.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), PapaError> {
        let written = time::timeout(PATIENCE, self.stream.write_all(bytes)).await;
        Ok(written.map_err(|_| PapaError::Silent)??)
    }

    /// Reads what comes next, for as long as it takes. An empty answer is the end.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn receive(&mut self, buffer: &mut Vec<u8>) -> Result<usize, PapaError> {
        buffer.reserve(READ);
        Ok(self.stream.read_buf(buffer).await?)
    }

    /// Returns when the kernel closes the connection, or sends what nobody asked for; it is of no use then. May
    /// be given up and called again.
    pub async fn closed(&mut self) {
        let mut byte = [0];
        // Cancel-safe: a read that is given up has read nothing.
        let _ = self.stream.read(&mut byte).await;
    }

    /// What was received after the last reply.
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.decoder.take_rest()
    }

    fn use_form(&mut self, form: Form) {
        self.form = form;
        self.decoder.set_form(form);
    }

    async fn ask_form(&mut self) -> Result<Form, PapaError> {
        self.send(b"%get circus\n").await?;
        match self.reply(PATIENCE).await? {
            Reply::Text(_) => Ok(Form::Exact),
            Reply::Error(_) => Ok(Form::Classic),
        }
    }

    async fn reply(&mut self, patience: Duration) -> Result<Reply, PapaError> {
        let read = async {
            let mut buffer = Vec::new();
            loop {
                if let Some(reply) = self.decoder.take_reply() {
                    return Ok(reply);
                }
                buffer.clear();
                buffer.reserve(READ);
                if self.stream.read_buf(&mut buffer).await? == 0 {
                    return Err(PapaError::Closed);
                }
                self.decoder.feed(&buffer)?;
            }
        };
        time::timeout(patience, read).await.map_err(|_| PapaError::Silent)?
    }
}
