//! All processes of the machine as /proc shows them, taken in one pass, and the pass before for CPU figures.
//!
//! One pass reads one file per process and finds the children of all of them; asking process by process
//! would take four files for each. What changes rarely, the name of the program and the user, is read only
//! for those that are asked about, and once a minute; nearly all of the cost is the kernel's, for each file.
//! Used by circusd-stats and by circusd for `stats`. Blocks while it reads; knows nothing of watchers.

use super::info::{Figure, Info, as_float, cpu_time, human, round};
use procfs::FromRead;
use procfs::process::Stat;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Descendants that are told about one process at most, so that one that forks without end cannot fill our
/// memory.
const MOST_DESCENDANTS: usize = 256;

/// CPU is measured over at least so long; less is noise, because the kernel counts in steps of 10 ms.
const SHORTEST_WINDOW: Duration = Duration::from_millis(90);

/// After so many passes the name and the user of a process are read again; they hardly ever change without
/// the kernel's own name for the process.
const REFRESH: u64 = 60;

/// Stands for the name of a program that has no words.
const NO_PROGRAM: &str = "N/A";

/// After so many passes a process that nobody has asked about is read again. Only its parent matters, and
/// that hardly ever changes; on a busy machine most processes are such.
const REFRESH_OTHERS: u64 = 10;

/// `/proc/PID/stat` is shorter: 52 numbers of at most 20 digits and a name of at most 64 bytes.
const LONGEST_STAT: usize = 2048;

/// After so many processes whoever wants the processor gets it: two tenths of a millisecond. It would else be had at
/// the end of a turn, which is up to 4 ms.
const TURN: usize = 16;

/// What one pass has seen of a process.
struct Seen {
    /// The last pass in which it was there.
    pass: u64,
    /// The last pass in which its file was read.
    read: u64,
    /// Somebody has asked about it.
    wanted: bool,
    parent: i32,
    start: u64,
    ticks: u64,
    collected: u64,
    /// CPU ticks at the end of the last window.
    counted: u64,
    /// Percent of one core in that window.
    cpu: f64,
    rss: u64,
    vsize: u64,
    nice: i64,
    zombie: bool,
    comm: String,
    children: Vec<i32>,
    identity: Option<Identity>,
}

/// What is read only when somebody asks.
struct Identity {
    pass: u64,
    comm: String,
    program: String,
    user: String,
}

/// The machine's own figures, which do not change.
struct Machine {
    ticks_per_second: f64,
    page: u64,
    boot: f64,
    memory: Option<f64>,
}

impl Machine {
    /// When a process was made, in seconds since the epoch.
    fn created(&self, seen: &Seen) -> f64 {
        self.boot + as_float(seen.start) / self.ticks_per_second
    }
}

/// The processes of the machine at one moment.
pub struct ProcessTable {
    machine: Machine,
    processes: HashMap<i32, Seen>,
    users: HashMap<u32, String>,
    pass: u64,
    taken: Option<Instant>,
    /// The end of the last window over which CPU was measured.
    window: Option<Instant>,
}

impl Default for ProcessTable {
    fn default() -> Self {
        let memory =
            procfs::Current::current().ok().map(|memory: procfs::Meminfo| memory.mem_total);
        let machine = Machine {
            ticks_per_second: as_float(procfs::ticks_per_second().max(1)),
            page: procfs::page_size(),
            boot: as_float(procfs::boot_time_secs().unwrap_or(0)),
            memory: memory.filter(|total| *total > 0).map(as_float),
        };
        Self {
            machine,
            processes: HashMap::new(),
            users: HashMap::new(),
            pass: 0,
            taken: None,
            window: None,
        }
    }
}

impl ProcessTable {
    /// When the last pass was.
    pub fn taken(&self) -> Option<Instant> {
        self.taken
    }

    /// Reads all processes. CPU figures are for the time since the pass before, unless that was just now.
    pub fn scan(&mut self) {
        let now = Instant::now();
        let elapsed = self.window.map(|begin| now.duration_since(begin));
        let window = elapsed.filter(|elapsed| *elapsed >= SHORTEST_WINDOW);
        if window.is_some() || self.window.is_none() {
            self.window = Some(now);
        }
        self.taken = Some(now);
        self.pass += 1;
        let mut path = String::new();
        let mut buffer = [0; LONGEST_STAT];
        for (count, pid) in pids().enumerate() {
            if count % TURN == 0 {
                thread::yield_now();
            }
            if self.may_stay(pid) {
                continue;
            }
            if let Some(stat) = read_stat(pid, &mut path, &mut buffer) {
                self.saw(pid, stat, window);
            }
        }
        let pass = self.pass;
        self.processes.retain(|_, seen| seen.pass == pass);
        self.find_children();
    }

    /// Keeps what is known of a process that is there and that nobody has asked about.
    fn may_stay(&mut self, pid: i32) -> bool {
        let pass = self.pass;
        let Some(seen) = self.processes.get_mut(&pid) else { return false };
        if seen.wanted || seen.read + REFRESH_OTHERS <= pass {
            return false;
        }
        seen.pass = pass;
        seen.children.clear();
        true
    }

    /// Sees to it that what is known of a process is of the last pass, now that somebody asks about it.
    fn want(&mut self, pid: i32) -> Option<()> {
        if self.processes.get(&pid)?.wanted {
            return Some(());
        }
        let mut buffer = [0; LONGEST_STAT];
        let stat = read_stat(pid, &mut String::new(), &mut buffer);
        let before = self.processes.remove(&pid)?;
        let stat = stat?;
        // Its CPU is measured from now on: the last reading may be of any time.
        let children = if before.start == stat.starttime { before.children } else { Vec::new() };
        self.saw(pid, stat, None);
        let seen = self.processes.get_mut(&pid)?;
        (seen.wanted, seen.children) = (true, children);
        Some(())
    }

    /// When a process was made, in clock ticks since the machine started; with the pid this names it for
    /// good. None when it has gone.
    pub fn start(&mut self, pid: i32) -> Option<u64> {
        self.want(pid)?;
        self.living(pid).map(|seen| seen.start)
    }

    /// The last pass has seen a process of this number, dead or alive.
    pub fn has(&self, pid: i32) -> bool {
        self.processes.contains_key(&pid)
    }

    /// What the last pass has seen of a process and its children, with `depth` generations of them. None
    /// when it had gone.
    pub fn info(&mut self, pid: i32, depth: usize) -> Option<Info> {
        let mut left = MOST_DESCENDANTS;
        self.info_within(pid, depth, &mut left)
    }

    /// Percent of one core and bytes of resident memory of a process, with those of its descendants if
    /// wanted, as the last pass has seen them. Nothing for one that had gone.
    pub fn usage(&mut self, pid: i32, with_descendants: bool) -> (f64, u64) {
        let (mut cpu, mut rss) = (0.0, 0);
        let mut todo = vec![pid];
        let mut left = MOST_DESCENDANTS;
        while let Some(pid) = todo.pop() {
            let _ = self.want(pid);
            let Some(seen) = self.processes.get(&pid) else { continue };
            if !seen.zombie {
                cpu += seen.cpu;
                rss += seen.rss;
            }
            if with_descendants {
                let taken = seen.children.iter().take(left);
                left -= taken.len();
                todo.extend(taken);
            }
        }
        (cpu, rss)
    }

    fn info_within(&mut self, pid: i32, depth: usize, left: &mut usize) -> Option<Info> {
        self.identify(pid)?;
        let children = match depth {
            0 => Vec::new(),
            _ => self.living(pid)?.children.clone(),
        };
        let mut told = Vec::with_capacity(children.len().min(*left));
        for child in children {
            if *left == 0 {
                break;
            }
            *left -= 1;
            told.extend(self.info_within(child, depth - 1, left));
        }
        self.described(pid, told)
    }

    fn described(&self, pid: i32, children: Vec<Info>) -> Option<Info> {
        let (seen, machine) = (self.living(pid)?, &self.machine);
        let identity = seen.identity.as_ref()?;
        let share = |total: f64| Figure::Known(round(as_float(seen.rss) / total * 100.0, 3));
        let created = machine.created(seen);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64());
        let seconds = as_float(seen.ticks + seen.collected) / machine.ticks_per_second;
        Some(Info {
            mem_info1: human(seen.rss),
            mem_info2: human(seen.vsize),
            cpu: Figure::Known(seen.cpu),
            mem: machine.memory.map_or(Figure::Unknown, share),
            ctime: cpu_time((seconds * 100.0) as u64),
            pid,
            username: identity.user.clone(),
            nice: seen.nice,
            create_time: created,
            age: Figure::Known((now - created).max(0.0)),
            cmdline: identity.program.clone(),
            children,
        })
    }

    fn living(&self, pid: i32) -> Option<&Seen> {
        self.processes.get(&pid).filter(|seen| !seen.zombie)
    }

    /// Takes in what was read of a process; `window` is the time over which CPU is measured, if it is.
    fn saw(&mut self, pid: i32, stat: Stat, window: Option<Duration>) {
        let ticks = stat.utime + stat.stime;
        let last = self.processes.remove(&pid).filter(|last| last.start == stat.starttime);
        let (counted, cpu) = match (&last, window) {
            (Some(last), Some(window)) => {
                let used = as_float(ticks.saturating_sub(last.counted));
                let seconds = used / self.machine.ticks_per_second;
                (ticks, round(seconds / window.as_secs_f64() * 100.0, 1))
            }
            (Some(last), None) => (last.counted, last.cpu),
            (None, _) => (ticks, 0.0),
        };
        let seen = Seen {
            pass: self.pass,
            read: self.pass,
            wanted: last.as_ref().is_some_and(|last| last.wanted),
            parent: stat.ppid,
            start: stat.starttime,
            ticks,
            collected: u64::try_from(stat.cutime + stat.cstime).unwrap_or(0),
            counted,
            cpu,
            rss: stat.rss.saturating_mul(self.machine.page),
            vsize: stat.vsize,
            nice: stat.nice,
            zombie: matches!(stat.state, 'Z' | 'X'),
            comm: stat.comm,
            children: Vec::new(),
            identity: last.and_then(|last| last.identity),
        };
        self.processes.insert(pid, seen);
    }

    fn find_children(&mut self) {
        let mut pairs: Vec<(i32, i32)> =
            self.processes.iter().map(|(pid, seen)| (seen.parent, *pid)).collect();
        pairs.sort_unstable();
        for (parent, child) in pairs {
            if let Some(parent) = self.processes.get_mut(&parent) {
                parent.children.push(child);
            }
        }
    }

    /// Sees to it that name and user of a process are known and not old.
    fn identify(&mut self, pid: i32) -> Option<()> {
        self.want(pid)?;
        let pass = self.pass;
        let seen = self.living(pid)?;
        let fresh = |known: &Identity| {
            // A process that is just becoming its program has no words yet.
            let whole = known.comm == seen.comm && known.program != NO_PROGRAM;
            whole && known.pass + REFRESH > pass
        };
        if seen.identity.as_ref().is_some_and(fresh) {
            return Some(());
        }
        let comm = seen.comm.clone();
        let created = self.machine.created(seen);
        let user = real_user(pid).map_or_else(|| "N/A".to_owned(), |uid| self.user(uid));
        let identity = Identity { pass, comm, program: program(pid, created), user };
        self.processes.get_mut(&pid)?.identity = Some(identity);
        Some(())
    }

    fn user(&mut self, uid: u32) -> String {
        self.users.entry(uid).or_insert_with(|| user_name(uid)).clone()
    }
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn read_stat(pid: i32, path: &mut String, buffer: &mut [u8]) -> Option<Stat> {
    use std::fmt::Write as _;
    path.clear();
    write!(path, "/proc/{pid}/stat").ok()?;
    // The kernel gives such a file whole to the first read that has room for it.
    let length = File::open(&*path).ok()?.read(buffer).ok()?;
    Stat::from_read(buffer.get(..length)?).ok()
}

/// The base name of the first word of argv[0].
///
/// Whoever started a process goes on before the new program has its words, since the kernel writes them last, and
/// nothing tells when it has. So one that is younger than some seconds and has none is looked at for a millisecond more.
fn program(pid: i32, created: f64) -> String {
    const LOOKS: u32 = 10;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut looks = if now - created < 2.0 { LOOKS } else { 1 };
    let argv = loop {
        let argv = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        looks -= 1;
        if looks == 0 || !argv.is_empty() {
            break argv;
        }
        thread::sleep(Duration::from_millis(1) / LOOKS);
    };
    let first = argv.split(|byte| *byte == 0).next().unwrap_or_default();
    let first = String::from_utf8_lossy(first);
    let word = first.split_whitespace().next().unwrap_or_default();
    let base = word.rsplit('/').next().unwrap_or_default();
    if base.is_empty() { NO_PROGRAM.to_owned() } else { base.to_owned() }
}

/// The real user of a process. The owner of its directory in /proc will not do: that is root for one that
/// may not be traced.
fn real_user(pid: i32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The name of a user, or its number.
fn user_name(uid: u32) -> String {
    let found = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    found.map_or_else(|| uid.to_string(), |user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn own_pid() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn a_process_is_told_with_its_children_and_theirs_as_deep_as_asked() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 100 & read line; kill $!"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let mut table = ProcessTable::default();
        // The shell has its child a moment after its start.
        let grandchildren = |table: &mut ProcessTable| {
            table.scan();
            table.info(pid, 2).map_or(0, |info| info.children.len())
        };
        while grandchildren(&mut table) == 0 {}
        let own = table.info(own_pid(), 2).unwrap();
        let shell = own.children.iter().find(|info| info.pid == pid).unwrap();
        assert_eq!(shell.cmdline, "sh");
        assert_eq!(shell.children.len(), 1);
        assert_eq!(
            table
                .info(own_pid(), 1)
                .unwrap()
                .children
                .iter()
                .find(|info| info.pid == pid)
                .unwrap()
                .children,
            []
        );
        assert_eq!(table.info(pid, 0).unwrap().children, []);
        drop(child.stdin.take());
        child.wait().unwrap();
        table.scan();
        assert_eq!(table.info(pid, 1), None, "it has gone");
        assert_eq!(table.start(pid), None);
    }

    #[test]
    fn cpu_is_that_of_the_time_between_two_passes() {
        let mut table = ProcessTable::default();
        table.scan();
        assert_eq!(table.info(own_pid(), 0).unwrap().cpu, Figure::Known(0.0));
        let begin = table.processes[&own_pid()].ticks;
        // Burn until the kernel has counted ten ticks, however long that takes here.
        let started = Instant::now();
        let busy = || {
            let mut buffer = [0; LONGEST_STAT];
            let stat = read_stat(own_pid(), &mut String::new(), &mut buffer).unwrap();
            stat.utime + stat.stime < begin + 10 || started.elapsed() < SHORTEST_WINDOW
        };
        while busy() {}
        table.scan();
        let cpu = table.info(own_pid(), 0).unwrap().cpu.known().unwrap();
        assert!(cpu > 0.0, "{cpu}");
        table.scan();
        let again = table.info(own_pid(), 0).unwrap().cpu.known().unwrap();
        assert!(again > 0.0, "another pass right after does not spoil the figure: {again}");
    }

    #[test]
    fn a_process_is_up_to_date_when_it_is_asked_about_for_the_first_time() {
        let mut table = ProcessTable::default();
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        table.scan();
        child.kill().unwrap();
        // A zombie of ours keeps its number.
        let dead =
            || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") Z ");
        while !dead() {}
        table.scan();
        assert!(table.has(pid));
        assert_eq!(
            table.info(pid, 0),
            None,
            "the pass has kept what it knew, the question has not"
        );
        child.wait().unwrap();
        assert_eq!(table.start(pid), None);
    }

    #[test]
    fn our_own_user_and_program_are_known() {
        let mut table = ProcessTable::default();
        table.scan();
        let info = table.info(own_pid(), 0).unwrap();
        assert_ne!(info.username, "N/A");
        assert_ne!(info.cmdline, "N/A");
        assert!(info.mem.known().is_some_and(|mem| mem > 0.0));
        assert!(info.age.known().is_some_and(|age| age < 1e6));
    }
}
