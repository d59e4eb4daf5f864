//! circusd and its kernel: who starts it, and what happens without it.

use circus_e2e::process::{self, Handle};
use circus_e2e::program::{circusd, fixture};
use circus_e2e::{Daemon, PATIENCE, TestEnv};
use std::process::{Command, Stdio};

/// A circusd with endpoints of its own that shares the kernel of the test.
fn neighbour(env: &TestEnv, name: &str) -> Daemon {
    let endpoint = format!("ipc://{}", env.path(&format!("{name}.endpoint")).display());
    let pubsub = format!("ipc://{}", env.path(&format!("{name}.pubsub")).display());
    let kernel = env.kernel_path().expect("a kernel with a path").display();
    let ini = env.path(&format!("{name}.ini"));
    let text = format!(
        "[circus]\nendpoint = {endpoint}\npubsub_endpoint = {pubsub}\n\
         papa_endpoint = ipc://{kernel}\n[env]\n{} = {}\nPATH = $PATH\n\
         [watcher:{name}]\ncmd = sleep 1000\nuse_papa = True\n",
        process::MARK,
        env.id()
    );
    std::fs::write(&ini, text).expect("writable");
    let mut command = Command::new(circusd());
    command.arg(ini).env(process::MARK, env.id()).stdin(Stdio::null());
    Daemon::spawn(command, endpoint, pubsub, env.path(&format!("{name}.log")))
}

#[test]
fn several_that_start_at_once_share_one_kernel() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let names: Vec<String> = (1..=6).map(|number| format!("n{number}")).collect();
    let all: Vec<(&String, Daemon)> =
        names.iter().map(|name| (name, neighbour(&env, name))).collect();
    for (name, daemon) in &all {
        daemon.wait_for_answer();
        daemon.wait_for_pids(name, 1);
    }
}

#[test]
fn the_end_of_a_worker_is_seen_without_the_kernel() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let circusd = env.start(&format!(
        "[watcher:worker]\ncmd = {}\nuse_papa = True\nrespawn = False\n",
        fixture("ignore-term")
    ));
    let pids = circusd.wait_for_pids("worker", 1);
    let title = |pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let path = env.kernel_path().expect("a kernel with a path").display().to_string();
    let is_kernel = |pid: &i32| {
        let line = String::from_utf8_lossy(&title(pid)).into_owned();
        u32::try_from(*pid) != Ok(circusd.pid()) && line.contains(&path)
    };
    let kernel = env.processes().into_iter().find(is_kernel).expect("a kernel runs");
    for pid in [kernel, pids[0]] {
        let process = Handle::open(pid).expect("it runs");
        process.kill();
        assert!(process.wait(PATIENCE), "it ends");
    }
    circusd.wait_for_status("worker", "stopped");
}
