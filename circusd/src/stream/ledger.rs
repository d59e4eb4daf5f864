//! How much of the output of a process is dealt with: the note that the kernel keeps for us.
//!
//! ```text
//! note   = "1 " stdout " " stderr [ " " ( "o" | "e" ) " " intent ]
//! ```
//!
//! Both numbers are offsets in what the process has printed, over stdout and stderr together: of that
//! stream, everything before is written (or was lost and said so). Before each write to a file the note also
//! says what is about to be written where; so whoever reads it after our death can look into the file.

use super::intent::Intent;

/// One of the two outputs of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What is dealt with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    stdout: u64,
    stderr: u64,
    intent: Option<(Channel, Intent)>,
}

/// Longer notes are not taken by the kernel, in bytes.
const LONGEST: usize = 4 << 10;

impl Channel {
    /// Both, in the order in which they are written.
    pub const BOTH: [Self; 2] = [Self::Stdout, Self::Stderr];
}

impl Ledger {
    /// Up to where the output of a stream is dealt with.
    pub fn done(&self, channel: Channel) -> u64 {
        match channel {
            Channel::Stdout => self.stdout,
            Channel::Stderr => self.stderr,
        }
    }

    /// Notes that a stream is dealt with up to here, and what is about to be written of it.
    pub fn advance(&mut self, channel: Channel, done: u64, intent: Option<Intent>) {
        let own = match channel {
            Channel::Stdout => &mut self.stdout,
            Channel::Stderr => &mut self.stderr,
        };
        *own = done.max(*own);
        self.intent = intent.map(|intent| (channel, intent));
    }

    /// Everything before this offset is dealt with: the kernel has let go of it.
    pub fn begin_at(&mut self, offset: u64) {
        (self.stdout, self.stderr) = (self.stdout.max(offset), self.stderr.max(offset));
    }

    /// What can be let go of.
    pub fn settled(&self) -> u64 {
        self.stdout.min(self.stderr)
    }

    /// Takes out the write of which it is not known whether it happened.
    pub fn take_intent(&mut self) -> Option<(Channel, Intent)> {
        self.intent.take()
    }

    /// The note.
    pub fn to_note(&self) -> Vec<u8> {
        let numbers = format!("1 {} {}", self.stdout, self.stderr).into_bytes();
        let Some((channel, intent)) = &self.intent else { return numbers };
        let mut note = numbers.clone();
        note.extend_from_slice(if *channel == Channel::Stdout { b" o " } else { b" e " });
        intent.print(&mut note);
        // With a path that does not fit, the write is not noted, and comes again if we die in it.
        if note.len() > LONGEST { numbers } else { note }
    }

    /// Reads a note of ours. `None`: it is somebody else's.
    pub fn from_note(note: &[u8]) -> Option<Self> {
        let mut words = note.splitn(5, |byte| *byte == b' ');
        let mut word = || std::str::from_utf8(words.next()?).ok();
        if word()? != "1" {
            return None;
        }
        let (stdout, stderr) = (word()?.parse().ok()?, word()?.parse().ok()?);
        let channel = match words.next() {
            None => return Some(Self { stdout, stderr, intent: None }),
            Some(b"o") => Channel::Stdout,
            Some(b"e") => Channel::Stderr,
            Some(_) => return None,
        };
        let intent = Intent::parse(words.next()?)?;
        Some(Self { stdout, stderr, intent: Some((channel, intent)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::intent::FileId;
    use std::path::PathBuf;

    fn intent(path: &str) -> Intent {
        let file = FileId::of(&std::fs::metadata("/").unwrap());
        Intent { path: PathBuf::from(path), file, offset: 1, length: 2, fingerprint: 3, mark: 40 }
    }

    #[test]
    fn a_ledger_survives_as_a_note() {
        let mut ledger = Ledger::default();
        ledger.advance(Channel::Stdout, 20, None);
        assert_eq!(ledger.to_note(), b"1 20 0");
        for channel in Channel::BOTH {
            ledger.advance(channel, 30, Some(intent("/a b")));
            assert_eq!(Ledger::from_note(&ledger.to_note()), Some(ledger.clone()));
        }
        assert_eq!((ledger.done(Channel::Stdout), ledger.settled()), (30, 30));
    }

    #[test]
    fn a_note_of_somebody_else_is_none_of_ours() {
        for note in ["", "2 1 1", "1 x 1", "1 1 1 x 1", "1 1 1 o 1 2"] {
            assert_eq!(Ledger::from_note(note.as_bytes()), None, "{note}");
        }
    }

    #[test]
    fn a_note_is_never_too_long_for_the_kernel() {
        let mut ledger = Ledger::default();
        ledger.advance(Channel::Stdout, 20, Some(intent(&"x".repeat(5000))));
        assert_eq!(ledger.to_note(), b"1 20 0");
    }
}
