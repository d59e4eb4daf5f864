//! The examples of this crate, as programs.

use crate::{ask, endpoints_in};
use circus_e2e::process::is_alive;
use circus_e2e::waiting::eventually;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Cargo builds the examples with the tests of a package, and puts them beside its binaries.
fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_circusd")).with_file_name("examples").join(name)
}

fn run(name: &str, folder: &Path) -> Child {
    let mut command = Command::new(example(name));
    command.args(endpoints_in(folder)).stdout(Stdio::piped());
    command.spawn().expect("the example is built: cargo build -p circusd --examples")
}

/// The signals that a process handles, as a mask.
fn handled(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("the line");
    u64::from_str_radix(line.trim(), 16).expect("a mask")
}

#[test]
fn the_plain_program_runs_until_a_client_ends_it_and_takes_no_signal() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = run("plain_main", folder.path());
    let [commands, _] = endpoints_in(folder.path());
    let count =
        || ask(&commands, "numprocesses", &json!({"name": "sleep"}))["numprocesses"].clone();
    eventually("four workers run", || (count() == 4).then_some(()));
    let ours = [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGCHLD,
        Signal::SIGWINCH,
        Signal::SIGXFSZ,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
    ];
    for signal in ours {
        let bit = 1 << (signal as u32 - 1);
        assert_eq!(handled(program.id()) & bit, 0, "{signal} is the program's own");
    }
    assert_eq!(ask(&commands, "quit", &json!({}))["status"], "ok");
    assert!(program.wait().expect("it ends").success());
}

#[test]
fn the_tokio_program_stops_its_workers_on_its_own_signals() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = run("in_tokio", folder.path());
    let [commands, _] = endpoints_in(folder.path());
    let list = |name: &str| {
        let pids = ask(&commands, "list", &json!({"name": name}))["pids"].clone();
        serde_json::from_value::<Vec<i32>>(pids).unwrap_or_default()
    };
    let pids: Vec<i32> = eventually("its workers run", || {
        let (ticker, sleeper) = (list("ticker"), list("sleeper"));
        (ticker.len() == 2 && sleeper.len() == 1).then(|| [ticker, sleeper].concat())
    });
    let pid = Pid::from_raw(program.id().try_into().expect("a pid"));
    kill(pid, Signal::SIGINT).expect("sent");
    let output = program.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.ends_with("all workers have ended\n"), "{said}");
    assert!(said.contains("ticker spawn ") && said.contains("sleeper: active, ["), "{said}");
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
}
