//! `papa-kernel --upgrade`: the one request that the program sends itself.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use papa_handover::Refusal;
use protocol::papa::{Command, Form, Reply, ReplyDecoder};

use super::Place;

/// Sends `upgrade` to the kernel that serves there and returns its answer.
pub(super) fn upgrade(place: &Place, path: Option<PathBuf>) -> Result<String, Refusal> {
    let path = path.map(std::path::absolute).transpose()?;
    let command = Command::Upgrade(path.map(|path| path.into_os_string().into_vec()));
    let (name, stream) = match place {
        Place::Port(port) => {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, *port));
            (format!("127.0.0.1:{port}"), stream.map(OwnedFd::from))
        }
        Place::Path(path) => {
            (path.display().to_string(), UnixStream::connect(path).map(OwnedFd::from))
        }
    };
    match stream.and_then(|stream| ask(stream.into(), &command)) {
        Ok(Reply::Text(text)) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Ok(Reply::Error(text)) => Err(Refusal::new(text)),
        Err(error) => Err(Refusal::new(format!("cannot ask the kernel on {name}: {error}"))),
    }
}

fn ask(mut stream: File, command: &Command) -> io::Result<Reply> {
    const LONGEST_REPLY: usize = 64 << 10;
    let mut decoder = ReplyDecoder::new(Form::Exact, LONGEST_REPLY);
    let mut next = |mut stream: &File| loop {
        if let Some(reply) = decoder.take_reply() {
            return Ok(reply);
        }
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        decoder.feed(buffer.get(..count).unwrap_or_default()).map_err(io::Error::other)?;
    };
    if let error @ Reply::Error(_) = next(&stream)? {
        return Ok(error);
    }
    stream.write_all(&command.to_line(Form::Exact))?;
    next(&stream)
}
