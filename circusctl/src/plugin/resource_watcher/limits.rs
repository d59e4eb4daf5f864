//! Which limits processes pass, and whether they have passed one too often in a row.
//!
//! No clock and no I/O.

/// A limit of memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Memory {
    /// Percent of the machine's memory.
    Percent(f64),
    /// Bytes.
    Bytes(u64),
}

impl Memory {
    /// No memory at all.
    pub(super) fn is_zero(self) -> bool {
        match self {
            Self::Percent(percent) => percent == 0.0,
            Self::Bytes(bytes) => bytes == 0,
        }
    }
}

/// The limits; what has none is not looked at.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Limits {
    /// Percent of one core that no process may use more of.
    pub(super) max_cpu: Option<f64>,
    /// Percent of one core that every process must use more of.
    pub(super) min_cpu: Option<f64>,
    /// Resident memory that no process may use more of.
    pub(super) max_mem: Option<Memory>,
    /// Resident memory that no process may use less of.
    pub(super) min_mem: Option<Memory>,
    /// What the mean of the largest share of a core and of memory may not pass.
    pub(super) health: Option<f64>,
}

/// What one process uses, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Usage {
    /// Percent of one core.
    pub(super) cpu: Option<f64>,
    /// Percent of the machine's memory.
    pub(super) share: Option<f64>,
    /// Resident memory in bytes.
    pub(super) bytes: Option<u64>,
}

/// A limit that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breach {
    OverCpu,
    UnderCpu,
    OverMemory,
    UnderMemory,
    OverHealth,
}

impl Breach {
    /// Its name in metrics.
    pub(super) fn metric(self) -> &'static str {
        match self {
            Self::OverCpu => "over_cpu",
            Self::UnderCpu => "under_cpu",
            Self::OverMemory => "over_memory",
            Self::UnderMemory => "under_memory",
            Self::OverHealth => "over_health",
        }
    }
}

impl Limits {
    /// The limits that these processes pass: the largest of them those from above, the smallest those from
    /// below. Nobody passes none.
    pub(super) fn breaches(&self, usages: &[Usage]) -> Vec<Breach> {
        let most = |of: fn(&Usage) -> Option<f64>| usages.iter().filter_map(of).reduce(f64::max);
        let least = |of: fn(&Usage) -> Option<f64>| usages.iter().filter_map(of).reduce(f64::min);
        let bytes = || usages.iter().filter_map(|usage| usage.bytes);
        let cpu = |usage: &Usage| usage.cpu;
        let share = |usage: &Usage| usage.share;
        let over = |value: Option<f64>, limit: f64| value.is_some_and(|value| value > limit);
        let mut found = Vec::new();
        let mut note = |breach: Breach, is_passed: bool| found.extend(is_passed.then_some(breach));
        note(Breach::OverCpu, self.max_cpu.is_some_and(|limit| over(most(cpu), limit)));
        // At the limit counts, as in the original: `min_cpu = 0` finds those who do nothing.
        let idle = |limit: f64| least(cpu).is_some_and(|cpu| cpu <= limit);
        note(Breach::UnderCpu, self.min_cpu.is_some_and(idle));
        let is_large = match self.max_mem {
            Some(Memory::Percent(limit)) => over(most(share), limit),
            Some(Memory::Bytes(limit)) => bytes().max().is_some_and(|bytes| bytes > limit),
            None => false,
        };
        note(Breach::OverMemory, is_large);
        let is_small = match self.min_mem {
            Some(Memory::Percent(limit)) => least(share).is_some_and(|share| share < limit),
            Some(Memory::Bytes(limit)) => bytes().min().is_some_and(|bytes| bytes < limit),
            None => false,
        };
        note(Breach::UnderMemory, is_small);
        let load = most(cpu).zip(most(share)).map(|(cpu, share)| f64::midpoint(cpu, share));
        note(Breach::OverHealth, self.health.is_some_and(|limit| over(load, limit)));
        found
    }
}

/// How often in a row each limit was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts([u32; 5]);

impl Counts {
    /// Takes the breaches of one look. True when one of them has been there more than `most` times in a row;
    /// all are then counted from 0 again.
    pub(super) fn add(&mut self, breaches: &[Breach], most: u32) -> bool {
        let all = [
            Breach::OverCpu,
            Breach::UnderCpu,
            Breach::OverMemory,
            Breach::UnderMemory,
            Breach::OverHealth,
        ];
        for (count, breach) in self.0.iter_mut().zip(all) {
            *count = if breaches.contains(&breach) { count.saturating_add(1) } else { 0 };
        }
        let enough = self.0.iter().any(|count| *count > most);
        if enough {
            *self = Self::default();
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(cpu: f64, share: f64, bytes: u64) -> Usage {
        Usage { cpu: Some(cpu), share: Some(share), bytes: Some(bytes) }
    }

    #[test]
    fn the_largest_passes_limits_from_above_and_the_smallest_those_from_below() {
        let both = [usage(95.0, 1.0, 100), usage(0.0, 20.0, 2000)];
        let all = Limits {
            max_cpu: Some(90.0),
            min_cpu: Some(0.0),
            max_mem: Some(Memory::Percent(19.0)),
            min_mem: Some(Memory::Bytes(101)),
            health: Some(57.0),
        };
        let expected = [
            Breach::OverCpu,
            Breach::UnderCpu,
            Breach::OverMemory,
            Breach::UnderMemory,
            Breach::OverHealth,
        ];
        assert_eq!(all.breaches(&both), expected);
        let other = Limits {
            max_cpu: Some(95.0),
            min_cpu: None,
            max_mem: Some(Memory::Bytes(2000)),
            min_mem: Some(Memory::Percent(1.0)),
            health: Some(57.5),
        };
        assert_eq!(other.breaches(&both), [], "at the limit is not beyond it");
        assert_eq!(Limits::default().breaches(&both), []);
    }

    #[test]
    fn nobody_and_the_unknown_pass_no_limit() {
        let all = Limits {
            max_cpu: Some(0.5),
            min_cpu: Some(100.0),
            max_mem: Some(Memory::Percent(0.0)),
            min_mem: Some(Memory::Percent(100.0)),
            health: Some(0.0),
        };
        assert_eq!(all.breaches(&[]), []);
        assert_eq!(all.breaches(&[Usage::default()]), []);
    }

    #[test]
    fn once_more_than_the_count_in_a_row_is_enough() {
        let mut counts = Counts::default();
        let cpu = [Breach::OverCpu];
        assert!(!counts.add(&cpu, 2) && !counts.add(&cpu, 2));
        assert!(!counts.add(&[Breach::OverMemory], 2), "another limit begins anew");
        assert!(!counts.add(&cpu, 2) && !counts.add(&cpu, 2));
        assert!(counts.add(&cpu, 2));
        assert!(!counts.add(&cpu, 2) && !counts.add(&cpu, 2) && counts.add(&cpu, 2));
        assert!(counts.add(&cpu, 0));
    }
}
