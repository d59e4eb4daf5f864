//! `StdoutStream`: output goes to circusd's own stdout.

use super::batch::Chunk;
use super::sink::Sink;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::AsFd;
use tracing::warn;

/// Output that waits for a stdout that cannot be written, in bytes; what comes beyond is lost and counted.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// Copies every piece to stdout at once.
pub struct StdoutStream<F = io::Stdout> {
    out: F,
    /// Not yet written.
    buffer: Vec<u8>,
    /// Bytes that found no room in the buffer since the last good write.
    lost: u64,
}

impl StdoutStream {
    /// The stream to circusd's stdout.
    pub fn new() -> Self {
        Self::to(io::stdout())
    }
}

impl Default for StdoutStream {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: AsFd> StdoutStream<F> {
    fn to(out: F) -> Self {
        Self { out, buffer: Vec::new(), lost: 0 }
    }

    /// Writes the buffer; what could not be written stays in it.
    fn write_buffer(&mut self) -> io::Result<()> {
        let mut written = 0;
        let mut result = Ok(());
        while let Some(rest) = self.buffer.get(written..).filter(|rest| !rest.is_empty()) {
            match nix::unistd::write(&self.out, rest) {
                Ok(count) => written += count,
                Err(Errno::EINTR) => {}
                // Whoever shares our stdout may have made it non-blocking.
                Err(Errno::EAGAIN) => {
                    let mut fds = [PollFd::new(self.out.as_fd(), PollFlags::POLLOUT)];
                    if let Err(errno) = poll(&mut fds, PollTimeout::NONE)
                        && errno != Errno::EINTR
                    {
                        result = Err(errno.into());
                        break;
                    }
                }
                Err(errno) => {
                    result = Err(errno.into());
                    break;
                }
            }
        }
        self.buffer.drain(..written);
        result
    }
}

impl<F: AsFd + Send> Sink for StdoutStream<F> {
    fn write(&mut self, chunks: &[Chunk], _finish: bool) -> io::Result<()> {
        for chunk in chunks {
            if self.buffer.len() > MAX_WAITING {
                self.lost += chunk.data.len() as u64;
            } else {
                self.buffer.extend_from_slice(&chunk.data);
            }
        }
        self.write_buffer()?;
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            warn!("{lost} bytes of output are missing on stdout");
        }
        Ok(())
    }

    fn close(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use std::io::{PipeReader, Read};

    fn chunk(data: &[u8]) -> Chunk {
        Chunk { pid: 1, time: 0.0, data: data.to_vec() }
    }

    fn read_all(mut reader: PipeReader) -> std::thread::JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        })
    }

    #[test]
    fn what_could_not_be_written_is_not_reported_as_written_later() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut stream = StdoutStream::to(writer);
        assert!(stream.write(&[chunk(b"one\n")], true).is_err());
        assert!(stream.write(&[], true).is_err(), "it is still not written");
        let (reader, writer) = io::pipe().unwrap();
        stream.out = writer;
        stream.write(&[chunk(b"two\n")], true).unwrap();
        drop(stream);
        assert_eq!(read_all(reader).join().unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn a_stdout_that_somebody_made_non_blocking_loses_nothing() {
        let (reader, writer) = io::pipe().unwrap();
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut stream = StdoutStream::to(writer);
        let much = vec![b'x'; 1 << 20];
        let all = read_all(reader);
        stream.write(&[chunk(&much)], true).unwrap();
        drop(stream);
        assert_eq!(all.join().unwrap().len(), much.len());
    }
}
