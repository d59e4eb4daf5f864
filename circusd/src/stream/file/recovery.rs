//! Finding out whether a write happened that was noted before its writer died.

use super::super::intent::{FileId, Intent, fingerprint};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// More than one write ever has, in bytes.
const LONGEST: u64 = 256 << 20;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is in the file.
    Written,
    /// Nothing of it is in the file.
    NotWritten,
    /// Nothing of it is in the file any more: a part was, and has been cut off.
    Undone,
    /// The file is not there, or was changed by somebody else.
    Unknown,
}

/// Looks into the file of an intent, which may have been rotated meanwhile. Must be asked before anything
/// else is written to the file.
///
/// # Errors
/// The file cannot be read, or its last part cannot be cut off.
pub fn settle(intent: &Intent) -> io::Result<Outcome> {
    let Some(path) = find(&intent.path, intent.file)? else { return Ok(Outcome::Unknown) };
    let mut file = File::open(&path)?;
    let metadata = file.metadata()?;
    if FileId::of(&metadata) != intent.file {
        return Ok(Outcome::Unknown);
    }
    let (begin, end) = (intent.offset, intent.offset.saturating_add(intent.length));
    if metadata.len() <= begin {
        // Shorter: the same write should have brought other output before this.
        return Ok(Outcome::NotWritten);
    }
    if metadata.len() < end {
        if !intent.file.is_certain() {
            return Ok(Outcome::Unknown);
        }
        File::options().write(true).open(&path)?.set_len(begin)?;
        return Ok(Outcome::Undone);
    }
    if intent.length > LONGEST {
        return Ok(Outcome::Unknown);
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(begin))?;
    file.take(intent.length).read_to_end(&mut bytes)?;
    let same = fingerprint(&bytes) == intent.fingerprint;
    Ok(if same { Outcome::Written } else { Outcome::Unknown })
}

/// Where the file is now: where it was, or beside it under a longer name, as rotation leaves it.
fn find(path: &Path, file: FileId) -> io::Result<Option<PathBuf>> {
    let is_it =
        |path: &Path| fs::metadata(path).is_ok_and(|metadata| FileId::of(&metadata) == file);
    if is_it(path) {
        return Ok(Some(path.to_owned()));
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let longer = entry.file_name().as_encoded_bytes().starts_with(name.as_encoded_bytes());
        if longer && is_it(&entry.path()) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}
