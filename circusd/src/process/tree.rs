//! The children of a process, read from /proc at the moment they are needed: for signals.
//!
//! Figures about processes come from `sampler`, which reads all of them in one pass.

use procfs::process::Process;

/// The direct children of a process, of all its threads.
pub fn children_of(pid: i32) -> Vec<i32> {
    let Ok(tasks) = Process::new(pid).and_then(|process| process.tasks()) else {
        return Vec::new();
    };
    let children = tasks.flatten().filter_map(|task| task.children().ok()).flatten();
    children.filter_map(|child| i32::try_from(child).ok()).collect()
}

/// All descendants of a process, parents before their children.
pub fn descendants_of(pid: i32) -> Vec<i32> {
    let mut found = children_of(pid);
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        for child in children_of(parent) {
            if !found.contains(&child) {
                found.push(child);
            }
        }
    }
    found
}
