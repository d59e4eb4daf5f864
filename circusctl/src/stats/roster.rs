//! Who is to be measured: the watchers and their pids, from what circusd lists and from its events.
//!
//! Decides without I/O. A watcher goes by the name that `list` shows, also when an event with the name in its
//! other form (blanks as `_`) is about it.

use protocol::circus::event::topic_name;
use std::collections::BTreeMap;

/// The watchers that are shown as part of the watcher `circus`, or not at all.
pub const OWN_WATCHERS: [&str; 3] = ["circusd", "circushttpd", "circusd-stats"];

/// The watchers and the pids that circusd has told of.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Roster {
    watchers: BTreeMap<String, Vec<Worker>>,
}

/// A process of a watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worker {
    /// Its pid.
    pub pid: i32,
    /// When it was made, in ticks; known once it has been measured.
    pub start: Option<u64>,
}

/// What a roster makes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It has been taken in.
    Noted,
    /// It is about a watcher that is not known: `list` must be asked again.
    Stranger,
}

impl Roster {
    /// Takes the names that `list` has given; what is not among them is forgotten.
    pub fn names(&mut self, names: impl Iterator<Item = String>) {
        let mut old = std::mem::take(&mut self.watchers);
        for name in names.filter(|name| !OWN_WATCHERS.contains(&name.as_str())) {
            let workers = old.remove(&name).unwrap_or_default();
            self.watchers.insert(name, workers);
        }
    }

    /// Takes the pids that `list` has given for a watcher.
    pub fn pids(&mut self, name: &str, pids: &[i32]) {
        let Some(workers) = self.watchers.get_mut(name) else { return };
        let start = |pid: i32| workers.iter().find(|known| known.pid == pid)?.start;
        *workers = pids.iter().map(|pid| Worker { pid: *pid, start: start(*pid) }).collect();
    }

    /// Takes an event of circusd: its topic and the pid in it, if there is one.
    pub fn hear(&mut self, topic: &str, pid: Option<i32>) -> Heard {
        let Some((name, action)) = parts(topic) else { return Heard::Noted };
        if OWN_WATCHERS.contains(&name) {
            return Heard::Noted;
        }
        let Some(workers) = self.watchers.iter_mut().find(|(listed, _)| topic_name(listed) == name)
        else {
            return if action == "remove" { Heard::Noted } else { Heard::Stranger };
        };
        let (listed, workers) = (workers.0.clone(), workers.1);
        match (action, pid) {
            ("spawn", Some(pid)) if !workers.iter().any(|known| known.pid == pid) => {
                workers.push(Worker { pid, start: None });
            }
            ("reap", Some(pid)) => workers.retain(|known| known.pid != pid),
            ("stop", _) => workers.clear(),
            ("remove", _) => drop(self.watchers.remove(&listed)),
            // `kill` only says that a signal was sent; the process may live on for long.
            _ => {}
        }
        Heard::Noted
    }

    /// The watchers and their workers, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Worker])> {
        self.watchers.iter().map(|(name, workers)| (name.as_str(), workers.as_slice()))
    }

    /// Notes when the workers were made, and forgets those whose pid now belongs to another process.
    /// `start` gives the ticks, none for a process that has gone.
    pub fn identify(&mut self, mut start: impl FnMut(i32) -> Option<u64>) {
        for workers in self.watchers.values_mut() {
            workers.retain_mut(|worker| match (worker.start, start(worker.pid)) {
                (Some(known), Some(now)) => known == now,
                (None, now) => {
                    worker.start = now;
                    true
                }
                // It has gone; its `reap` will come.
                (Some(_), None) => true,
            });
        }
    }
}

/// Name and action of `watcher.NAME.ACTION`. The name may have dots.
fn parts(topic: &str) -> Option<(&str, &str)> {
    topic.strip_prefix("watcher.")?.rsplit_once('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(names: &[&str]) -> Roster {
        let mut roster = Roster::default();
        roster.names(names.iter().map(|name| (*name).to_owned()));
        roster
    }

    fn pids(roster: &Roster, name: &str) -> Vec<i32> {
        let found = roster.iter().find(|(listed, _)| *listed == name);
        found.map_or(Vec::new(), |(_, workers)| workers.iter().map(|worker| worker.pid).collect())
    }

    #[test]
    fn events_bring_and_take_pids_whatever_the_name_looks_like() {
        let mut roster = roster(&["my app", "a.b", "circusd-stats"]);
        roster.pids("my app", &[1, 2]);
        assert_eq!(roster.hear("watcher.my_app.spawn", Some(3)), Heard::Noted);
        assert_eq!(roster.hear("watcher.my_app.spawn", Some(3)), Heard::Noted);
        assert_eq!(roster.hear("watcher.my_app.kill", Some(1)), Heard::Noted);
        assert_eq!(pids(&roster, "my app"), [1, 2, 3], "a signal ends nobody");
        roster.hear("watcher.my_app.reap", Some(1));
        assert_eq!(pids(&roster, "my app"), [2, 3]);
        roster.hear("watcher.a.b.spawn", Some(9));
        assert_eq!(pids(&roster, "a.b"), [9]);
        roster.hear("watcher.my_app.stop", None);
        assert!(pids(&roster, "my app").is_empty());
        roster.hear("watcher.a.b.remove", None);
        assert_eq!(roster.iter().count(), 1);
    }

    #[test]
    fn an_unknown_watcher_is_asked_about_but_not_one_of_our_own() {
        let mut roster = roster(&["web"]);
        assert_eq!(roster.hear("watcher.new.spawn", Some(1)), Heard::Stranger);
        assert_eq!(roster.hear("watcher.new.add", None), Heard::Stranger);
        assert_eq!(roster.hear("watcher.new.remove", None), Heard::Noted);
        assert_eq!(roster.hear("watcher.circusd-stats.spawn", Some(1)), Heard::Noted);
        assert_eq!(roster.hear("nonsense", None), Heard::Noted);
    }

    #[test]
    fn a_pid_that_belongs_to_another_process_now_is_forgotten() {
        let mut roster = roster(&["web"]);
        roster.pids("web", &[1, 2, 3]);
        roster.identify(|pid| (pid != 3).then_some(100));
        roster.identify(|pid| match pid {
            1 => Some(100),
            2 => Some(222),
            _ => None,
        });
        assert_eq!(pids(&roster, "web"), [1, 3], "2 is somebody else, 3 was never seen");
    }

    #[test]
    fn what_is_no_longer_listed_is_forgotten_and_the_rest_keeps_its_pids() {
        let mut roster = roster(&["a", "b"]);
        roster.pids("a", &[1]);
        roster.names(["a".to_owned(), "c".to_owned()].into_iter());
        assert_eq!(roster.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(pids(&roster, "a"), [1]);
    }
}
