//! What to do with the processes that the kernel hosts from an earlier circusd: a pure plan.

use crate::process::hosted::wid_of;
use crate::watcher::wid::Wid;
use protocol::papa::ProcessRow;
use std::collections::BTreeMap;

/// Who takes over which process.
#[derive(Debug, PartialEq)]
pub struct Plan {
    /// Processes by the index of their watcher, oldest first.
    pub adopted: BTreeMap<usize, Vec<(Wid, ProcessRow)>>,
    /// Processes of watchers that the configuration does not have.
    pub strangers: Vec<ProcessRow>,
}

/// Assigns every hosted process to one of the watchers (by name) that live in the kernel.
///
/// A name such as `circus.web.api.3` belongs to `web.api` and not to `web`: only a number may follow the
/// watcher's name.
pub fn plan(watchers: &[(usize, &str)], hosted: Vec<ProcessRow>) -> Plan {
    let mut plan = Plan { adopted: BTreeMap::new(), strangers: Vec::new() };
    for row in hosted {
        let owner = watchers
            .iter()
            .find_map(|(index, name)| wid_of(name, &row.name).map(|wid| (*index, wid)));
        match owner {
            Some((index, wid)) => plan.adopted.entry(index).or_default().push((wid, row)),
            None => plan.strangers.push(row),
        }
    }
    for rows in plan.adopted.values_mut() {
        rows.sort_by(|(_, a), (_, b)| a.started.total_cmp(&b.started));
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, started: f64) -> ProcessRow {
        ProcessRow { name: name.to_owned(), started, ..ProcessRow::default() }
    }

    #[test]
    fn processes_go_to_their_watcher_oldest_first() {
        let hosted =
            vec![row("circus.web.1", 9.0), row("circus.web.2", 3.0), row("circus.db.1", 1.0)];
        let plan = plan(&[(0, "Web"), (1, "db")], hosted);
        let wids: Vec<Wid> = plan.adopted[&0].iter().map(|(wid, _)| *wid).collect();
        assert_eq!(wids, [Wid(2), Wid(1)]);
        assert_eq!(plan.adopted[&1].len(), 1);
        assert_eq!(plan.strangers, []);
    }

    #[test]
    fn a_process_of_no_watcher_is_a_stranger() {
        let plan = plan(&[(0, "web")], vec![row("circus.web.api.1", 1.0)]);
        assert!(plan.adopted.is_empty());
        assert_eq!(plan.strangers.len(), 1);
    }
}
