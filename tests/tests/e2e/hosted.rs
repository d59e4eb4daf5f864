//! Watchers whose processes live in the papa kernel: commands reach them, and the end of circusd does not. The
//! names in the comments are cases of `tests/golden/behaviours.jsonl`.

use circus_e2e::{Daemon, TestEnv, process};
use serde_json::json;
use std::path::PathBuf;

const ONE: &str = "[watcher:w]\ncmd = sleep 1000\nuse_papa = true\n";

/// A world with a kernel; none for the original, which cannot be given one.
fn world() -> Option<TestEnv> {
    let env = TestEnv::new();
    (!env.has_no_kernel()).then_some(env)
}

/// The same file again, after circusd has left its processes to the kernel.
fn quit_and_start_again(env: &TestEnv, circusd: Daemon) -> Daemon {
    assert!(circusd.quit().success());
    env.start_again()
}

/// `papa_incr_reset_on_restart`; differences: "What operators change while circusd runs".
#[test]
fn processes_added_by_incr_outlive_circusd() {
    let Some(env) = world() else { return };
    let circusd = env.start(ONE);
    circusd.wait_for_pids("w", 1);
    circusd.ok("incr", json!({"name": "w", "nb": 2, "waiting": true}));
    let pids = circusd.wait_for_pids("w", 3);
    let circusd = quit_and_start_again(&env, circusd);
    assert_eq!(circusd.wait_for_pids("w", 3), pids);
}

/// `papa_decr_reset_on_restart`; differences: "What operators change while circusd runs".
#[test]
fn processes_ended_by_decr_stay_away() {
    let Some(env) = world() else { return };
    let circusd = env.start(&format!("{ONE}numprocesses = 3\n"));
    circusd.wait_for_pids("w", 3);
    circusd.ok("decr", json!({"name": "w", "nb": 2, "waiting": true}));
    let kept = circusd.wait_for_pids("w", 1);
    let circusd = quit_and_start_again(&env, circusd);
    assert_eq!(circusd.wait_for_pids("w", 1), kept);
    assert_eq!(circusd.ok("numprocesses", json!({"name": "w"}))["numprocesses"], 1);
}

/// `papa_cmd_changed_while_down`
#[test]
fn a_process_is_adopted_as_it_is_although_the_file_says_another_command() {
    let Some(env) = world() else { return };
    let circusd = env.start(ONE);
    let pids = circusd.wait_for_pids("w", 1);
    assert!(circusd.quit().success());
    let circusd = env.start(&ONE.replace("1000", "2000"));
    assert_eq!(circusd.wait_for_pids("w", 1), pids);
    circusd.ok("restart", json!({"name": "w", "waiting": true}));
    let new = circusd.wait_for_pids("w", 1)[0];
    assert_eq!(process::words(new, "cmdline"), b"sleep\x002000\0");
}

/// `papa_reload_and_restart_watcher`
#[test]
fn hosted_processes_are_reloaded_and_restarted_like_others() {
    let Some(env) = world() else { return };
    let circusd = env.start(&format!("{ONE}numprocesses = 2\n"));
    let mut before = circusd.wait_for_pids("w", 2);
    for command in ["reload", "restart"] {
        let reply = circusd.ok(command, json!({"name": "w", "waiting": true}));
        before.sort_unstable();
        assert_eq!(reply["info"]["stopped"], json!(before), "{command}");
        assert!(before.iter().all(|pid| !process::is_alive(*pid)), "{command}");
        before = circusd.wait_for_pids("w", 2);
    }
    let listed = env.kernel().command("list processes");
    assert_eq!(listed.matches("circus.w.").count(), 2, "{listed}");
}

/// `papa_restart_all_kills`
#[test]
fn a_restart_of_everything_replaces_hosted_processes_too() {
    let Some(env) = world() else { return };
    let circusd = env.start(ONE);
    let old = circusd.wait_for_pids("w", 1)[0];
    circusd.ok("restart", json!({"waiting": true}));
    assert_ne!(circusd.wait_for_pids("w", 1)[0], old);
    assert!(!process::is_alive(old));
}

/// `papa_sigterm_like_quit`
#[test]
fn term_stops_plain_processes_and_leaves_hosted_ones() {
    let Some(env) = world() else { return };
    let circusd = env.start(&format!("{ONE}[watcher:plain]\ncmd = sleep 1000\n"));
    let (hosted, plain) = (circusd.wait_for_pids("w", 1)[0], circusd.wait_for_pids("plain", 1)[0]);
    assert!(circusd.terminate().success());
    assert!(process::is_alive(hosted) && !process::is_alive(plain));
}

/// `papa_bad_command`
#[test]
fn a_command_that_the_kernel_cannot_start_counts_as_failed() {
    let Some(env) = world() else { return };
    let circusd = env.start(
        "[watcher:bad]\ncmd = /nowhere/x\nuse_papa = true\nmax_retry = 2\npriority = 1\n\
         [watcher:good]\ncmd = sleep 1000\n",
    );
    circusd.wait_for_pids("good", 1);
    circusd.wait_for_status("bad", "stopped");
    assert!(circusd.log().contains("error in 'bad'"), "{}", circusd.log());
}

/// `papa_no_stream`, `papa_env_uid_rlimit`
#[test]
fn hosted_processes_get_their_environment_limits_and_outputs() {
    let Some(env) = world() else { return };
    let circusd = env.start(
        "[watcher:w]\ncmd = sleep 1000\nuse_papa = true\nrlimit_nofile = 300\nworking_dir = /tmp\n\
         close_child_stderr = true\n[env:w]\nONLY = this\n",
    );
    let pid = circusd.wait_for_pids("w", 1)[0];
    let read =
        |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).expect("it runs");
    let link = |name: &str| -> PathBuf {
        std::fs::read_link(format!("/proc/{pid}/{name}")).expect("it runs")
    };
    assert!(read("environ").split('\0').any(|variable| variable == "ONLY=this"));
    let limit =
        read("limits").lines().find(|line| line.starts_with("Max open files")).map(str::to_owned);
    let numbers: Vec<_> =
        limit.iter().flat_map(|line| line.split_whitespace().skip(3).take(2)).collect();
    assert_eq!(numbers, ["300", "300"]);
    assert_eq!(link("cwd").to_str(), Some("/tmp"));
    assert_eq!(link("fd/0").to_str(), Some("/dev/null"));
    // The kernel takes the output, with a stream or without.
    assert!(link("fd/1").to_string_lossy().starts_with("pipe:"));
    assert_eq!(link("fd/2").to_str(), Some("/dev/null"));
}

/// `papa_socket`
#[test]
fn a_hosted_socket_stays_open_as_long_as_a_hosted_process_does() {
    let Some(env) = world() else { return };
    let port = circus_e2e::env::free_port();
    let socket = format!("[socket:s]\nhost = 127.0.0.1\nport = {port}\nuse_papa = true\n");
    let circusd = env.start(&format!("{socket}{ONE}"));
    circusd.wait_for_pids("w", 1);
    assert!(circusd.quit().success());
    let connects = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert!(connects(), "while nobody manages it");
    let circusd = env.start_again();
    circusd.wait_for_pids("w", 1);
    circusd.ok("stop", json!({"name": "w", "waiting": true}));
    assert!(circusd.quit().success());
    assert!(!connects(), "nothing uses it any more");
}

/// `papa_two_watchers_prefix`
#[test]
fn a_watcher_whose_name_begins_like_another_keeps_its_own_processes() {
    let Some(env) = world() else { return };
    let section = |name: &str| ONE.replace(":w]", &format!(":{name}]"));
    let circusd = env.start(&[section("web"), section("web.api")].concat());
    let pids = (circusd.wait_for_pids("web", 1), circusd.wait_for_pids("web.api", 1));
    let circusd = quit_and_start_again(&env, circusd);
    assert_eq!((circusd.wait_for_pids("web", 1), circusd.wait_for_pids("web.api", 1)), pids);
}

/// `papa_worker_died_while_down`
#[test]
fn a_process_that_died_meanwhile_is_replaced() {
    let Some(env) = world() else { return };
    let circusd = env.start(&format!("{ONE}numprocesses = 2\n"));
    let pids = circusd.wait_for_pids("w", 2);
    assert!(circusd.quit().success());
    let dead = process::Handle::open(pids[0]).expect("it runs");
    dead.kill();
    assert!(dead.wait(circus_e2e::PATIENCE));
    let circusd = env.start_again();
    let now = circusd.wait_until("the dead one is replaced", || {
        let now = circusd.pids("w");
        (now.len() == 2 && !now.contains(&pids[0])).then_some(now)
    });
    assert!(now.contains(&pids[1]));
}
