//! circusd's own stdout as a destination: what waits to be written to it, within a bound.

use super::batch::gap_line;
use super::sink::MAX_WAITING;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::AsFd;
use tracing::warn;

/// Bytes on their way to a descriptor.
pub(super) struct Console<F> {
    out: F,
    /// Not yet written.
    buffer: Vec<u8>,
    /// Bytes that found no room in the buffer since the last good write.
    lost: u64,
}

impl<F: AsFd> Console<F> {
    /// Writes to `out`.
    pub(super) fn to(out: F) -> Self {
        Self { out, buffer: Vec::new(), lost: 0 }
    }

    /// Where to put the next `bytes` of output; none, and counted, when too much waits already.
    pub(super) fn room(&mut self, bytes: usize) -> Option<&mut Vec<u8>> {
        if self.buffer.len() > MAX_WAITING {
            self.lost += bytes as u64;
            return None;
        }
        Some(&mut self.buffer)
    }

    /// Writes what waits; what could not be written goes on waiting.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.write_buffer()?;
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            warn!("{lost} bytes of output are missing on stdout");
            self.buffer.extend_from_slice(gap_line(lost).as_bytes());
            self.write_buffer()?;
        }
        Ok(())
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use std::io::{PipeReader, Read};

    fn read_all(mut reader: PipeReader) -> std::thread::JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        })
    }

    fn put<F: AsFd>(console: &mut Console<F>, data: &[u8]) -> io::Result<()> {
        if let Some(buffer) = console.room(data.len()) {
            buffer.extend_from_slice(data);
        }
        console.flush()
    }

    #[test]
    fn what_could_not_be_written_is_not_reported_as_written_later() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut console = Console::to(writer);
        assert!(put(&mut console, b"one\n").is_err());
        assert!(put(&mut console, b"").is_err(), "it is still not written");
        let (reader, writer) = io::pipe().unwrap();
        console.out = writer;
        put(&mut console, b"two\n").unwrap();
        drop(console);
        assert_eq!(read_all(reader).join().unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn what_finds_no_room_is_counted_and_said() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut console = Console::to(writer);
        let much = vec![b'x'; MAX_WAITING + 1];
        assert!(put(&mut console, &much).is_err());
        assert!(put(&mut console, b"beyond\n").is_err());
        let (reader, writer) = io::pipe().unwrap();
        console.out = writer;
        let all = read_all(reader);
        put(&mut console, b"").unwrap();
        drop(console);
        assert!(all.join().unwrap().ends_with(b"xcircusd: 7 bytes of output are missing here\n"));
    }

    #[test]
    fn a_stdout_that_somebody_made_non_blocking_loses_nothing() {
        let (reader, writer) = io::pipe().unwrap();
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut console = Console::to(writer);
        let much = vec![b'x'; 1 << 20];
        let all = read_all(reader);
        put(&mut console, &much).unwrap();
        drop(console);
        assert_eq!(all.join().unwrap().len(), much.len());
    }
}
