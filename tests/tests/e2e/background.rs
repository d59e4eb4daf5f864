//! `--daemon` and `--pidfile`: what the caller learns, and what the daemon leaves and takes along.

use circus_e2e::process::{Handle, is_alive};
use circus_e2e::{PATIENCE, TestEnv, program, waiting};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;

const ONE: &str = "[watcher:a]\ncmd = sleep 1000\n";

/// Runs circusd until it returns; with `--daemon` that is when it is ready or has failed.
fn circusd(env: &TestEnv, arguments: &[&str]) -> Output {
    env.command().args(arguments).output().expect("it runs")
}

fn circusctl(env: &TestEnv, arguments: &[&str]) -> String {
    let endpoint = env.endpoint();
    let all: Vec<&str> = ["--endpoint", &endpoint].iter().chain(arguments).copied().collect();
    let output = program::run(&program::built("circusctl"), &all);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

fn target_of(pid: i32, link: &str) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/{link}")).expect("it runs")
}

/// daemon_pidfile.
#[test]
fn the_caller_returns_when_commands_are_answered() {
    let env = TestEnv::new().circus("pidfile = run.pid\nlogoutput = d.log");
    env.write_ini(ONE);
    // `output` waits for the end of both pipes, so the daemon has let go of them.
    let output = circusd(&env, &["--daemon"]);
    assert!(output.status.success() && said(&output).is_empty(), "{output:?}");
    let pidfile = env.path("run.pid");
    let text = fs::read_to_string(&pidfile).expect("written before the caller returns");
    let pid: i32 = text.strip_suffix('\n').expect("a line").parse().expect("a pid");
    assert_eq!(fs::metadata(&pidfile).expect("it is there").permissions().mode() & 0o777, 0o644);
    assert_eq!(target_of(pid, "cwd"), env.directory().canonicalize().expect("it is there"));
    for fd in 0..3 {
        assert_eq!(target_of(pid, &format!("fd/{fd}")), PathBuf::from("/dev/null"));
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name").1.split(' ').collect();
    // State, parent, group, session, terminal.
    assert_ne!(fields[3], pid.to_string(), "it leads no session");
    assert_eq!(fields[4], "0", "it has no terminal");
    // Commands are answered before every watcher has started.
    let worker: i32 = waiting::eventually("the watcher has started", || {
        circusctl(&env, &["list", "a"]).parse().ok()
    });
    for fd in 0..3 {
        assert_eq!(target_of(worker, &format!("fd/{fd}")), PathBuf::from("/dev/null"));
    }

    let second = circusd(&env, &["--daemon"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains(&format!("names the running process {pid}")), "{second:?}");

    let daemon = Handle::open(pid).expect("it runs");
    assert_eq!(circusctl(&env, &["quit"]), "ok");
    assert!(daemon.wait(PATIENCE) && !is_alive(worker));
    assert!(!pidfile.exists());
    let log = fs::read_to_string(env.path("d.log")).expect("the log");
    for text in ["Arbiter now waiting for commands", "a started", "Arbiter exiting", "a stopped"] {
        assert!(log.contains(text), "{log}");
    }
}

/// The original has gone into the background before it reads anything, so its caller always sees success.
#[test]
fn a_daemon_that_cannot_start_tells_its_caller() {
    let env = TestEnv::new().circus("logoutput = d.log");
    let taken = TestEnv::new();
    let _other = taken.start(ONE);
    let endpoint = format!("[circus]\nendpoint = {}\n", taken.endpoint());
    let (own, events) = (env.endpoint(), env.pubsub_endpoint());
    let one = format!("[circus]\nendpoint = {own}\npubsub_endpoint = {events}\n{ONE}");
    for (ini, arguments, reason) in [
        ("[watcher:a]\ncmd\n".to_owned(), &["--daemon"][..], "circus.ini:2"),
        (endpoint + ONE, &["--daemon"], "in use"),
        (one.clone(), &["--daemon", "--log-output", "no/dir/d.log"], "cannot open the log"),
        (one.clone(), &["--daemon", "--log-output", "syslog:/x"], "syslog:///PATH"),
        (one.clone(), &["--daemon", "--pidfile", "no/dir/x.pid"], "does not exist"),
        (one + "[socket:s]\npath = circus.ini\n", &["--daemon"], "[socket:s]"),
    ] {
        fs::write(env.path("circus.ini"), &ini).expect("writable");
        let output = circusd(&env, arguments);
        assert_eq!(output.status.code(), Some(1), "{ini}: {output:?}");
        let said = said(&output);
        assert!(said.starts_with("circusd: ") && said.contains(reason), "{ini}: {said}");
        // Its last step was to tell.
        for pid in env.processes() {
            assert!(Handle::open(pid).is_none_or(|daemon| daemon.wait(PATIENCE)));
        }
        assert_eq!(env.processes(), [0; 0]);
    }
}

/// pidfile_variants; what is taken over is tested beside the code.
#[test]
fn a_pid_file_of_a_running_process_is_respected() {
    let env = TestEnv::new();
    env.write_ini(ONE);
    fs::write(env.path("x.pid"), "1\n").expect("writable");
    let output = circusd(&env, &["--pidfile", "x.pid"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("`x.pid` names the running process 1"), "{output:?}");
    let output = circusd(&env, &["--pidfile", "no/dir/x.pid"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("no/dir"), "{output:?}");
    fs::write(env.path("x.pid"), "garbage").expect("writable");
    let mut command = env.command();
    command.args(["--pidf", "x.pid"]);
    let circusd = env.spawn_as(command);
    circusd.wait_for_pids("a", 1);
    let expected = format!("{}\n", circusd.pid());
    assert_eq!(fs::read_to_string(env.path("x.pid")).expect("written"), expected);
    assert!(circusd.terminate().success());
    assert!(!env.path("x.pid").exists());
}
