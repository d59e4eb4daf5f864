//! circusd is killed and upgraded at random moments while its workers print and serve. In the end every line
//! stands once and in its place, no worker has noticed and nobody was refused.
//!
//! The short version runs with all tests. The long one takes its size from `CIRCUS_SOAK`, such as
//! `20,5,300,50,20`: watchers, processes of each, kills, upgrades of circusd, upgrades of the kernel.
//! `CIRCUS_SOAK_NEXT` names a second circusd to upgrade to, and back; without it a copy does.

use crate::load::Load;
use circus_e2e::process;
use circus_e2e::program::{built, circusd, fixture};
use circus_e2e::{Daemon, TestEnv, env::free_port};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

struct Size {
    watchers: usize,
    processes: usize,
    kills: usize,
    upgrades: usize,
    kernel_upgrades: usize,
}

/// A generator that gives the same moments for the same seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

fn sections(env: &TestEnv, size: &Size, port: u16) -> String {
    let mut text = format!(
        "[socket:web]\nhost = 127.0.0.1\nport = {port}\nuse_papa = True\n\
         [watcher:web]\ncmd = {}\nnumprocesses = 2\nuse_papa = True\n\
         [watcher:churn]\ncmd = {}\nnumprocesses = 2\nuse_papa = True\ngraceful_timeout = 0.1\n",
        fixture("serve-fd $(circus.sockets.web)"),
        fixture("ignore-term"),
    );
    for number in 0..size.watchers {
        text.push_str(&format!(
            "[watcher:w{number}]\ncmd = {}\nnumprocesses = {}\nuse_papa = True\n\
             stdout_stream.filename = {}\nstdout_stream.max_bytes = 20000\n\
             stdout_stream.backup_count = 100000\n",
            fixture("numbered 10"),
            size.processes,
            env.path(&format!("w{number}.log")).display()
        ));
        if number % 2 == 0 {
            text.push_str("stdout_stream.time_format = %Y-%m-%d %H:%M:%S\n");
        }
    }
    text
}

/// The text of a watcher's file and its backups, oldest first.
fn text_of(env: &TestEnv, number: usize) -> String {
    loop {
        let files = files_of(env, number);
        let text = files.iter().map(|path| std::fs::read_to_string(path).unwrap_or_default());
        let text = text.collect();
        // Each rotation leaves one file more and moves what had not been read yet.
        if files_of(env, number).len() == files.len() {
            return text;
        }
    }
}

fn files_of(env: &TestEnv, number: usize) -> Vec<PathBuf> {
    let mut files: Vec<(u32, PathBuf)> = std::fs::read_dir(env.directory())
        .expect("the directory")
        .filter_map(|entry| {
            let name = entry.expect("readable").file_name().into_string().ok()?;
            let rest = name.strip_prefix(&format!("w{number}.log"))?;
            let backup = if rest.is_empty() { 0 } else { rest.strip_prefix('.')?.parse().ok()? };
            Some((backup, env.path(&name)))
        })
        .collect();
    files.sort_by_key(|(backup, _)| std::cmp::Reverse(*backup));
    files.into_iter().map(|(_, path)| path).collect()
}

/// Every number of every process once and in order; gives the last of each.
fn check_lines(env: &TestEnv, number: usize) -> BTreeMap<u32, u64> {
    let text = text_of(env, number);
    let complete = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
    let mut last: BTreeMap<u32, u64> = BTreeMap::new();
    for line in complete.lines() {
        // With a time format there is something before it.
        let mut words = line.rsplit(' ');
        let count: u64 = words.next().and_then(|word| word.parse().ok()).expect(line);
        let pid: u32 = words.next().and_then(|word| word.parse().ok()).expect(line);
        let before = last.insert(pid, count).unwrap_or(0);
        assert_eq!(count, before + 1, "w{number}: process {pid} after {before}: `{line}`");
    }
    last
}

fn pids(circusd: &Daemon, size: &Size) -> BTreeSet<i32> {
    let mut all: BTreeSet<i32> = circusd.wait_for_pids("web", 2).into_iter().collect();
    for number in 0..size.watchers {
        all.extend(circusd.wait_for_pids(&format!("w{number}"), size.processes));
    }
    all
}

/// The kernel, as the kernel says.
fn kernel_pid(env: &TestEnv) -> i32 {
    let info = env.kernel().command("info");
    let pid = info.lines().find_map(|line| line.strip_prefix("pid=")?.parse().ok());
    pid.expect("the kernel tells its pid")
}

/// How many files a daemon has opened. All of them are close-on-exec; what is not it has inherited from this program,
/// where other tests run at the same time.
fn open_files(pid: i32) -> usize {
    const CLOEXEC: u32 = 0o2_000_000;
    let own =
        |flags: &str| u32::from_str_radix(flags.trim(), 8).is_ok_and(|all| all & CLOEXEC != 0);
    let files = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("it runs").flatten();
    let infos = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
    infos
        .filter(|info| info.lines().filter_map(|line| line.strip_prefix("flags:")).any(own))
        .count()
}

fn zombies_of(parent: i32) -> usize {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let children = children.unwrap_or_default();
    let pids = children.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok());
    pids.filter(|pid| !process::is_alive(*pid)).count()
}

/// Waits until it is over, whoever answers by then.
fn upgrade(circusd: &Daemon, program: &std::path::Path) {
    let begun = circusd.wait_until("the upgrade can begin", || {
        // Once: a second order would meet the first.
        let reply = circusd.call("upgrade", json!({"program": program}));
        let busy = reply["reason"].as_str().is_some_and(|text| text.contains("already running"));
        (!busy).then_some(reply)
    });
    assert_eq!(begun["status"], "ok", "{begun}");
    let ended = circusd.wait_until("the upgrade has ended", || {
        let reply = circusd.call_again("upgrade", json!({"result": begun["upgrade"]}));
        (reply["pending"] != true).then_some(reply)
    });
    assert_eq!(ended["status"], "ok", "{ended}\n{}", circusd.log());
}

fn soak(size: &Size) {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let seed = u64::from(std::process::id());
    let mut random = Random(seed);
    let port = free_port();
    let mut circusd = env.start(&sections(&env, size, port));
    let workers = pids(&circusd, size);
    let kernel = kernel_pid(&env);
    let (files, own_files) = (open_files(kernel), open_files(pid_of(&circusd)));
    assert!(files > 0 && own_files > 0, "{files} {own_files}");
    let programs = next_programs(&env);
    let kernels = [built("papa-kernel"), env.path("papa-kernel-next")];
    std::fs::copy(&kernels[0], &kernels[1]).expect("there is room");

    let load = Load::on(port, 1);
    let steps = size.kills + size.upgrades + size.kernel_upgrades;
    let (mut upgrades, mut kernel_upgrades) = (0, 0);
    for step in 1..=steps {
        if upgrades * steps < size.upgrades * step {
            upgrade(&circusd, &programs[upgrades % 2]);
            upgrades += 1;
        } else if kernel_upgrades * steps < size.kernel_upgrades * step {
            let program = kernels[kernel_upgrades % 2].display();
            let answer = env.kernel().command(&format!("upgrade {program}"));
            assert!(answer.starts_with("ok "), "{answer}");
            kernel_upgrades += 1;
        } else {
            if random.below(2) == 0 {
                // Something is being started, stopped or replaced when the end comes.
                let _ = circusd.call("reload", json!({"name": "churn"}));
            }
            // Any moment may be the one at which something is lost.
            circusd.lives_for(Duration::from_millis(random.below(300)));
            circusd.kill();
            // Half of them die before they have taken everything over.
            circusd = env.spawn();
            if random.below(2) == 0 {
                circusd.wait_for_answer();
            }
        }
    }
    let now = pids(&circusd, size);
    assert_eq!(now, workers, "seed {seed}: a worker was replaced");
    load.end();

    circusd.wait_for_pids("churn", 2);
    assert_eq!(kernel_pid(&env), kernel, "the kernel is the same process");
    circusd.wait_until("no file is left open that was not open before", || {
        // A worker of `churn` may be ending.
        let (now, own) = (open_files(kernel), open_files(pid_of(&circusd)));
        (now <= files + 4 && own <= own_files + 4).then_some(())
    });
    circusd.wait_until("the kernel has no zombie", || (zombies_of(kernel) == 0).then_some(()));
    let expected = workers.len() + 2 + 2;
    circusd.wait_until("no process is left over", || {
        (env.processes().len() <= expected).then_some(())
    });

    // What has been printed so far has to arrive; then the workers end, and with them the last lines.
    for number in 0..size.watchers {
        let before = check_lines(&env, number);
        circusd.wait_until("more lines come", || {
            let now = check_lines(&env, number);
            before.iter().all(|(pid, last)| now.get(pid) > Some(last)).then_some(())
        });
        assert_eq!(before.len(), size.processes, "w{number}: seed {seed}");
    }
}

fn pid_of(circusd: &Daemon) -> i32 {
    i32::try_from(circusd.pid()).expect("pids fit")
}

/// Two programs to upgrade between.
fn next_programs(env: &TestEnv) -> [PathBuf; 2] {
    let next = std::env::var_os("CIRCUS_SOAK_NEXT").map_or_else(
        || {
            let copy = env.path("circusd-next");
            std::fs::copy(circusd(), &copy).expect("there is room");
            copy
        },
        PathBuf::from,
    );
    [next, circusd()]
}

#[test]
fn kills_and_upgrades_cost_no_line_no_worker_and_no_connection() {
    soak(&Size { watchers: 2, processes: 2, kills: 8, upgrades: 3, kernel_upgrades: 2 });
}

#[test]
#[ignore = "takes as long as CIRCUS_SOAK says"]
fn kills_and_upgrades_by_the_hundred() {
    let size = std::env::var("CIRCUS_SOAK").unwrap_or_else(|_| "20,5,300,50,20".to_owned());
    let numbers: Vec<usize> = size.split(',').map(|part| part.parse().expect("numbers")).collect();
    let numbers: [usize; 5] = numbers.try_into().expect("CIRCUS_SOAK is five numbers");
    let [watchers, processes, kills, upgrades, kernel_upgrades] = numbers;
    soak(&Size { watchers, processes, kills, upgrades, kernel_upgrades });
}
