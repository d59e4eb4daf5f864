//! What to do with what an earlier circusd left behind: a pure plan from the configuration, the processes
//! that the kernel hosts and the notes it keeps.
//!
//! | found | plan |
//! | --- | --- |
//! | a process of a watcher that lives in the kernel | the watcher takes it over, running or ended |
//! | a process of a watcher that is gone from the file, was removed, or left the kernel | it is stopped |
//! | a process of a watcher removed with `nostop` | it goes on, and its end is collected |
//! | a process that nobody has noted | a stranger: left alone, since several circusd may share a kernel |
//! | a note about a watcher of the file | what operators changed holds, where the file has not changed since |
//! | a note about an added watcher | it is there again, unless the file has one of its name now |

use crate::config::model::WatcherConfig;
use crate::process::hosted::wid_of;
use crate::watcher::intent::{self, Ending, Note, Origin, Runs};
use crate::watcher::wid::Wid;
use protocol::papa::ProcessRow;
use protocol::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};

/// A watcher to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// With what operators changed.
    pub config: WatcherConfig,
    /// As the file says, or as `add` would begin.
    pub file: WatcherConfig,
    /// Where it comes from.
    pub origin: Origin,
    /// It is to run.
    pub runs: Runs,
    /// Its processes, oldest first.
    pub rows: Vec<(Wid, ProcessRow)>,
    /// Slots whose process was started with other settings than it would be now.
    pub stale: BTreeSet<Wid>,
    /// All that run were.
    redefined: bool,
    /// We have noted something about it before.
    noted: bool,
}

/// Processes whose watcher is gone.
#[derive(Debug, Clone, PartialEq)]
pub struct Leftover {
    /// What is still known of the watcher.
    pub config: WatcherConfig,
    /// Where it came from.
    pub origin: Origin,
    /// Fingerprint of its section, if the file has one.
    pub section: Option<u64>,
    /// The watcher goes on as a child of circusd.
    pub moved: bool,
    /// Its processes.
    pub rows: Vec<(Wid, ProcessRow)>,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Watchers to make, in the order of the file, added ones behind.
    pub watchers: Vec<Planned>,
    /// Processes to end.
    pub leftovers: Vec<Leftover>,
    /// Processes that are nobody's.
    pub strangers: Vec<ProcessRow>,
    /// Watchers, in lower case, whose note means nothing any more. Those with leftovers keep it until these
    /// have ended.
    pub obsolete: Vec<String>,
    /// For the log.
    pub remarks: Vec<String>,
}

/// Makes the plan for the circusd that answers at `owner`.
///
/// A name such as `circus.web.api.3` belongs to `web.api` and not to `web`: only a number may follow the
/// watcher's name.
pub fn plan(
    configured: &[WatcherConfig],
    hosted: Vec<ProcessRow>,
    notes: &[Vec<u8>],
    owner: &str,
) -> Plan {
    let mut plan = Plan::default();
    let mut notes = read(notes, &mut plan.remarks);
    for file in configured {
        let key = file.name.to_lowercase();
        match notes.remove(&key) {
            Some(note) if hides(&note, file) => plan.set_aside(note, Some(intent::section(file))),
            note => {
                let noted = note.as_ref().is_some_and(|note| note.owner == owner);
                let planned = plan.configured(file, note);
                plan.watchers.push(Planned { noted, ..planned });
            }
        }
    }
    for (key, note) in notes.into_iter().filter(|(_, note)| note.owner == owner) {
        match note.origin {
            Origin::Added(_) => {
                let planned = added(&note);
                plan.watchers.push(planned);
            }
            Origin::File | Origin::Removed { .. } => {
                plan.set_aside(note, None);
                plan.obsolete.push(key);
            }
        }
    }
    plan.distribute(hosted);
    plan
}

/// Which of our notes, by the key of the watcher, say nothing once no process is left. None when one of
/// ours says something that must be kept.
pub fn dispensable(notes: &[Vec<u8>], owner: &str) -> Option<Vec<String>> {
    let notes = notes.iter().filter_map(|note| Note::decode(note).ok());
    let ours = notes.filter(|note| note.owner == owner);
    ours.map(|note| note.says_nothing().then(|| note.name.to_lowercase())).collect()
}

/// The notes by key.
fn read(notes: &[Vec<u8>], remarks: &mut Vec<String>) -> BTreeMap<String, Note> {
    let mut read = BTreeMap::new();
    for note in notes {
        match Note::decode(note) {
            Ok(note) => {
                read.insert(note.name.to_lowercase(), note);
            }
            Err(error) => {
                remarks.push(format!("a note in papa about a watcher is not used: {error}"))
            }
        }
    }
    read
}

/// The note says that the section of the file does not count: it was removed, or replaced by an added
/// watcher, and has not been touched since.
fn hides(note: &Note, file: &WatcherConfig) -> bool {
    match note.origin {
        Origin::Removed { section, .. } => section == Some(intent::section(file)),
        Origin::Added(_) | Origin::File => false,
    }
}

fn added(note: &Note) -> Planned {
    let file = WatcherConfig::new(note.name.clone(), "");
    let merged = intent::merge(&file, &note.changes);
    let stale = note.stale.clone();
    let (config, runs, origin) = (merged.config, merged.runs, note.origin);
    let rows = Vec::new();
    Planned { config, file, origin, runs, rows, stale, redefined: false, noted: true }
}

/// What can still be said about a watcher whose configuration is gone.
fn remains(name: &str, ending: Ending) -> WatcherConfig {
    let mut config = WatcherConfig::new(name, "");
    config.use_papa = true;
    config.numprocesses = 0;
    config.stop_signal = Signal::from_number(ending.signal.into()).unwrap_or(Signal::TERM);
    config.graceful_timeout = ending.grace;
    config.stop_children = ending.children;
    config
}

impl Plan {
    fn configured(&mut self, file: &WatcherConfig, note: Option<Note>) -> Planned {
        let fresh = |runs| Planned {
            config: file.clone(),
            file: file.clone(),
            origin: Origin::File,
            runs,
            rows: Vec::new(),
            stale: BTreeSet::new(),
            redefined: false,
            noted: false,
        };
        let Some(note) = note else { return fresh(file.autostart.into()) };
        match note.origin {
            Origin::Added(Some(section)) if section == intent::section(file) => {
                return added(&note);
            }
            Origin::Added(_) => {
                self.remarks.push(format!(
                    "watcher {} was added while circusd ran; the ini file has one of that name now, which is used",
                    file.name
                ));
                let redefined = note.definition != intent::definition(file);
                return Planned { redefined, ..fresh(file.autostart.into()) };
            }
            Origin::Removed { .. } => {
                self.remarks.push(format!(
                    "watcher {} was removed while circusd ran; its section has changed since, so it is there again",
                    file.name
                ));
                return fresh(file.autostart.into());
            }
            Origin::File => {}
        }
        let merged = intent::merge(file, &note.changes);
        let kept: Vec<&str> =
            merged.kept.iter().filter_map(|name| shown(name, merged.runs)).collect();
        if !kept.is_empty() {
            self.remarks.push(format!(
                "watcher {} keeps what was changed while circusd ran: {}",
                file.name,
                kept.join(", ")
            ));
        }
        if !merged.overruled.is_empty() {
            self.remarks.push(format!(
                "watcher {}: the ini file has changed, so what it says replaces what was set before: {}",
                file.name,
                merged.overruled.join(", ")
            ));
        }
        let redefined = note.definition != intent::definition(&merged.config);
        let (config, stale) = (merged.config, note.stale);
        Planned { config, stale, redefined, ..fresh(merged.runs) }
    }

    /// Processes of this watcher have no place any more.
    fn set_aside(&mut self, note: Note, section: Option<u64>) {
        let config = remains(&note.name, note.ending);
        let origin = note.origin;
        let rows = Vec::new();
        self.leftovers.push(Leftover { config, origin, section, moved: false, rows });
    }

    /// Gives every process to its watcher.
    fn distribute(&mut self, hosted: Vec<ProcessRow>) {
        for row in hosted {
            let of = |name: &str| wid_of(name, &row.name);
            let owner = self.watchers.iter_mut().find_map(|w| Some((of(&w.config.name)?, w)));
            match owner {
                Some((wid, watcher)) if watcher.config.use_papa => {
                    watcher.rows.push((wid, row));
                    continue;
                }
                Some((wid, watcher)) if watcher.noted => {
                    let name = watcher.config.name.clone();
                    let ending = intent::ending(&watcher.config);
                    self.strand(&name, ending, wid, row);
                    continue;
                }
                _ => {}
            }
            match self.leftovers.iter_mut().find_map(|l| Some((of(&l.config.name)?, l))) {
                Some((wid, leftover)) => leftover.rows.push((wid, row)),
                None => self.strangers.push(row),
            }
        }
        for watcher in &mut self.watchers {
            watcher.rows.sort_by(|(_, a), (_, b)| a.started.total_cmp(&b.started));
            let running = watcher.rows.iter().filter(|(_, row)| row.running);
            let running: BTreeSet<Wid> = running.map(|(wid, _)| *wid).collect();
            if watcher.redefined {
                watcher.stale = running;
            } else {
                watcher.stale.retain(|wid| running.contains(wid));
            }
        }
        self.leftovers.retain(|leftover| !leftover.rows.is_empty());
        let ending: BTreeSet<String> =
            self.leftovers.iter().map(|leftover| leftover.config.name.to_lowercase()).collect();
        self.obsolete.retain(|key| !ending.contains(key));
    }

    /// A process of a watcher that does not live in the kernel any more.
    fn strand(&mut self, name: &str, ending: Ending, wid: Wid, row: ProcessRow) {
        let found = self.leftovers.iter_mut().find(|leftover| leftover.config.name == name);
        if let Some(leftover) = found {
            leftover.rows.push((wid, row));
            return;
        }
        let (config, origin) = (remains(name, ending), Origin::File);
        let rows = vec![(wid, row)];
        self.leftovers.push(Leftover { config, origin, section: None, moved: true, rows });
    }
}

/// `autostart` is how a note says that a watcher was started or stopped.
fn shown(name: &str, runs: Runs) -> Option<&str> {
    match (name, runs) {
        ("autostart", Runs::Yes) => Some("started"),
        ("autostart", Runs::No) => Some("stopped"),
        ("autostart", Runs::Begun) => None,
        (name, _) => Some(name),
    }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
