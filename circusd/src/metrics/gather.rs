//! Collects what the page shows: from the watchers, the last sample of /proc, the sockets, the kernel and
//! ourselves. Nothing is counted here; whoever owns a figure counts it.

use super::exposition::{Format, Kind, Page};
use super::lag::LoopLag;
use crate::arbiter::handle::{ArbiterHandle, Roster};
use crate::papa::client::KernelFacts;
use crate::process::sampler::{AllUsage, Sampler, Usage};
use crate::watcher::handle::{Snapshot, WatcherGone};
use crate::watcher::tally::Cause;
use circusctl::stats::socket_table::Traffic;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::time;

/// How long the kernel may take to tell of itself.
const KERNEL_PATIENCE: Duration = Duration::from_secs(2);

/// Collects the page.
pub struct Gatherer {
    arbiter: ArbiterHandle,
    sampler: Sampler,
    lag: LoopLag,
    started: Instant,
}

/// One watcher at the moment of a scrape.
struct Seen {
    name: String,
    snapshot: Snapshot,
    usage: Usage,
}

impl Gatherer {
    /// A gatherer for this daemon, which has just started.
    pub fn new(arbiter: ArbiterHandle, sampler: Sampler) -> Self {
        Self { arbiter, sampler, lag: LoopLag::measure(), started: Instant::now() }
    }

    /// The page of this moment.
    ///
    /// # Errors
    /// The daemon is ending.
    pub async fn page(&self, format: Format) -> Result<String, WatcherGone> {
        let roster = self.arbiter.roster().await?;
        let mut snapshots = Vec::new();
        for watcher in &roster.watchers {
            let snapshot = watcher.inspect().await?;
            snapshots.push((watcher.identity().name.clone(), snapshot));
        }
        let pids = |snapshot: &Snapshot| snapshot.processes.iter().map(|p| p.pid).collect();
        let groups = snapshots.iter().map(|(_, snapshot)| pids(snapshot)).collect();
        let listing = roster.sockets.now().listing();
        let AllUsage { groups, own, sockets } = self.sampler.usage(groups, listing).await;
        let seen: Vec<Seen> = snapshots
            .into_iter()
            .zip(groups)
            .map(|((name, snapshot), usage)| Seen { name, snapshot, usage })
            .collect();
        let kernel = kernel(&roster).await;
        let mut page = Page::new(format);
        self.ourselves(&mut page, own, kernel);
        of_watchers(&mut page, &seen);
        of_sockets(&mut page, &sockets);
        Ok(page.finish())
    }

    fn ourselves(&self, page: &mut Page, own: Usage, kernel: Option<KernelFacts>) {
        use Kind::{Counter, Gauge};
        let version = vec![("version", crate::VERSION)];
        page.add("circus_build_info", Gauge, "The version of circusd.", [(version, 1.0)]);
        let uptime = self.started.elapsed().as_secs_f64();
        page.single("circus_uptime_seconds", Gauge, "Time since circusd was started.", uptime);
        let help = "The longest delay of the event loop within the last minute.";
        page.single("circus_loop_lag_seconds", Gauge, help, self.lag.longest().as_secs_f64());
        let help = "CPU that circusd uses, in cores, since the sample before.";
        page.single("circus_cpu_ratio", Gauge, help, own.cpu);
        let help = "Resident memory of circusd.";
        page.single("circus_resident_memory_bytes", Gauge, help, own.rss as f64);
        page.single("circus_open_fds", Gauge, "Open files of circusd.", own.fds as f64);
        let Some(kernel) = kernel else { return };
        let help = "Resident memory of the papa kernel.";
        page.single("circus_kernel_resident_memory_bytes", Gauge, help, kernel.memory as f64);
        let help = "Time since the papa kernel was started.";
        page.single("circus_kernel_uptime_seconds", Gauge, help, kernel.uptime as f64);
        let help = "Output that the papa kernel had to drop.";
        page.single("circus_kernel_dropped_bytes", Counter, help, kernel.dropped as f64);
    }
}

/// The kernel about itself, if there is one and it answers.
async fn kernel(roster: &Roster) -> Option<KernelFacts> {
    let kernel = roster.kernel.as_ref()?;
    time::timeout(KERNEL_PATIENCE, kernel.facts()).await.ok()?
}

fn of_watchers(page: &mut Page, all: &[Seen]) {
    use Kind::{Counter, Gauge};
    let mut each = |name: &str, kind: Kind, help: &str, value: &dyn Fn(&Seen) -> f64| {
        let sample = |seen| (vec![("watcher", name_of(seen))], value(seen));
        page.add(name, kind, help, all.iter().map(sample));
    };
    let help = "Processes that the watcher wants.";
    each("circus_watcher_processes_wanted", Gauge, help, &|seen| seen.snapshot.desired.into());
    let help = "Processes that run.";
    let running = |seen: &Seen| seen.snapshot.processes.len() as f64;
    each("circus_watcher_processes_running", Gauge, help, &running);
    let help =
        "CPU that the processes and their descendants use, in cores, since the sample before.";
    each("circus_watcher_cpu_ratio", Gauge, help, &|seen| seen.usage.cpu);
    let help = "Resident memory of the processes and their descendants.";
    each("circus_watcher_resident_memory_bytes", Gauge, help, &|seen| seen.usage.rss as f64);
    let help = "Open files of the processes.";
    each("circus_watcher_open_fds", Gauge, help, &|seen| seen.usage.fds as f64);
    let help = "Output of the processes that circusd has read.";
    each("circus_watcher_output_bytes", Counter, help, &|seen| seen.snapshot.counted.output as f64);
    let help = "Output of the processes that was lost before it could be written.";
    let dropped = |seen: &Seen| seen.snapshot.counted.dropped as f64;
    each("circus_watcher_dropped_bytes", Counter, help, &dropped);
    let states = all.iter().flat_map(|seen| {
        ["stopped", "starting", "active", "stopping"].into_iter().map(move |state| {
            let holds = seen.snapshot.status.as_str() == state;
            (vec![("watcher", name_of(seen)), ("status", state)], f64::from(u8::from(holds)))
        })
    });
    page.add("circus_watcher_status", Gauge, "1 for the status that the watcher has.", states);
    let restarts = all.iter().flat_map(|seen| {
        Cause::ALL.into_iter().map(move |cause| {
            let labels = vec![("watcher", name_of(seen)), ("cause", cause.name())];
            (labels, seen.snapshot.counted.restarts(cause) as f64)
        })
    });
    let help = "Processes that were started in the place of another, by the way that one ended.";
    page.add("circus_watcher_restarts", Counter, help, restarts);
}

fn name_of(seen: &Seen) -> &str {
    &seen.name
}

fn of_sockets(page: &mut Page, all: &BTreeMap<String, Traffic>) {
    let sample = |value: fn(&Traffic) -> u64| {
        all.iter().map(move |(name, traffic)| {
            let labels = vec![("socket", name.as_str()), ("address", traffic.address.as_str())];
            (labels, value(traffic) as f64)
        })
    };
    let help = "Connections that wait to be accepted.";
    page.add("circus_socket_backlog", Kind::Gauge, help, sample(|traffic| traffic.backlog));
    let help = "Connections that were accepted and are open.";
    page.add("circus_socket_connections", Kind::Gauge, help, sample(|traffic| traffic.connections));
}
