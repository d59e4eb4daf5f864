//! Output streams of directly run workers. The recorded cases of circus 0.17.2 are those of
//! `tests/golden/behaviours.jsonl` whose name begins with `stream_`; where ours does better, that stands in
//! `docs/differences.md` under "Output streams".

use circus_e2e::program::fixture;
use circus_e2e::{Daemon, TestEnv};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// A recorded case: its watchers, with its files in the directory of the test.
fn recorded(env: &TestEnv, name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/behaviours.jsonl");
    let all = fs::read_to_string(path).expect("the recordings");
    let cases = all.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let case = cases.into_iter().find(|case| case["case"] == name).expect("the case is recorded");
    for (name, text) in case["files"].as_object().into_iter().flatten() {
        let path = env.path(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("writable");
        fs::write(path, text.as_str().expect("text")).expect("writable");
    }
    let config = case["config"].as_str().expect("a configuration");
    let watchers = config.find("[watcher:").expect("a watcher");
    let directory = env.directory().display().to_string();
    config[watchers..].replace("@PY@", "python3").replace("@DIR@", &directory)
}

fn read(env: &TestEnv, name: &str) -> String {
    String::from_utf8_lossy(&fs::read(env.path(name)).unwrap_or_default()).into_owned()
}

/// Waits until a file has this at its end.
fn wait_for_end(env: &TestEnv, circusd: &Daemon, name: &str, end: &str) -> String {
    circusd.wait_until(&format!("{name} ends with {end:?}"), || {
        Some(read(env, name)).filter(|text| text.ends_with(end))
    })
}

/// Sends a command again for as long as the start of the other watchers is under way.
fn ok_once_idle(circusd: &Daemon, command: &str, properties: &Value) -> Value {
    circusd.wait_until(&format!("{command} succeeds"), || {
        let reply = circusd.call(command, properties.clone());
        let busy =
            reply["reason"].as_str().is_some_and(|reason| reason.contains("already running"));
        assert!(busy || reply["status"] != "error", "{command}: {reply}");
        (!busy).then_some(reply)
    })
}

/// What comes after the prefix of each line.
fn without_prefix(text: &str) -> Vec<&str> {
    text.split_terminator('\n')
        .map(|line| line.split_once("] | ").expect("every line has a prefix").1)
        .collect()
}

#[test]
fn stream_filestream_plain_and_prefix() {
    let env = TestEnv::new();
    let circusd = env.start(&recorded(&env, "stream_filestream_plain_and_prefix"));
    let end = "no newline at end";
    wait_for_end(&env, &circusd, "plain.log", end);
    wait_for_end(&env, &circusd, "impl.log", end);
    // The end of the process ends its line.
    let lines = wait_for_end(&env, &circusd, "pre.log", "no newline at end\n");
    let plain =
        b"one\npartial\na\nb\n\nc\ntrailing\n\n\n\nbad \xff utf8\ncrlf\r\nno newline at end";
    assert_eq!(fs::read(env.path("plain.log")).expect("written"), plain);
    assert_eq!(fs::read(env.path("impl.log")).expect("written"), plain);
    let expected = [
        "one",
        "partial",
        "a",
        "b",
        "",
        "c",
        "trailing",
        "",
        "",
        "",
        "bad \u{fffd} utf8",
        "crlf\r",
        end,
    ];
    assert_eq!(without_prefix(&lines), expected);
    let prefix = lines.split(" | ").next().expect("a prefix");
    assert!(prefix.starts_with('T') && prefix.contains(" ["), "{prefix}");
}

#[test]
fn stream_chunks_of_1024() {
    let env = TestEnv::new();
    let circusd = env.start(&recorded(&env, "stream_chunks_of_1024"));
    let line = wait_for_end(&env, &circusd, "pre.log", "x\n");
    assert_eq!(without_prefix(&line), ["x".repeat(1500)]);
    wait_for_end(&env, &circusd, "raw.log", "a\u{20ac}bbbbbbbbbb\n");
}

#[test]
fn stream_stdout_and_fancy() {
    let env = TestEnv::new();
    let circusd = env.start(&recorded(&env, "stream_stdout_and_fancy"));
    let pids = circusd.wait_for_pids("f", 1);
    let green = format!("\u{1b}[0;32;40mTT [{}] | x\u{1b}[0m\n", pids[0]);
    circusd.wait_until("everything is on stdout", || {
        let log = circusd.log();
        let all = ["plain no newline", &green, "mTT [", "] | bad colour\u{1b}[0m\n"];
        all.iter().all(|text| log.contains(text)).then_some(())
    });
    // What is no whole line yet comes with the end of its process.
    ok_once_idle(&circusd, "stop", &json!({"name": "f", "waiting": true}));
    circusd.wait_until("the last line is on stdout", || {
        circusd.log().contains("] | y\u{1b}[0m\n").then_some(())
    });
}

#[test]
fn stream_output_at_exit() {
    let env = TestEnv::new();
    let circusd = env.start(&recorded(&env, "stream_output_at_exit"));
    for round in 1..=5 {
        circusd.wait_until("the worker is ready", || {
            (read(&env, "a.log").matches("ready\n").count() == round).then_some(())
        });
        ok_once_idle(&circusd, "stop", &json!({"name": "a", "waiting": true}));
        let text = read(&env, "a.log");
        assert_eq!(text.matches('B').count(), 60_000 * round, "the last words of round {round}");
        ok_once_idle(&circusd, "start", &json!({"name": "a", "waiting": true}));
    }
}

#[test]
fn stream_missing_directory() {
    let env = TestEnv::new();
    let sections = recorded(&env, "stream_missing_directory");
    let printing = fixture("lines 5");
    let sections = sections.replacen(
        "[watcher:b]\ncmd = sleep 1000",
        &format!("[watcher:b]\ncmd = {printing}"),
        1,
    );
    let circusd = env.start(&sections);
    assert_eq!(circusd.ok("list", json!({}))["watchers"], json!(["b", "c"]));
    assert!(circusd.log().contains("no/dir/x.log"), "{}", circusd.log());
    circusd.wait_for_pids("b", 1);
    circusd.wait_until("b prints", || read(&env, "sub/x.log").contains("1 ").then_some(()));
    ok_once_idle(&circusd, "stop", &json!({"name": "b", "waiting": true}));
    fs::remove_dir_all(env.path("sub")).expect("it is there");
    ok_once_idle(&circusd, "start", &json!({"name": "b", "waiting": true}));
    let complaint = "output of b (stdout) cannot be written";
    circusd.wait_until("it is said", || circusd.log().contains(complaint).then_some(()));
    fs::create_dir(env.path("sub")).expect("writable");
    circusd.wait_until("it is written again", || {
        circusd.log().contains("output of b (stdout) can be written again").then_some(())
    });
    assert!(read(&env, "sub/x.log").starts_with("1 "), "what was printed meanwhile is there");
    assert_eq!(circusd.log().matches(complaint).count(), 1);
    // The same when the directory goes while the file is open.
    fs::remove_dir_all(env.path("sub")).expect("it is there");
    circusd.wait_until("it is said again", || {
        (circusd.log().matches(complaint).count() == 2).then_some(())
    });
    ok_once_idle(&circusd, "stop", &json!({"name": "b", "waiting": true}));
}

#[test]
fn stream_disk_full() {
    let env = TestEnv::new();
    let circusd = env.start(&recorded(&env, "stream_disk_full"));
    let complaint = "output of a (stdout) cannot be written";
    circusd.wait_until("it is said", || circusd.log().contains(complaint).then_some(()));
    ok_once_idle(&circusd, "stop", &json!({"name": "a", "waiting": true}));
    assert_eq!(circusd.ok("status", json!({"name": "a"}))["status"], "stopped");
    assert_eq!(circusd.log().matches(complaint).count(), 1, "{}", circusd.log());
    assert!(circusd.quit().success());
}

/// Limits the size of the files that circusd writes, in bytes.
fn limit_files(circusd: &Daemon, limit: &str) {
    let status = Command::new("prlimit")
        .args(["--pid", &circusd.pid().to_string(), &format!("--fsize={limit}:unlimited")])
        .status();
    assert!(status.expect("prlimit is part of util-linux").success());
}

#[test]
fn a_disk_that_was_full_gets_everything_later_and_lines_stay_whole() {
    for papa in ["False", "True"] {
        let env = TestEnv::new();
        if papa == "True" && env.has_no_kernel() {
            return;
        }
        let circusd = env.start(&format!(
            "[watcher:w]\ncmd = {}\nuse_papa = {papa}\nstdout_stream.filename = w.log\n\
             stdout_stream.time_format = T\n",
            fixture("lines 1")
        ));
        circusd.wait_until("it prints", || (read(&env, "w.log").len() > 100).then_some(()));
        // A file may not grow beyond this, as on a disk that is full.
        limit_files(&circusd, "5000");
        let complaint = "output of w (stdout) cannot be written";
        circusd.wait_until("it is said", || circusd.log().contains(complaint).then_some(()));
        // Each attempt writes a part of a line and takes it back.
        circusd.wait_until("only whole lines are there", || {
            let full = read(&env, "w.log");
            assert!(full.len() <= 5000, "{full:?}");
            full.ends_with('\n').then_some(())
        });
        limit_files(&circusd, "unlimited");
        circusd.wait_until("it goes on", || (read(&env, "w.log").len() > 10_000).then_some(()));
        ok_once_idle(&circusd, "stop", &json!({"name": "w", "waiting": true}));
        let text = read(&env, "w.log");
        let number = |line: &str| line.split(' ').next().and_then(|word| word.parse().ok());
        let numbers: Vec<usize> =
            without_prefix(&text).iter().map(|line| number(line).expect("a number")).collect();
        let expected: Vec<usize> = (1..=numbers.len()).collect();
        assert_eq!(numbers, expected, "each line once and in order, use_papa = {papa}");
        assert_eq!(circusd.log().matches(complaint).count(), 1, "{}", circusd.log());
    }
}

/// circusd where the permissions of files count: for root they do not.
fn bound_by_permissions(env: &TestEnv) -> Command {
    let plain = env.command();
    if !nix::unistd::geteuid().is_root() {
        return plain;
    }
    let mut bound = Command::new("setpriv");
    bound.args(["--bounding-set", "-dac_override,-dac_read_search", "--"]);
    bound.arg(plain.get_program()).args(plain.get_args()).env_clear();
    bound.envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
    bound.current_dir(env.directory()).stdin(Stdio::null());
    bound
}

#[test]
fn a_log_that_may_not_be_written_is_said_once_and_gets_everything_later() {
    let env = TestEnv::new();
    let (folder, open) = (env.path("logs"), fs::Permissions::from_mode(0o755));
    fs::create_dir(&folder).expect("writable");
    env.write_ini(&format!(
        "[watcher:w]\ncmd = {}\nautostart = False\nstdout_stream.class = WatchedFileStream\n\
         stdout_stream.filename = logs/w.log\n",
        fixture("lines 1")
    ));
    let circusd = env.spawn_as(bound_by_permissions(&env));
    circusd.wait_for_answer();
    fs::remove_file(folder.join("w.log")).expect("it is there");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).expect("ours");
    ok_once_idle(&circusd, "start", &json!({"name": "w"}));
    let complaint = "output of w (stdout) cannot be written";
    circusd.wait_until("it is said", || circusd.log().contains(complaint).then_some(()));
    assert!(circusd.log().contains("Permission denied"), "{}", circusd.log());
    let events = circusd.subscribe();
    ok_once_idle(&circusd, "restart", &json!({"name": "w"}));
    events.wait_for("watcher.w.spawn");
    fs::set_permissions(&folder, open).expect("ours");
    circusd.wait_until("it is written", || read(&env, "logs/w.log").contains("\n1 ").then_some(()));
    assert!(read(&env, "logs/w.log").starts_with("1 "), "the first worker's output is there too");
    assert_eq!(circusd.log().matches(complaint).count(), 1, "{}", circusd.log());
}

#[test]
fn a_worker_is_not_held_up_by_a_missing_directory_and_what_is_lost_is_said() {
    const FLOOD: usize = 20_000_000;
    let env = TestEnv::new();
    fs::create_dir(env.path("logs")).expect("writable");
    let circusd = env.start(&format!(
        "[watcher:w]\ncmd = {}\nautostart = false\nrespawn = false\nstdout_stream.filename = logs/w.log\n",
        fixture(&format!("flood {FLOOD}"))
    ));
    fs::remove_dir_all(env.path("logs")).expect("it is there");
    let events = circusd.subscribe();
    ok_once_idle(&circusd, "start", &json!({"name": "w"}));
    assert_eq!(events.wait_for("watcher.w.reap")["exit_code"], 0, "it printed all and ended");
    fs::create_dir(env.path("logs")).expect("writable");
    let text = wait_for_end(&env, &circusd, "logs/w.log", "bytes of output are missing here\n");
    let (kept, gap) = text.split_at(text.rfind("circusd: ").expect("a line about the gap"));
    let missing: usize =
        gap.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a number");
    assert_eq!(kept.trim_end_matches('\n').len().div_ceil(100) * 100 + missing, FLOOD);
}

#[test]
fn every_byte_is_kept_in_both_kinds_of_processes() {
    // What is hosted stays below what the kernel keeps for a circusd that is slow to answer.
    for (papa, random, line) in [("False", 3_000_000, 100_000_000), ("True", 500_000, 1_000_000)] {
        let env = TestEnv::new();
        if papa == "True" && env.has_no_kernel() {
            return;
        }
        // Arbitrary bytes, and a long line of NULs without an end.
        let circusd = env.start(&format!(
            "[watcher:w]\ncmd = sh -c 'head -c {random} /dev/urandom | tee copy; \
             head -c {line} /dev/zero | tee -a copy; echo END | tee -a copy'\nrespawn = False\n\
             use_papa = {papa}\nstdout_stream.filename = w.log\n"
        ));
        circusd.wait_until("everything is written", || {
            let size = |name| fs::metadata(env.path(name)).map_or(0, |metadata| metadata.len());
            let all = random + line + 4;
            (size("copy") == all && size("w.log") == all).then_some(())
        });
        let (copy, log) = (fs::read(env.path("copy")), fs::read(env.path("w.log")));
        assert!(copy.expect("written") == log.expect("written"), "use_papa = {papa}");
    }
}

#[test]
fn stream_timed_seconds() {
    let env = TestEnv::new();
    let sections = recorded(&env, "stream_timed_seconds");
    let sections = sections.replace("rotate_interval = 2", "rotate_interval = 1");
    let circusd = env.start(&sections);
    let files = |name: &str| {
        let entries = fs::read_dir(env.directory()).expect("readable");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = names
            .map(|name| name.into_string().expect("text"))
            .filter(|found| found.starts_with(&format!("{name}.")))
            .collect();
        names.sort();
        names
    };
    let first =
        |name: &str| circusd.wait_until("it has rotated", || files(name).into_iter().next());
    for name in ["a.log", "rel.log"] {
        let oldest = first(name);
        circusd.wait_until("the oldest file is deleted", || {
            let files = files(name);
            (files.len() == 2 && !files.contains(&oldest)).then_some(())
        });
        let suffix = oldest.trim_start_matches(name).trim_start_matches('.');
        assert!(suffix.len() == 14 && suffix.bytes().all(|byte| byte.is_ascii_digit()), "{oldest}");
    }
}

#[test]
fn stream_two_streams_one_file() {
    let env = TestEnv::new();
    let circusd = env.start(&recorded(&env, "stream_two_streams_one_file"));
    circusd.wait_until("everything is written", || {
        read(&env, "both.log").contains("err 05").then_some(())
    });
    let files = ["both.log.3", "both.log.2", "both.log.1", "both.log"].map(|name| read(&env, name));
    let heads: Vec<&str> =
        files.iter().flat_map(|text| text.lines().map(|line| &line[..6])).collect();
    let expected: Vec<String> =
        (0..6).flat_map(|n| [format!("out {n:02}"), format!("err {n:02}")]).collect();
    assert_eq!(heads, expected);
    assert!(files.iter().all(|text| text.len() < 120 && text.ends_with('\n')));
    assert!(!env.path("both.log.4").exists());
}

#[test]
fn set_stream_option_keeps_the_class_and_works_at_once() {
    let env = TestEnv::new();
    let circusd = env.start(&recorded(&env, "set_stream_option_loses_class"));
    circusd.wait_until("a prints", || read(&env, "a.log").ends_with("x\n").then_some(()));
    let pids = circusd.pids("a");
    ok_once_idle(&circusd, "set", &json!({"name": "b", "options": {"max_retry": 5}}));
    let set = |name: &str, options: Value| {
        circusd.call("set", json!({"name": name, "options": options, "waiting": true}))
    };
    assert_eq!(set("a", json!({"stdout_stream.time_format": "T"}))["status"], "ok");
    circusd.wait_until("lines have a prefix", || {
        read(&env, "a.log").contains("] | x\n").then_some(())
    });
    // Only the class that the file gives has this option.
    let refused = set("a", json!({"stdout_stream.rotate_when": "never"}));
    assert_eq!(refused["status"], "error", "{refused}");
    assert_eq!(set("b", json!({"stdout_stream.color": "red"}))["status"], "ok");
    // Another class, a whole new stream, and one that did not exist.
    let file = json!({"stdout_stream": {"class": "FileStream", "filename": "new.log"}});
    assert_eq!(set("a", file)["status"], "ok");
    circusd.wait_until("a prints there", || read(&env, "new.log").ends_with("x\n").then_some(()));
    assert_eq!(set("b", json!({"stdout_stream.class": "FancyStdoutStream"}))["status"], "ok");
    circusd.wait_until("b is red", || circusd.log().contains("\u{1b}[0;31;40m").then_some(()));
    assert_eq!(circusd.pids("a"), pids, "nothing was restarted for it");
    // There was no pipe for this one, so it takes new processes.
    assert_eq!(set("a", json!({"stderr_stream.filename": "err.log"}))["status"], "ok");
    assert_ne!(circusd.wait_for_pids("a", 1), pids);
    // What cannot be used changes nothing.
    let refused = set("a", json!({"stdout_stream.class": "NoStream"}));
    assert_eq!(refused["status"], "error", "{refused}");
    let refused = set("a", json!({"stdout_stream.max_bytes": "1k"}));
    assert_eq!(refused["status"], "error", "{refused}");
}
