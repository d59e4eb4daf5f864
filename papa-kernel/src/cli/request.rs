//! `papa-kernel --upgrade`: the one request that the program sends itself.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use protocol::papa::{Command, Form, Reply, ReplyDecoder};

use super::Place;

/// Sends `upgrade` to the kernel that serves there and returns its answer.
pub(super) fn upgrade(place: &Place, path: Option<PathBuf>) -> Result<String, String> {
    let absolute = |path: PathBuf| std::path::absolute(path).map(|path| path.into_os_string());
    let path = path.map(absolute).transpose().map_err(|error| error.to_string())?;
    let command = Command::Upgrade(path.map(OsStringExt::into_vec));
    let (name, asked) = match place {
        Place::Port(port) => {
            let name = format!("127.0.0.1:{port}");
            let asked = TcpStream::connect((Ipv4Addr::LOCALHOST, *port));
            (name, asked.and_then(|stream| ask(stream, &command)))
        }
        Place::Path(path) => {
            let asked = UnixStream::connect(path);
            (path.display().to_string(), asked.and_then(|stream| ask(stream, &command)))
        }
    };
    match asked {
        Ok(Reply::Text(text)) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Ok(Reply::Error(text)) => Err(text),
        Err(error) => Err(format!("cannot ask the kernel on {name}: {error}")),
    }
}

fn ask(mut stream: impl Read + Write, command: &Command) -> io::Result<Reply> {
    const LONGEST_REPLY: usize = 64 << 10;
    let mut decoder = ReplyDecoder::new(Form::Exact, LONGEST_REPLY);
    let mut next = |stream: &mut dyn Read| loop {
        if let Some(reply) = decoder.take_reply() {
            return Ok(reply);
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                decoder.feed(buffer.get(..count).unwrap_or_default()).map_err(io::Error::other)?
            }
        }
    };
    match next(&mut stream)? {
        Reply::Text(_) => {}
        error => return Ok(error),
    }
    stream.write_all(&command.to_line(Form::Exact))?;
    next(&mut stream)
}
