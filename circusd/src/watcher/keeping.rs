//! What a watcher keeps of itself in the kernel, for the circusd that comes after this one.

use super::intent::{self, Note, Origin, Runs};
use super::wid::Wid;
use crate::config::model::WatcherConfig;
use crate::papa::journal::{Journal, Noted};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The memory of one watcher.
pub struct Keeping {
    /// Where the notes go.
    pub journal: Journal,
    /// The endpoint of this circusd.
    pub owner: Arc<str>,
    /// Where the watcher comes from.
    pub origin: Origin,
    /// What the file says, or what `add` begins with.
    pub file: Arc<WatcherConfig>,
    /// It is to run.
    pub runs: Runs,
    /// Slots whose process was started with other settings.
    pub stale: BTreeSet<Wid>,
}

impl Keeping {
    /// Notes what holds now, with so many processes wanted. Nothing is written when nothing has changed.
    pub fn note(&self, config: &WatcherConfig, desired: u32) -> Noted {
        let mut now = config.clone();
        // Negative numbers mean none; what was not changed must not look changed.
        if i64::from(desired) != now.numprocesses.max(0) {
            now.numprocesses = desired.into();
        }
        let removed = matches!(self.origin, Origin::Removed { .. });
        let note = Note {
            name: config.name.clone(),
            owner: self.owner.as_ref().to_owned(),
            origin: self.origin,
            changes: match removed {
                true => BTreeMap::new(),
                false => intent::changes(&self.file, &now, self.runs),
            },
            definition: intent::definition(config),
            stale: self.stale.clone(),
            ending: intent::ending(config),
        };
        // The next circusd must know that hosted processes are ours even when nothing was changed.
        let needed = config.use_papa || !note.says_nothing();
        self.journal.note(&config.name.to_lowercase(), needed.then(|| note.encode()))
    }

    /// Notes that the watcher is removed. With `nostop` its processes go on.
    pub fn note_removal(&mut self, config: &WatcherConfig, nostop: bool) -> Noted {
        let section = match self.origin {
            Origin::File => Some(intent::section(&self.file)),
            Origin::Added(section) | Origin::Removed { section, .. } => section,
        };
        self.origin = Origin::Removed { section, nostop };
        self.note(config, 0)
    }

    /// All processes of a removed watcher have ended: only a section in the file has to be remembered.
    pub fn removed(&self, config: &WatcherConfig) {
        if matches!(self.origin, Origin::Removed { section: None, .. }) {
            // Nobody waits for it; a note that stays means nothing.
            drop(self.journal.note(&config.name.to_lowercase(), None));
        }
    }
}
