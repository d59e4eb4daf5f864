//! What is about to be written where, as it is noted before the write.

use std::fs::Metadata;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

/// Which file it is, whatever it is called now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
    /// When it was made, in nanoseconds since the epoch. An inode number is used again for another file, so
    /// where the file system does not tell this, the file cannot be known for certain.
    born: Option<u64>,
}

impl FileId {
    /// The identity of an open file, or of what is at a path.
    pub fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let born = born.and_then(|since| u64::try_from(since.as_nanos()).ok());
        let born = born.filter(|born| *born != 0);
        Self { device: metadata.dev(), inode: metadata.ino(), born }
    }

    /// Whether another file cannot be taken for it.
    pub fn is_certain(&self) -> bool {
        self.born.is_some()
    }
}

/// A write that is about to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// What the file is called at that moment.
    pub path: PathBuf,
    /// The file.
    pub file: FileId,
    /// Where in the file the write begins, in bytes.
    pub offset: u64,
    /// How many bytes it has.
    pub length: u64,
    /// [`fingerprint`] of the bytes.
    pub fingerprint: u64,
    /// The offset in the output of the process up to which the file holds everything afterwards.
    pub mark: u64,
}

impl Intent {
    /// The fields as words, the path last.
    pub fn print(&self, out: &mut Vec<u8>) {
        let Self { file, offset, length, fingerprint, mark, .. } = self;
        let FileId { device, inode, born } = *file;
        let born = born.unwrap_or(0);
        let text = format!("{mark} {device} {inode} {born} {offset} {length} {fingerprint:x} ");
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(self.path.as_os_str().as_bytes());
    }

    /// Reads what [`Self::print`] wrote.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut words = text.splitn(8, |byte| *byte == b' ');
        let mut word = || std::str::from_utf8(words.next()?).ok();
        let mark = word()?.parse().ok()?;
        let (device, inode) = (word()?.parse().ok()?, word()?.parse().ok()?);
        let born = Some(word()?.parse().ok()?).filter(|born| *born != 0);
        let (offset, length) = (word()?.parse().ok()?, word()?.parse().ok()?);
        let fingerprint = u64::from_str_radix(word()?, 16).ok()?;
        let path = PathBuf::from(std::ffi::OsString::from_vec(words.next()?.to_vec()));
        let file = FileId { device, inode, born };
        Some(Self { path, file, offset, length, fingerprint, mark })
    }
}

/// Tells bytes from others; FNV-1a over words of eight bytes, with a rotation so that high bits count. Kept
/// in notes that another version reads, so it never changes.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(PRIME).rotate_left(29);
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(BASIS, |sum, word| mix(sum, u64::from_le_bytes(*word)));
    rest.iter().fold(mix(sum, bytes.len() as u64), |sum, byte| mix(sum, u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_survives_with_any_path() {
        let metadata = std::fs::metadata("/").unwrap();
        let path = PathBuf::from(std::ffi::OsString::from_vec(b"/var/log/a b\xff\n.log".to_vec()));
        for born in [None, Some(7)] {
            let file = FileId { born, ..FileId::of(&metadata) };
            let path = path.clone();
            let intent =
                Intent { path, file, offset: 1, length: 2, fingerprint: u64::MAX, mark: 3 };
            let mut text = Vec::new();
            intent.print(&mut text);
            assert_eq!(Intent::parse(&text), Some(intent));
        }
        assert_eq!(Intent::parse(b"1 2 3"), None);
    }

    #[test]
    fn fingerprints_do_not_change() {
        assert_eq!(fingerprint(b"tick\n"), 0xa8b8f7a609b8adbf);
        assert_ne!(fingerprint(b""), fingerprint(b"\0"));
        assert_ne!(fingerprint(b"12345678"), fingerprint(b"12345678\0"));
    }
}
