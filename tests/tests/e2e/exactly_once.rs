//! Output of hosted workers stands in the files exactly once, however often and whenever circusd is killed.

use circus_e2e::process::{Handle, Signal};
use circus_e2e::program::{built, fixture};
use circus_e2e::{Daemon, Gate, PATIENCE, TestEnv, waiting};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Workers that print as they are, with rotation; with prefixes into two files, one of them rotating; and
/// with both outputs into one rotating file.
///
/// A rotation renames all backups, so whoever prints much asks for larger files.
fn sections(pause: u64, scale: u32) -> String {
    let worker = fixture(&format!("both {pause}"));
    let rotating = |stream: &str, size: u32| {
        let size = size * scale;
        format!("{stream}_stream.max_bytes = {size}\n{stream}_stream.backup_count = 100000\n")
    };
    format!(
        "[watcher:raw]\ncmd = {worker}\nuse_papa = True\n\
         stdout_stream.filename = raw.out\nstderr_stream.filename = raw.err\n{}\
         [watcher:prefixed]\ncmd = {worker}\nuse_papa = True\nnumprocesses = 3\n\
         stdout_stream.filename = prefixed.out\nstdout_stream.time_format = %H:%M:%S\n{}\
         stderr_stream.filename = prefixed.err\nstderr_stream.time_format = %H:%M:%S\n\
         [watcher:shared]\ncmd = {worker}\nuse_papa = True\nnumprocesses = 2\n\
         stdout_stream.filename = shared.log\nstdout_stream.time_format = %H:%M:%S\n{}\
         stderr_stream.filename = shared.log\nstderr_stream.time_format = %H:%M:%S\n{}",
        rotating("stdout", 5000),
        rotating("stdout", 20_000),
        rotating("stdout", 10_000),
        rotating("stderr", 10_000),
    )
}

/// The text of a log and its backups, the oldest first.
fn history(env: &TestEnv, name: &str) -> String {
    let mut files: Vec<(u32, PathBuf)> = Vec::new();
    for entry in fs::read_dir(env.directory()).expect("readable") {
        let entry = entry.expect("an entry");
        let found = entry.file_name().into_string().expect("text");
        let Some(rest) = found.strip_prefix(name) else { continue };
        let number = rest.strip_prefix('.').map_or(0, |number| number.parse().expect("a backup"));
        files.push((number, entry.path()));
    }
    files.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    files.iter().map(|(_, path)| fs::read_to_string(path).expect("text")).collect()
}

/// Checks the logs of stopped workers: of each output of each process the numbers from 1 on, once and in
/// order, and no line torn. Returns how many lines there are.
fn check(env: &TestEnv, files: &[&str]) -> usize {
    let mut last: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut count = 0;
    for name in files {
        let text = history(env, name);
        for line in text.split_terminator('\n') {
            let (process, line) = match line.split_once("] | ") {
                Some((prefix, line)) => (prefix.split_once('[').expect("a pid").1, line),
                None => (*name, line),
            };
            let mut words = line.split(' ');
            let output = words.next().expect("an output").to_owned();
            let number = words.next().and_then(|word| word.parse::<u64>().ok());
            assert!(number.is_some(), "a torn line in {name}: {line:?}");
            let number = number.unwrap_or_default();
            let filler = words.next().unwrap_or_default();
            assert_eq!(filler.len() as u64, number * 37 % 90, "a torn line in {name}: {line:?}");
            let process = process.split('.').next().expect("a name").to_owned();
            let known = last.entry((process, output)).or_default();
            assert_eq!(number, *known + 1, "in {name}, after {known}: {line:?}");
            *known = number;
            count += 1;
        }
    }
    count
}

const FILES: [&str; 5] = ["raw.out", "raw.err", "prefixed.out", "prefixed.err", "shared.log"];

/// Stops all workers; the last output of each is written then.
fn stop_all(circusd: &Daemon) {
    circusd.wait_until("all have stopped", || {
        let reply = circusd.call("stop", json!({"waiting": true}));
        (reply["status"] == "ok").then_some(())
    });
}

/// Kills circusd at random moments and starts it again.
fn kill_at_random(rounds: u32, seed: u64, pause: u64, scale: u32) {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let mut circusd = env.start(&sections(pause, scale));
    let mut random = seed;
    let watchers = [("raw", 1), ("prefixed", 3), ("shared", 2)];
    let all = |circusd: &Daemon| watchers.map(|(name, count)| circusd.wait_for_pids(name, count));
    let workers = all(&circusd);
    for round in 0..rounds {
        // Xorshift: the same moments each time, as far as the machine allows.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if round % 8 == 7 {
            // Now and then it gets to the end of what waits.
            circusd.wait_for_answer();
        }
        // Any moment may be the one at which something is lost.
        circusd.lives_for(Duration::from_micros(random % 150_000));
        circusd.kill();
        circusd = env.spawn();
    }
    assert_eq!(all(&circusd), workers, "no worker was replaced");
    stop_all(&circusd);
    let lines = check(&env, &FILES);
    assert!(lines > 1000, "{lines} lines");
}

#[test]
fn lines_are_written_once_when_circusd_is_killed_at_random() {
    kill_at_random(25, 0x5eed, 2000, 1);
}

/// `KILLS` and `SEED` say how often and when.
#[test]
#[ignore = "takes minutes"]
fn lines_are_written_once_when_circusd_is_killed_at_random_many_times() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let rounds = u32::try_from(number("KILLS", 300)).expect("not that often");
    kill_at_random(rounds, number("SEED", 1), 2000, 40);
}

/// Stands between circusd and the kernel, and lets no acknowledgement through: the state right after each
/// write and before its acknowledgement, for as long as one likes.
struct Deaf {
    path: PathBuf,
    withheld: Arc<AtomicUsize>,
}

impl Deaf {
    fn before(kernel: &Path, path: PathBuf) -> Self {
        let listener = UnixListener::bind(&path).expect("a free path");
        let withheld = Arc::new(AtomicUsize::new(0));
        let (kernel, count) = (kernel.to_owned(), Arc::clone(&withheld));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                // The kernel goes with its test, and this with it.
                let Ok(server) = UnixStream::connect(&kernel) else { return };
                let (from, to) = (client.try_clone(), server.try_clone());
                let count = Arc::clone(&count);
                std::thread::spawn(move || forward(client, server, &count));
                if let (Ok(to_client), Ok(mut from_server)) = (from, to) {
                    std::thread::spawn(move || copy(&mut from_server, &to_client));
                }
            }
        });
        Self { path, withheld }
    }
}

fn copy(from: &mut UnixStream, mut to: &UnixStream) {
    let mut buffer = [0; 65536];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// Lines from circusd to the kernel, but for acknowledgements.
fn forward(client: UnixStream, mut server: UnixStream, withheld: &AtomicUsize) {
    for line in BufReader::new(client).split(b'\n') {
        let Ok(mut line) = line else { break };
        if line.starts_with(b"%ack ") {
            withheld.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        line.push(b'\n');
        if server.write_all(&line).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

#[test]
fn lines_are_written_once_when_circusd_dies_between_write_and_acknowledgement() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let kernel = env.kernel_path().expect("a path").to_owned();
    let mut command = Command::new(built("papa-kernel"));
    command.arg("-u").arg(&kernel).env(circus_e2e::process::MARK, env.id());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the kernel starts");
    waiting::eventually("the kernel listens", || UnixStream::connect(&kernel).ok());
    let deaf = Deaf::before(&kernel, env.path("deaf"));
    let ini = env.write_ini(&sections(2000, 1));
    let direct = fs::read_to_string(&ini).expect("just written");
    let through = direct
        .replace(&format!("ipc://{}", kernel.display()), &format!("ipc://{}", deaf.path.display()));
    assert_ne!(direct, through);
    for _ in 0..6 {
        fs::write(&ini, &through).expect("writable");
        let before = deaf.withheld.load(Ordering::Relaxed);
        let circusd = env.start_again();
        // All six workers have written a block and wait for ever to be rid of it.
        circusd.wait_until("every block is written", || {
            (deaf.withheld.load(Ordering::Relaxed) >= before + 6).then_some(())
        });
        circusd.kill();
    }
    fs::write(&ini, &direct).expect("writable");
    let circusd = env.start_again();
    stop_all(&circusd);
    assert!(check(&env, &FILES) > 100);
    assert!(!circusd.log().contains("may come twice"), "{}", circusd.log());
    drop(circusd);
    let _ = child.kill();
    let _ = child.wait();
}

#[test]
fn what_overflowed_while_circusd_was_away_is_said_in_the_log() {
    overflows(false);
}

#[test]
fn what_overflowed_while_circusd_hung_before_it_died_is_said_in_the_log() {
    overflows(true);
}

/// More is printed than the kernel keeps while circusd, which has written the first line, is away or hangs.
fn overflows(hangs: bool) {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    // Far more than the kernel keeps.
    let worker = fixture("flood 6000000");
    let gate = Gate::at(env.path("go"));
    let circusd = env.start(&format!(
        "[watcher:w]\ncmd = sh -c 'echo first; {}; {worker}; echo last'\n\
         use_papa = True\nrespawn = False\nstdout_stream.filename = w.log\n\
         stdout_stream.time_format = T\n",
        gate.wait()
    ));
    let pid = circusd.wait_for_pids("w", 1)[0];
    let read = || fs::read_to_string(env.path("w.log")).unwrap_or_default();
    circusd.wait_until("the first line is written", || read().ends_with("first\n").then_some(()));
    let handle = |pid: i32| Handle::open(pid).expect("it runs");
    let (worker, daemon) = (handle(pid), handle(circusd.pid().try_into().expect("pids fit")));
    daemon.signal(if hangs { Signal::STOP } else { Signal::KILL });
    assert!(hangs || daemon.wait(PATIENCE), "it is killed");
    gate.let_one_pass();
    assert!(worker.wait(PATIENCE), "the worker ends by itself");
    circusd.kill();
    let circusd = env.start_again();
    circusd.wait_until("the last line is written", || read().ends_with("last\n").then_some(()));
    let text = read();
    let prefix = format!("T [{pid}] | ");
    let mut lines = text.lines().map(|line| line.strip_prefix(&prefix).expect("a prefix"));
    assert_eq!(lines.next(), Some("first"));
    let gap = lines.next().expect("a line about the gap");
    let missing: usize = gap
        .strip_prefix("circusd: ")
        .and_then(|rest| rest.strip_suffix(" bytes of output are missing here"))
        .and_then(|number| number.parse().ok())
        .expect("a line about the gap");
    let rest: usize = lines.map(|line| line.len() + 1).sum();
    assert_eq!(missing + rest, 6_000_000 + "last\n".len());
}

#[test]
fn lines_have_the_time_at_which_the_kernel_read_them() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let circusd = env.start(&format!(
        "[watcher:w]\ncmd = {}\nuse_papa = True\nstdout_stream.filename = w.log\n\
         stdout_stream.time_format = %s.%f\n",
        fixture("lines 5")
    ));
    // Of each line when it was read, when it was printed, and how long it was then.
    let lines = || {
        let text = fs::read_to_string(env.path("w.log")).unwrap_or_default();
        let lines = text.split_terminator('\n').map(|line| {
            let (read, line) = line.split_once(" [").expect("a prefix");
            let line = line.split_once(" | ").expect("a prefix").1;
            let printed = line.rsplit_once(' ').expect("the time of printing").1;
            let seconds = |text: &str| text.parse::<f64>().expect("seconds");
            (seconds(read), seconds(printed), line.len() + 1)
        });
        lines.collect::<Vec<_>>()
    };
    let unread = || {
        let info = env.kernel().command("info");
        let number = info.lines().find_map(|line| line.strip_prefix("unread="));
        number.and_then(|number| number.parse::<usize>().ok()).expect("a number of bytes")
    };
    circusd.wait_until("it prints", || (lines().len() > 5).then_some(()));
    circusd.kill();
    let written = lines().len();
    // It may hold some that are written already. Nobody but the kernel is there to read those that come now.
    let before = unread();
    let come = waiting::eventually("the kernel reads some lines", || {
        unread().checked_sub(before).filter(|bytes| *bytes > 200)
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let circusd = env.start_again();
    let after = circusd.wait_until("what was printed meanwhile is written", || {
        let lines = lines();
        lines.last().is_some_and(|(_, printed, _)| *printed > now).then_some(lines)
    });
    let mut left = come;
    let meanwhile = after[written..].iter().take_while(|(.., length)| {
        let fits = *length <= left;
        left = left.saturating_sub(*length);
        fits
    });
    let meanwhile: Vec<_> = meanwhile.collect();
    assert!(meanwhile.len() > 2, "{meanwhile:?}");
    for (read, printed, _) in meanwhile {
        assert!(*read >= *printed - 0.001 && *read < now, "read at {read}, printed at {printed}");
    }
}

#[test]
fn a_line_that_outlives_circusd_stands_once_and_whole() {
    for killed in [false, true] {
        let env = TestEnv::new();
        if env.has_no_kernel() {
            return;
        }
        let gate = Gate::at(env.path("go"));
        let circusd = env.start(&format!(
            "[watcher:w]\ncmd = sh -c 'echo first; printf abc; {}; echo def; exec sleep 1000'\n\
             use_papa = True\nstdout_stream.filename = w.log\nstdout_stream.time_format = T\n",
            gate.wait()
        ));
        let pid = circusd.wait_for_pids("w", 1)[0];
        let read = || fs::read_to_string(env.path("w.log")).unwrap_or_default();
        circusd
            .wait_until("the first line is written", || read().ends_with("first\n").then_some(()));
        if killed {
            circusd.kill();
        } else {
            assert!(circusd.quit().success());
        }
        assert_eq!(read(), format!("T [{pid}] | first\n"), "the part stays in the kernel");
        let circusd = env.start_again();
        circusd.wait_for_pids("w", 1);
        gate.let_one_pass();
        circusd.wait_until("the line is written", || read().ends_with("def\n").then_some(()));
        assert_eq!(read(), format!("T [{pid}] | first\nT [{pid}] | abcdef\n"));
    }
}

#[test]
fn lines_are_written_once_when_the_stream_is_changed() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let circusd = env.start(&format!(
        "[watcher:w]\ncmd = {}\nuse_papa = True\nstdout_stream.filename = 0.log\n",
        fixture("lines 1")
    ));
    let pids = circusd.wait_for_pids("w", 1);
    let read = |n: u32| fs::read_to_string(env.path(&format!("{n}.log"))).unwrap_or_default();
    let set = |option: &str, value: String| {
        let options = json!({format!("stdout_stream.{option}"): value});
        circusd.wait_until("the option is set", || {
            let reply = circusd.call("set", json!({"name": "w", "options": options}));
            (reply["status"] == "ok").then_some(())
        });
    };
    for n in 0..4 {
        circusd.wait_until("it prints there", || (read(n).lines().count() > 20).then_some(()));
        if n == 1 {
            // What cannot be written goes to the next destination.
            set("filename", "nowhere/x.log".to_owned());
            let complaint = "output of w (stdout) cannot be written";
            circusd.wait_until("it is said", || circusd.log().contains(complaint).then_some(()));
        }
        set("filename", format!("{}.log", n + 1));
    }
    circusd.wait_until("it prints there", || (read(4).lines().count() > 20).then_some(()));
    assert_eq!(circusd.pids("w"), pids);
    stop_all(&circusd);
    let all: String = (0..=4).map(read).collect();
    let numbers = all.lines().map(|line| line.split(' ').next().and_then(|word| word.parse().ok()));
    let numbers: Vec<usize> = numbers.map(|number| number.expect("a number")).collect();
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
}
