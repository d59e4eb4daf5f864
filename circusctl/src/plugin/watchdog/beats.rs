//! Who has been silent for how many rounds.
//!
//! ```text
//!          add                 round: silent for more than max_count
//!   ----------------> heard ---------------------------------------> late, and counted from 0 again
//!                       ^ beat                                          |
//!                       +---------------- remove forgets it ------------+
//! ```
//!
//! No clock and no I/O.

use std::collections::BTreeMap;

/// The processes that must send heartbeats.
#[derive(Debug)]
pub(super) struct Beats {
    /// Rounds of silence that are borne.
    patience: u32,
    begun: bool,
    processes: BTreeMap<i32, Process>,
}

#[derive(Debug)]
struct Process {
    watcher: String,
    /// Rounds since the last heartbeat.
    silent: u32,
    /// It was late before.
    again: bool,
}

/// A process that was silent for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Late {
    /// Its pid.
    pub(super) pid: i32,
    /// Its watcher.
    pub(super) watcher: String,
    /// It was late before and is still here, or its end was not heard of.
    pub(super) again: bool,
}

impl Beats {
    /// Bears so many rounds of silence.
    pub(super) fn new(patience: u32) -> Self {
        Self { patience, begun: false, processes: BTreeMap::new() }
    }

    /// All processes that there were have been added; from now on rounds count.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    /// Whether [`begin`](Self::begin) was called.
    pub(super) fn is_begun(&self) -> bool {
        self.begun
    }

    /// A process that must send heartbeats from now on.
    pub(super) fn add(&mut self, pid: i32, watcher: &str) {
        let process = Process { watcher: watcher.to_owned(), silent: 0, again: false };
        self.processes.insert(pid, process);
    }

    /// The process has ended.
    pub(super) fn remove(&mut self, pid: i32) {
        self.processes.remove(&pid);
    }

    /// A heartbeat has come. False if the process is none that must send some.
    pub(super) fn beat(&mut self, pid: i32) -> bool {
        let Some(process) = self.processes.get_mut(&pid) else { return false };
        (process.silent, process.again) = (0, false);
        true
    }

    /// A round is over: gives all who have been silent for too long. They get as much time again.
    pub(super) fn round(&mut self) -> Vec<Late> {
        let mut late = Vec::new();
        for (pid, process) in &mut self.processes {
            process.silent += 1;
            if process.silent > self.patience {
                late.push(Late {
                    pid: *pid,
                    watcher: process.watcher.clone(),
                    again: process.again,
                });
                (process.silent, process.again) = (0, true);
            }
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late(beats: &mut Beats) -> Vec<(i32, bool)> {
        beats.round().into_iter().map(|late| (late.pid, late.again)).collect()
    }

    #[test]
    fn all_who_are_silent_for_more_than_the_count_are_late_in_one_round() {
        let mut beats = Beats::new(3);
        for pid in [7, 8, 9] {
            beats.add(pid, "web");
        }
        for _ in 0..3 {
            assert_eq!(late(&mut beats), []);
            assert!(beats.beat(8));
        }
        assert_eq!(late(&mut beats), [(7, false), (9, false)]);
    }

    #[test]
    fn who_is_late_has_as_long_again_unless_its_end_is_heard_of() {
        let mut beats = Beats::new(0);
        beats.add(7, "web");
        beats.add(8, "web");
        assert_eq!(late(&mut beats), [(7, false), (8, false)]);
        beats.remove(8);
        assert_eq!(late(&mut beats), [(7, true)]);
        assert!(beats.beat(7));
        assert_eq!(late(&mut beats), [(7, false)], "it had come back to life");
    }

    #[test]
    fn a_heartbeat_of_a_stranger_is_told_apart() {
        let mut beats = Beats::new(1);
        assert!(!beats.beat(7));
        beats.add(7, "web");
        assert!(beats.beat(7));
        beats.remove(7);
        assert!(!beats.beat(7));
    }
}
