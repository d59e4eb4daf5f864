//! circusd and its kernel: who starts it, and what happens without it.

use crate::http;
use circus_e2e::process::{self, Handle};
use circus_e2e::program::{self, circusd, fixture};
use circus_e2e::python::say_skipped;
use circus_e2e::{Daemon, PATIENCE, TestEnv, env::free_port};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
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

/// The pid of the kernel of this test.
fn kernel_of(env: &TestEnv, circusd: &Daemon) -> i32 {
    let title = |pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let path = env.kernel_path().expect("a kernel with a path").display().to_string();
    let is_kernel = |pid: &i32| {
        let line = String::from_utf8_lossy(&title(pid)).into_owned();
        u32::try_from(*pid) != Ok(circusd.pid()) && line.contains(&path)
    };
    env.processes().into_iter().find(is_kernel).expect("a kernel runs")
}

fn kill(pid: i32) {
    let process = Handle::open(pid).expect("it runs");
    process.kill();
    assert!(process.wait(PATIENCE), "it ends");
}

#[test]
fn a_killed_kernel_takes_nothing_with_it_for_good() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let port = free_port();
    let sections = format!(
        "[socket:web]\nhost = 127.0.0.1\nport = {port}\nuse_papa = True\n\
         [watcher:web]\ncmd = {}\nnumprocesses = 2\nuse_papa = True\n\
         [watcher:stubborn]\ncmd = {}\nuse_papa = True\ngraceful_timeout = 0.2\n\
         [watcher:off]\ncmd = sleep 1000\nuse_papa = True\nautostart = False\n\
         [watcher:job]\ncmd = sleep 1000\nuse_papa = True\nrespawn = False\n\
         [watcher:plain]\ncmd = sleep 1000\n",
        fixture("serve-fd $(circus.sockets.web)"),
        fixture("ignore-term"),
    );
    let circusd = env.start(&sections);
    let old = circusd.wait_for_pids("web", 2);
    let stubborn = circusd.wait_for_pids("stubborn", 1);
    let job = circusd.wait_for_pids("job", 1);
    let plain = circusd.wait_for_pids("plain", 1);
    circusd.wait_until("all have been started", || {
        let reply = circusd.call("incr", serde_json::json!({"name": "web", "waiting": true}));
        (reply["status"] == "ok").then_some(())
    });
    let old = [old, circusd.wait_for_pids("web", 3)].concat();
    let events = circusd.subscribe();
    kill(kernel_of(&env, &circusd));
    events.wait_for("watcher.web.lost");
    let new = circusd.wait_until("web is back", || {
        let pids = circusd.pids("web");
        (pids.len() == 3 && pids.iter().all(|pid| !old.contains(pid))).then_some(pids)
    });
    let again = circusd.wait_until("stubborn is back", || {
        let pids = circusd.pids("stubborn");
        (pids.len() == 1 && pids != stubborn).then_some(pids)
    });
    let left = old.iter().chain(&stubborn).chain(&job).filter(|pid| process::is_alive(**pid));
    assert_eq!(left.count(), 0, "nothing of before is left");
    let pid: i32 = http::get(port).expect("the port is served").trim().parse().expect("a pid");
    assert!(new.contains(&pid), "{pid} {new:?}");
    circusd.wait_for_status("off", "stopped");
    circusd.wait_for_status("job", "stopped");
    assert_eq!(circusd.pids("plain"), plain, "what does not live in papa is left alone");
    assert!(circusd.log().contains("a new one is started"), "{}", circusd.log());

    // The new kernel knows what operators changed, and keeps everything over the end of circusd.
    circusd.kill();
    let circusd = env.start_again();
    let mut adopted = circusd.wait_for_pids("web", 3);
    let mut new = new;
    adopted.sort_unstable();
    new.sort_unstable();
    assert_eq!((adopted, circusd.wait_for_pids("stubborn", 1)), (new, again));
}

/// Why there is no new kernel is told once, however often it is tried.
#[test]
fn a_kernel_that_cannot_be_started_is_tried_until_it_can() {
    let env = TestEnv::new().circus("loglevel = debug");
    if env.has_no_kernel() {
        return;
    }
    let circusd = env.start("[watcher:w]\ncmd = sleep 1000\nuse_papa = True\n");
    let old = circusd.wait_for_pids("w", 1);
    let kernel = kernel_of(&env, &circusd);
    let path = env.kernel_path().expect("a kernel with a path");
    std::fs::remove_file(path).expect("its socket");
    std::fs::create_dir(path).expect("in its place");
    kill(kernel);
    let told = |text: &str| circusd.log().matches(text).count();
    circusd.wait_until("it is tried three times", || {
        (told("still: the papa kernel") >= 2).then_some(())
    });
    assert_eq!(told("; trying again until it can be had"), 1, "{}", circusd.log());
    std::fs::remove_dir(path).expect("empty");
    let new = circusd.wait_until("the worker is back", || {
        let pids = circusd.pids("w");
        (pids.len() == 1 && pids != old).then_some(pids)
    });
    assert!(process::is_alive(new[0]));
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
    let kernel = kernel_of(&env, &circusd);
    let title = std::fs::read(format!("/proc/{kernel}/cmdline")).unwrap_or_default();
    assert!(title.starts_with(b"papa daemon from circusd\0"));
    kill(kernel);
    // It may have been asked to end, and killed, already.
    Handle::open(pids[0]).as_ref().map(Handle::kill);
    circusd.wait_for_status("worker", "stopped");
}

#[test]
fn a_kernel_of_another_user_is_not_trusted() {
    let env = TestEnv::new().kernel_on_a_port();
    if env.has_no_kernel() {
        return;
    }
    if std::fs::metadata(env.directory()).expect("it is there").uid() != 0 {
        return say_skipped("a kernel of another user: only root can start one");
    }
    const STRANGER: u32 = 65534;
    // That user may enter neither our directory nor that of the build.
    let place = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).expect("it is ours");
    let program = place.path().join("papa-kernel");
    std::fs::copy(program::built("papa-kernel"), &program).expect("copied");
    let port = env.kernel_port().expect("it was asked for").to_string();
    let mut kernel = Command::new(program);
    kernel.args(["--daemonize", "-p", &port]).env(process::MARK, env.id()).current_dir("/");
    assert!(kernel.uid(STRANGER).gid(STRANGER).status().expect("it runs").success());

    env.write_ini("[watcher:sleeper]\ncmd = sleep 1000\nuse_papa = True\n");
    let output = env.command().output().expect("circusd runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("belongs to user 65534"), "{text}");
    assert_eq!(env.kernel().command("list processes"), "");
}

/// A `systemd-run` that notes its arguments and then does this, and a PATH on which it comes first.
fn fake_systemd_run(env: &TestEnv, then: &str) -> String {
    let folder = env.path("bin");
    std::fs::create_dir(&folder).expect("a new directory");
    let program = folder.join("systemd-run");
    let script = format!("#!/bin/sh\necho \"$@\" > {}\n{then}\n", env.path("asked").display());
    std::fs::write(&program, script).expect("writable");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("it is ours");
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{}:{path}", folder.display())
}

#[test]
fn inside_a_systemd_unit_the_kernel_gets_a_unit_of_its_own() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    env.write_ini("[watcher:sleeper]\ncmd = sleep 1000\nuse_papa = True\n");
    // What systemd would do: start what comes after the options.
    let path = fake_systemd_run(&env, "while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"");
    let circusd = env.spawn_with(&[("PATH", &path), ("INVOCATION_ID", "1")]);
    circusd.wait_for_answer();
    circusd.wait_for_pids("sleeper", 1);
    let asked = std::fs::read_to_string(env.path("asked")).expect("systemd-run was called");
    let place = env.kernel_path().expect("a kernel with a path").display().to_string();
    for word in
        ["--service-type=forking", "--property=KillMode=process", "--unit=papa-kernel-", &place]
    {
        assert!(asked.contains(word), "{word}: {asked}");
    }
    let log = circusd.log();
    assert!(log.contains("the papa kernel runs in a systemd unit of its own"), "{log}");
    assert!(!log.contains("ends hosted workers"), "{log}");
}

#[test]
fn without_a_unit_of_its_own_the_kernel_is_started_with_a_warning() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    env.write_ini("[watcher:sleeper]\ncmd = sleep 1000\nuse_papa = True\n");
    let path = fake_systemd_run(&env, "echo 'Interactive authentication required.' >&2; exit 1");
    let circusd = env.spawn_with(&[("PATH", &path), ("INVOCATION_ID", "1")]);
    circusd.wait_for_answer();
    circusd.wait_for_pids("sleeper", 1);
    let log = circusd.log();
    let warning = "stopping the unit ends hosted workers: no unit of its own can be had \
                   (Interactive authentication required.)";
    assert!(log.contains("[WARNING]") && log.contains(warning), "{log}");
}
