//! What `stats` tells about a process, read from /proc.
//!
//! The keys and their forms are those measured on circus 0.17.2: sizes for people (`2.48M`), CPU in percent
//! since the last look, CPU time as `M:SS.ff`.

use procfs::process::{Process, Stat};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::time::Instant;

/// What stands in place of a process that is gone.
pub const GONE: &str = "No such process (stopped?)";

/// The last CPU reading of a process.
struct Sample {
    ticks: u64,
    at: Instant,
}

/// Takes readings and remembers the last one per process, for CPU figures.
#[derive(Default)]
pub struct Processes {
    samples: HashMap<(i32, u64), Sample>,
    users: HashMap<u32, String>,
    /// How many samples were worth keeping at the last look.
    kept: usize,
}

impl Processes {
    /// The info object of a process with its direct children, or none when it is gone.
    pub fn info(&mut self, pid: i32, with_children: bool) -> Option<Map<String, Value>> {
        let mut info = self.one(pid)?;
        let pids = if with_children { children_of(pid) } else { Vec::new() };
        let children = pids.into_iter().filter_map(|child| self.one(child)).map(Value::Object);
        info.insert("children".into(), Value::Array(children.collect()));
        Some(info)
    }

    /// Forgets the readings of processes that no longer exist.
    pub fn forget_gone(&mut self) {
        // The look costs as much as a reading, so it waits until there is something to gain.
        if self.samples.len() <= 2 * self.kept + 64 {
            return;
        }
        self.samples.retain(|(pid, start), _| {
            Process::new(*pid).and_then(|p| p.stat()).is_ok_and(|stat| stat.starttime == *start)
        });
        self.kept = self.samples.len();
    }

    fn one(&mut self, pid: i32) -> Option<Map<String, Value>> {
        let process = Process::new(pid).ok()?;
        let stat = process.stat().ok()?;
        if stat.state == 'Z' {
            return None;
        }
        let rss = stat.rss.saturating_mul(procfs::page_size());
        let created = start_time(&stat);
        let now = crate::event_bus::epoch_seconds();
        let mut info = Map::new();
        info.insert("pid".into(), json!(pid));
        info.insert("mem_info1".into(), json!(human(rss)));
        info.insert("mem_info2".into(), json!(human(stat.vsize)));
        info.insert("cpu".into(), json!(self.cpu(pid, &stat)));
        info.insert("mem".into(), memory_share(rss));
        info.insert("ctime".into(), json!(cpu_time(&stat)));
        info.insert("username".into(), json!(self.user(process.uid().ok())));
        info.insert("nice".into(), json!(stat.nice));
        info.insert("cmdline".into(), json!(program(&process)));
        info.insert("create_time".into(), json!(created));
        info.insert("age".into(), json!((now - created).max(0.0)));
        Some(info)
    }

    /// Percent of one CPU since the last look; 0 at the first.
    fn cpu(&mut self, pid: i32, stat: &Stat) -> f64 {
        let (ticks, at) = (stat.utime + stat.stime, Instant::now());
        let last = self.samples.insert((pid, stat.starttime), Sample { ticks, at });
        let Some(last) = last else { return 0.0 };
        let elapsed = at.duration_since(last.at).as_secs_f64();
        if elapsed <= 0.0 {
            return 0.0;
        }
        let seconds = as_float(ticks.saturating_sub(last.ticks)) / ticks_per_second();
        (seconds / elapsed * 1000.0).round() / 10.0
    }

    fn user(&mut self, uid: Option<u32>) -> String {
        let Some(uid) = uid else { return "N/A".to_owned() };
        let lookup = || {
            nix::unistd::User::from_uid(uid.into())
                .ok()
                .flatten()
                .map_or_else(|| uid.to_string(), |user| user.name)
        };
        self.users.entry(uid).or_insert_with(lookup).clone()
    }
}

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

/// When the process was started, in seconds since the epoch.
pub fn start_time(stat: &Stat) -> f64 {
    let boot = procfs::boot_time_secs().unwrap_or(0);
    as_float(boot) + as_float(stat.starttime) / ticks_per_second()
}

fn ticks_per_second() -> f64 {
    as_float(procfs::ticks_per_second())
}

#[expect(clippy::cast_precision_loss, reason = "shown to two or three digits")]
fn as_float(number: u64) -> f64 {
    number as f64
}

fn memory_share(rss: u64) -> Value {
    use procfs::Current;
    match procfs::Meminfo::current() {
        Ok(memory) if memory.mem_total > 0 => {
            let percent = as_float(rss) / as_float(memory.mem_total) * 100.0;
            json!((percent * 1000.0).round() / 1000.0)
        }
        Ok(_) | Err(_) => json!("N/A"),
    }
}

/// CPU time of the process and its collected children, as `M:SS.ff`.
fn cpu_time(stat: &Stat) -> String {
    let waited = u64::try_from(stat.cutime + stat.cstime).unwrap_or(0);
    let hertz = procfs::ticks_per_second().max(1);
    let ticks = stat.utime + stat.stime + waited;
    let (seconds, rest) = (ticks / hertz, ticks % hertz);
    format!("{}:{:02}.{:02}", seconds / 60, seconds % 60, rest * 100 / hertz)
}

/// The base name of the first word of argv[0].
fn program(process: &Process) -> String {
    let first = process.cmdline().ok().and_then(|argv| argv.into_iter().next());
    let word = first.as_deref().and_then(|arg| arg.split_whitespace().next()).unwrap_or_default();
    let base = word.rsplit('/').next().unwrap_or_default();
    if base.is_empty() { "N/A".to_owned() } else { base.to_owned() }
}

/// A size for people, as the plugins can parse it back: `512B`, `784.00K`, `2.48M`.
fn human(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = as_float(bytes);
    let mut unit = ' ';
    for next in "KMGTPEZY".chars() {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.2}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(human(512), "512B");
        assert_eq!(human(784 * 1024), "784.00K");
        assert_eq!(human(2_600_000), "2.48M");
        assert_eq!(human(3 << 30), "3.00G");
    }

    #[test]
    fn our_own_process_has_every_key() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let info = Processes::default().info(pid, true).expect("we are alive");
        let keys: Vec<&str> = info.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "pid",
                "mem_info1",
                "mem_info2",
                "cpu",
                "mem",
                "ctime",
                "username",
                "nice",
                "cmdline",
                "create_time",
                "age",
                "children"
            ]
        );
        assert!(info.get("age").and_then(Value::as_f64).is_some_and(|age| age < 1e6));
    }

    #[test]
    fn a_process_that_is_gone_gives_nothing() {
        assert!(Processes::default().info(i32::MAX, true).is_none());
    }
}
