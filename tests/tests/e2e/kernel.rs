//! circusd and its kernel: who starts it.

use circus_e2e::process;
use circus_e2e::program::circusd;
use circus_e2e::{Daemon, TestEnv};
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
