//! The thread that reads /proc for `stats` and `dstats`, so that nobody waits for it but who asked.
//!
//! It owns one sample of all processes. A request is answered from it for as long as it is recent, so that
//! many clients cost as much as one and do not spoil each other's CPU figures; a request may insist on a
//! fresh one.

use circusctl::stats::info::{Figure, Info};
use circusctl::stats::process_table::ProcessTable;
use circusctl::stats::socket_table::{Listener, SocketTable, Traffic};
use papa_spawn::sys::set_time_slice;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

/// What stands in place of a process that is gone.
pub const GONE: &str = "No such process (stopped?)";

/// Requests that may wait.
const QUEUE: usize = 64;

/// Added to the nice value (nice(2)). On a busy machine it still gets a third of what others get.
const NICE: i32 = 5;

/// A sample is recent for so long.
const RECENT: Duration = Duration::from_secs(1);

/// A process to be told about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Subject {
    /// Its pid.
    pub pid: i32,
    /// Its slot.
    pub wid: u32,
    /// When it was spawned, in seconds since the epoch.
    pub started: f64,
}

/// What processes use, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Cores, since the sample before; descendants included.
    pub cpu: f64,
    /// Resident memory in bytes; descendants included.
    pub rss: u64,
    /// Open files, as far as we may look.
    pub fds: u64,
}

/// The answer to [`Sampler::usage`].
#[derive(Debug, Default)]
pub struct AllUsage {
    /// That of each group.
    pub groups: Vec<Usage>,
    /// That of circusd itself, without its children.
    pub own: Usage,
    /// What happens at the sockets, by name.
    pub sockets: BTreeMap<String, Traffic>,
}

/// How recent the figures have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The last sample will do, if it is not older than a second.
    Recent,
    /// Of this moment.
    Now,
}

enum Ask {
    Groups {
        groups: Vec<Vec<Subject>>,
        freshness: Freshness,
        reply: oneshot::Sender<Vec<Map<String, Value>>>,
    },
    Own(oneshot::Sender<Option<Value>>),
    Usage {
        groups: Vec<Vec<i32>>,
        listing: Vec<Value>,
        reply: oneshot::Sender<AllUsage>,
    },
}

/// A handle on the thread; clones share it.
#[derive(Clone)]
pub struct Sampler {
    asks: mpsc::Sender<Ask>,
}

impl Sampler {
    /// Starts the thread. Without one nothing is known about any process.
    pub fn start() -> Self {
        let (asks, inbox) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new().name("sampler".to_owned());
        if let Err(error) = thread.spawn(move || run(inbox)) {
            warn!("no stats can be had: cannot make a thread: {error}");
        }
        Self { asks }
    }

    /// The info objects of groups of processes by pid, with slot, spawn time and direct children.
    pub async fn groups(
        &self,
        groups: Vec<Vec<Subject>>,
        freshness: Freshness,
    ) -> Vec<Map<String, Value>> {
        let count = groups.len();
        let (reply, answer) = oneshot::channel();
        if self.asks.send(Ask::Groups { groups, freshness, reply }).await.is_err() {
            return vec![Map::new(); count];
        }
        answer.await.unwrap_or_else(|_| vec![Map::new(); count])
    }

    /// What groups of processes, circusd and the sockets of a `listsockets` answer use.
    pub async fn usage(&self, groups: Vec<Vec<i32>>, listing: Vec<Value>) -> AllUsage {
        let (reply, answer) = oneshot::channel();
        if self.asks.send(Ask::Usage { groups, listing, reply }).await.is_err() {
            return AllUsage::default();
        }
        answer.await.unwrap_or_default()
    }

    /// The info object of circusd itself, without children.
    pub async fn own(&self) -> Option<Value> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::Own(reply)).await.ok()?;
        answer.await.ok()?
    }
}

fn run(mut inbox: mpsc::Receiver<Ask>) {
    // Whoever answers commands goes first; see `daemon` for what it has.
    let yielding = set_time_slice(None).and_then(|()| Ok(rustix::process::nice(NICE).map(drop)?));
    if let Err(error) = yielding {
        debug!("reading /proc may hold up commands: {error}");
    }
    let mut table = ProcessTable::default();
    // So that the first request already has CPU figures.
    table.scan();
    while let Some(ask) = inbox.blocking_recv() {
        let answered = catch_unwind(AssertUnwindSafe(|| answer(&mut table, ask)));
        if answered.is_err() {
            table = ProcessTable::default();
        }
    }
}

/// Everything that grows with the number of processes happens here.
fn answer(table: &mut ProcessTable, ask: Ask) {
    match ask {
        Ask::Groups { groups, freshness, reply } => {
            refresh(table, freshness, groups.iter().flatten().map(|subject| subject.pid));
            let infos = groups
                .iter()
                .map(|group| {
                    // As the pass over all processes does.
                    thread::yield_now();
                    tell(table, group)
                })
                .collect();
            // The asker may have given up.
            let _ = reply.send(infos);
        }
        Ask::Usage { groups, listing, reply } => {
            refresh(table, Freshness::Recent, groups.iter().flatten().copied());
            let _ = reply.send(usage(table, &groups, &listing));
        }
        Ask::Own(reply) => {
            refresh(table, Freshness::Recent, std::iter::empty());
            let own = i32::try_from(std::process::id()).ok();
            let info = own.and_then(|pid| table.info(pid, 0));
            let _ = reply.send(info.and_then(|info| serde_json::to_value(info).ok()));
        }
    }
}

fn usage(table: &mut ProcessTable, groups: &[Vec<i32>], listing: &[Value]) -> AllUsage {
    let mut of_group = |pids: &Vec<i32>| {
        let mut all = Usage::default();
        for pid in pids {
            let (percent, rss) = table.usage(*pid, true);
            all.cpu += percent / 100.0;
            all.rss += rss;
            all.fds += open_files(*pid);
        }
        all
    };
    let groups = groups.iter().map(&mut of_group).collect();
    let pid = i32::try_from(std::process::id()).unwrap_or(0);
    let (percent, rss) = table.usage(pid, false);
    let own = Usage { cpu: percent / 100.0, rss, fds: open_files(pid) };
    let listeners = listing.iter().filter_map(|entry| {
        let name = entry.get("name").and_then(Value::as_str)?;
        Some((name.to_owned(), Listener::from_listing(entry)?))
    });
    let (names, listeners): (Vec<String>, Vec<Listener>) = listeners.unzip();
    let fds: Vec<i64> = listeners.iter().map(|listener| listener.fd).collect();
    let mut sockets = SocketTable::default();
    sockets.follow(listeners);
    let named = sockets.look().into_iter().filter_map(|traffic| {
        let at = fds.iter().position(|fd| *fd == traffic.fd)?;
        Some((names.get(at)?.clone(), traffic))
    });
    AllUsage { groups, own, sockets: named.collect() }
}

/// The number of files that a process has open; 0 for one that has gone or may not be looked at.
fn open_files(pid: i32) -> u64 {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |files| files.count() as u64)
}

/// Takes a new sample if that is asked for, if the last one is old, or if a process is younger than it.
fn refresh(table: &mut ProcessTable, freshness: Freshness, mut pids: impl Iterator<Item = i32>) {
    let recent = table.taken().is_some_and(|taken| taken.elapsed() < RECENT);
    if freshness == Freshness::Now || !recent || !pids.all(|pid| table.has(pid)) {
        table.scan();
    }
}

fn tell(table: &mut ProcessTable, group: &[Subject]) -> Map<String, Value> {
    let mut infos = Map::new();
    for subject in group {
        let told = match table.info(subject.pid, 1) {
            Some(info) => described(subject, info),
            None => json!(GONE),
        };
        infos.insert(subject.pid.to_string(), told);
    }
    infos
}

/// The info object; `age` counts from the spawn.
fn described(subject: &Subject, mut info: Info) -> Value {
    let now = crate::event_bus::epoch_seconds();
    info.age = Figure::Known((now - subject.started).max(0.0));
    // An object of texts and numbers can always be made.
    let mut told = serde_json::to_value(info).unwrap_or_default();
    if let Value::Object(keys) = &mut told {
        keys.insert("started".into(), json!(subject.started));
        keys.insert("wid".into(), json!(subject.wid));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Subject {
        Subject { pid: i32::try_from(std::process::id()).unwrap(), wid: 3, started: 5.0 }
    }

    #[tokio::test]
    async fn a_process_has_every_key_and_one_that_is_gone_a_sentence() {
        let sampler = Sampler::start();
        let gone = Subject { pid: i32::MAX, ..own() };
        let groups = vec![vec![own(), gone], Vec::new()];
        let read = sampler.groups(groups, Freshness::Recent).await;
        let [first, second] = read.as_slice() else { panic!("two groups") };
        let info = first[&own().pid.to_string()].as_object().unwrap();
        let keys: Vec<&str> = info.keys().map(String::as_str).collect();
        let expected = [
            "mem_info1",
            "mem_info2",
            "cpu",
            "mem",
            "ctime",
            "pid",
            "username",
            "nice",
            "create_time",
            "age",
            "cmdline",
            "children",
            "started",
            "wid",
        ];
        assert_eq!(keys, expected);
        assert_eq!((&info["wid"], &info["started"]), (&json!(3), &json!(5.0)));
        assert_eq!(first[&i32::MAX.to_string()], json!(GONE));
        assert!(second.is_empty());
    }

    #[tokio::test]
    async fn a_process_that_is_younger_than_the_sample_is_told_all_the_same() {
        let sampler = Sampler::start();
        sampler.groups(vec![vec![own()]], Freshness::Recent).await;
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let groups = vec![vec![Subject { pid, ..own() }]];
        let read = sampler.groups(groups, Freshness::Recent).await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(read[0][&pid.to_string()]["pid"], json!(pid));
    }

    #[tokio::test]
    async fn circusd_itself_is_told_without_children() {
        let info = Sampler::start().own().await.unwrap();
        assert_eq!(info["pid"], json!(std::process::id()));
        assert_eq!(info["children"], json!([]));
    }
}
