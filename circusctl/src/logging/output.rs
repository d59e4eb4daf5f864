//! The outputs themselves. Owned by the log's thread, so they may block.

use super::format::Record;
use super::settings::{Handler, LogError, Target};
use super::syslog::Syslog;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

/// A handler whose destination is open.
pub(super) struct Output {
    handler: Handler,
    sink: Sink,
    /// Messages that could not be written since it last worked.
    lost: u64,
}

enum Sink {
    Stderr,
    Stdout,
    File(WatchedFile),
    Syslog(Syslog),
}

impl Output {
    /// Opens the destination.
    pub(super) fn open(handler: Handler) -> Result<Self, LogError> {
        let failed = |target: String| move |source| LogError::Open { target, source };
        let sink = match &handler.target {
            Target::Stderr => Sink::Stderr,
            Target::Stdout => Sink::Stdout,
            Target::File(path) => {
                Sink::File(WatchedFile::open(path).map_err(failed(path.clone()))?)
            }
            Target::Syslog(address) => {
                Sink::Syslog(Syslog::open(address).map_err(failed(address.shown()))?)
            }
        };
        Ok(Self { handler, sink, lost: 0 })
    }

    /// Writes a message if it is important enough. What cannot be written is counted, and told as soon as it
    /// works again.
    pub(super) fn write(&mut self, record: &Record) {
        if record.level < self.handler.level {
            return;
        }
        if self.lost > 0 {
            let text = format!("{} messages could not be written here", self.lost);
            let told = Record { text, level: super::Level::Warning, time: record.time.clone() };
            if self.sink.write(&self.handler, &told).is_err() {
                self.lost += 1;
                return;
            }
            self.lost = 0;
        }
        if self.sink.write(&self.handler, record).is_err() {
            self.lost += 1;
        }
    }

    /// Opens a file anew, as after a rotation.
    pub(super) fn reopen(&mut self) {
        if let Sink::File(file) = &mut self.sink {
            file.file = None;
        }
    }
}

impl Sink {
    fn write(&mut self, handler: &Handler, record: &Record) -> io::Result<()> {
        let mut line = handler.format.line(record);
        if let Self::Syslog(syslog) = self {
            return syslog.send(record.level, &line);
        }
        line.push('\n');
        match self {
            Self::Stderr => io::stderr().write_all(line.as_bytes()),
            Self::Stdout => {
                let mut stdout = io::stdout();
                stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush())
            }
            Self::File(file) => file.write(line.as_bytes()),
            Self::Syslog(_) => Ok(()),
        }
    }
}

/// A file that is appended to, and opened again when somebody has moved or removed it.
struct WatchedFile {
    path: String,
    file: Option<File>,
}

impl WatchedFile {
    fn open(path: &str) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: Some(append(path)?) })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let file = match self.file.take().filter(|file| is_at(file, &self.path)) {
            Some(file) => file,
            None => append(&self.path)?,
        };
        // The file stays open although it could not be written: the disk may only be full.
        self.file.insert(file).write_all(line)
    }
}

fn append(path: &str) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn is_at(file: &File, path: &str) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::super::settings::Level;
    use super::*;

    fn record(text: &str) -> Record {
        Record { time: jiff::Zoned::now(), level: Level::Info, text: text.into() }
    }

    fn output(path: &std::path::Path) -> Output {
        let target = Target::File(path.to_str().unwrap().to_owned());
        let format = Format::parse(None, None).unwrap();
        Output::open(Handler { target, level: Level::Info, format }).unwrap()
    }

    #[test]
    fn a_file_that_was_moved_or_removed_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("log"), dir.path().join("log.1"));
        let mut output = output(&path);
        output.write(&record("one"));
        std::fs::rename(&path, &moved).unwrap();
        output.write(&record("two"));
        std::fs::remove_file(&path).unwrap();
        output.write(&record("three"));
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[test]
    fn what_could_not_be_written_is_counted_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("log");
        let mut output = output(&path);
        std::fs::remove_dir_all(&folder).unwrap();
        output.write(&record("lost"));
        output.write(&record("lost, too"));
        std::fs::create_dir(&folder).unwrap();
        output.write(&record("there"));
        let expected = "2 messages could not be written here\nthere\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    }
}
