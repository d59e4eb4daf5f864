//! `FileStream`: output goes to a file, which can rotate by size.
//!
//! The file is opened for appending and every batch is one write, so what has been reported as written is
//! in the hands of the operating system.

use super::batch::Chunk;
use super::prefix::Prefixer;
use super::sink::{Sink, StreamError};
use indexmap::IndexMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tracing::warn;

/// A log file.
pub struct FileStream {
    path: PathBuf,
    prefixer: Option<Prefixer>,
    rotation: Option<Rotation>,
    file: Option<OpenFile>,
    /// Not yet written.
    buffer: Vec<u8>,
    /// Bytes that found no room in the buffer since the last good write.
    lost: u64,
}

/// Output that waits for a file that cannot be written, in bytes; what comes beyond is lost and counted.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// When and how often to rotate. With no backups the file grows for ever, as in the original.
struct Rotation {
    max_bytes: u64,
    backups: u32,
}

struct OpenFile {
    file: File,
    size: u64,
}

impl FileStream {
    /// Makes the stream; the file is opened with the first output, if not before.
    ///
    /// # Errors
    /// [`StreamError`] names the option.
    pub fn from_options(options: &IndexMap<String, String>) -> Result<Self, StreamError> {
        let path = options.get("filename").filter(|name| !name.is_empty()).ok_or_else(|| {
            StreamError::BadOption {
                key: "filename".into(),
                value: String::new(),
                expected: "the name of the log file",
            }
        })?;
        let prefixer = match options.get("time_format") {
            Some(format) => Some(Prefixer::new(format).map_err(|_| StreamError::BadOption {
                key: "time_format".into(),
                value: format.clone(),
                expected: "a strftime format such as %Y-%m-%d %H:%M:%S",
            })?),
            None => None,
        };
        let max_bytes = number(options, "max_bytes")?;
        let backups = u32::try_from(number(options, "backup_count")?).unwrap_or(u32::MAX);
        let rotation = (max_bytes > 0 && backups > 0).then_some(Rotation { max_bytes, backups });
        let path = PathBuf::from(path);
        Ok(Self { path, prefixer, rotation, file: None, buffer: Vec::new(), lost: 0 })
    }

    fn file(&mut self) -> io::Result<&mut OpenFile> {
        match &mut self.file {
            Some(file) => Ok(file),
            empty => {
                let file = OpenOptions::new().append(true).create(true).open(&self.path)?;
                let size = file.metadata()?.len();
                Ok(empty.insert(OpenFile { file, size }))
            }
        }
    }

    /// Writes the buffer; what could not be written stays in it.
    fn write_buffer(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let mut written = 0;
        let result = self.file().and_then(|open| {
            while let Some(rest) = buffer.get(written..).filter(|rest| !rest.is_empty()) {
                match open.file.write(rest) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        written += count;
                        open.size += count as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        });
        self.buffer = buffer;
        self.buffer.drain(..written);
        result
    }

    /// Takes a piece into the buffer, unless too much waits there already.
    fn take(&mut self, chunk: &Chunk) {
        if self.buffer.len() > MAX_WAITING {
            self.lost += chunk.data.len() as u64;
            return;
        }
        match &mut self.prefixer {
            Some(prefixer) => prefixer.push(chunk, &mut self.buffer),
            None => self.buffer.extend_from_slice(&chunk.data),
        }
    }

    /// Rotates before `next` more bytes would reach the limit. A piece larger than the limit does not
    /// rotate an empty file.
    fn rotate_before(&mut self, next: u64) -> io::Result<()> {
        let Some(Rotation { max_bytes, backups }) = self.rotation else { return Ok(()) };
        let pending = self.buffer.len() as u64;
        let size = self.file()?.size + pending;
        if size == 0 || size + next < max_bytes {
            return Ok(());
        }
        if pending > 0 {
            self.write_buffer()?;
        }
        self.file = None;
        for number in (1..backups).rev() {
            rename_if_there(&numbered(&self.path, number), &numbered(&self.path, number + 1))?;
        }
        rename_if_there(&self.path, &numbered(&self.path, 1))
    }
}

impl Sink for FileStream {
    fn write(&mut self, chunks: &[Chunk], finish: bool) -> io::Result<()> {
        let mut rotated = Ok(());
        for chunk in chunks {
            if rotated.is_ok() {
                rotated = self.rotate_before(chunk.data.len() as u64);
            }
            self.take(chunk);
        }
        if finish && let Some(prefixer) = &mut self.prefixer {
            prefixer.finish(&mut self.buffer);
        }
        rotated?;
        if !self.buffer.is_empty() {
            self.write_buffer()?;
        }
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            warn!("{lost} bytes of output are missing in `{}`", self.path.display());
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), StreamError> {
        let path = self.path.display().to_string();
        self.file().map(drop).map_err(|source| StreamError::Open { path, source })
    }

    fn close(&mut self) {
        self.file = None;
    }
}

fn number(options: &IndexMap<String, String>, key: &str) -> Result<u64, StreamError> {
    let Some(text) = options.get(key) else { return Ok(0) };
    text.trim().parse().map_err(|_| StreamError::BadOption {
        key: key.to_owned(),
        value: text.clone(),
        expected: "a whole number, 0 or more",
    })
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> IndexMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn chunk(data: &[u8]) -> Chunk {
        Chunk { pid: 1, time: 0.0, data: data.to_vec() }
    }

    #[test]
    fn bytes_are_kept_exactly_without_a_time_format() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let mut stream =
            FileStream::from_options(&options(&[("filename", path.to_str().unwrap())])).unwrap();
        stream.write(&[chunk(b"a\xff\0"), chunk(b"b\r\n")], true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"a\xff\0b\r\n");
    }

    #[test]
    fn rotation_keeps_the_newest_backups() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let mut stream = FileStream::from_options(&options(&[
            ("filename", path.to_str().unwrap()),
            ("max_bytes", "10"),
            ("backup_count", "2"),
        ]))
        .unwrap();
        for piece in ["aaaaaa", "bbbbbb", "cccccc", "dddddd", "a piece over the limit"] {
            stream.write(&[chunk(piece.as_bytes())], true).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "a piece over the limit");
        assert_eq!(fs::read_to_string(numbered(&path, 1)).unwrap(), "dddddd");
        assert_eq!(fs::read_to_string(numbered(&path, 2)).unwrap(), "cccccc");
        assert!(!numbered(&path, 3).exists());
    }

    #[test]
    fn what_could_not_be_written_is_written_when_the_file_can_be_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("logs");
        let path = folder.join("x.log");
        fs::create_dir(&folder).unwrap();
        let mut stream =
            FileStream::from_options(&options(&[("filename", path.to_str().unwrap())])).unwrap();
        stream.close();
        fs::remove_dir_all(&folder).unwrap();
        assert!(stream.write(&[chunk(b"one\n")], true).is_err());
        assert!(stream.write(&[chunk(b"two\n")], true).is_err());
        fs::create_dir(&folder).unwrap();
        stream.write(&[], true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let options = options(&[("filename", "/nowhere/at/all.log")]);
        let mut stream = FileStream::from_options(&options).unwrap();
        let error = stream.open().expect_err("no such directory");
        assert!(error.to_string().contains("/nowhere/at/all.log"), "{error}");
    }

    #[test]
    fn a_bad_number_is_named() {
        let options = options(&[("filename", "x"), ("max_bytes", "1k")]);
        let error = FileStream::from_options(&options).err().expect("1k is no number");
        assert_eq!(error.to_string(), "`max_bytes = 1k`: a whole number, 0 or more");
    }
}
