//! circusd goes on as another program, and comes back when that cannot take over.

use circus_e2e::program::{built, circusd, fixture, run};
use circus_e2e::{Daemon, TestEnv};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const HOSTED: &str = "[watcher:web]\ncmd = sleep 1000\nnumprocesses = 2\nuse_papa = True\n";

/// Another file with the same program.
fn copy(env: &TestEnv, name: &str) -> PathBuf {
    let path = env.path(name);
    std::fs::copy(circusd(), &path).expect("there is room");
    path
}

fn program_of(circusd: &Daemon) -> PathBuf {
    std::fs::read_link(format!("/proc/{}/exe", circusd.pid())).expect("it runs")
}

/// Orders an upgrade once nothing else is under way, and gives the reply.
fn order(circusd: &Daemon, properties: &Value) -> Value {
    circusd.wait_until("nothing else is under way", || {
        let reply = circusd.call("upgrade", properties.clone());
        let busy = reply["reason"].as_str().is_some_and(|text| text.contains("already running"));
        (!busy).then_some(reply)
    })
}

/// Upgrades and gives what circusd says in the end.
fn upgrade(circusd: &Daemon, properties: &Value) -> Value {
    let begun = order(circusd, properties);
    assert_eq!(begun["status"], "ok", "{begun}\n{}", circusd.log());
    circusd.wait_until("the upgrade has ended", || {
        let reply = circusd.call_again("upgrade", json!({"result": begun["upgrade"]}));
        (reply["pending"] != true).then_some(reply)
    })
}

#[test]
fn an_upgrade_keeps_pid_workers_and_what_operators_changed() {
    let env = TestEnv::new().circus("pidfile = circusd.pid");
    if env.has_no_kernel() {
        return;
    }
    let circusd = env.start(HOSTED);
    circusd.wait_for_pids("web", 2);
    circusd.wait_until("the start is over", || {
        let reply = circusd.call("incr", json!({"name": "web", "waiting": true}));
        (reply["status"] == "ok").then_some(())
    });
    let workers = circusd.wait_for_pids("web", 3);
    let next = copy(&env, "circusd-next");
    let endpoint = env.endpoint();
    let arguments = ["--endpoint", &endpoint, "upgrade", next.to_str().expect("UTF-8")];
    let output = run(&built("circusctl"), &arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}\n{}", circusd.log());
    assert!(said.starts_with("circusd ") && said.contains(" has taken over from "), "{said}");
    assert_eq!(program_of(&circusd), next);
    assert_eq!(circusd.wait_for_pids("web", 3), workers);
    let pid = std::fs::read_to_string(env.path("circusd.pid")).expect("a pidfile");
    assert_eq!(pid.trim(), circusd.pid().to_string());
    // And again, as what has taken the place of the file.
    std::fs::rename(copy(&env, "newer"), &next).expect("the same directory");
    let reply = upgrade(&circusd, &json!({}));
    assert_eq!(reply["status"], "ok", "{reply}");
    assert_eq!(program_of(&circusd), next);
    assert_eq!(circusd.wait_for_pids("web", 3), workers);
    assert!(circusd.quit().success());
}

/// Who follows something has the old circusd wait a moment for its last replies.
#[test]
fn how_an_upgrade_stands_is_told_while_the_old_circusd_ends() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let circusd = env.start(HOSTED);
    circusd.wait_for_pids("web", 2);
    let context = zmq::Context::new();
    let follower = context.socket(zmq::DEALER).expect("a socket");
    follower.set_linger(0).expect("linger");
    follower.connect(&env.endpoint()).expect("a valid endpoint");
    let now = circusd.ok("events", json!({}))["next"].clone();
    let after = now.as_u64().expect("a number") + 1_000_000;
    let request =
        json!({"id": "x", "command": "events", "properties": {"after": after, "wait": 1000}});
    follower.send(request.to_string().as_str(), 0).expect("sent");
    // Two requests of one client arrive in their order.
    let request = json!({"id": "y", "command": "numwatchers", "properties": {}});
    follower.send(request.to_string().as_str(), 0).expect("sent");
    follower.recv_bytes(0).expect("the second is answered");
    let reply = upgrade(&circusd, &json!({"program": copy(&env, "circusd-next")}));
    assert_eq!(reply["status"], "ok", "{reply}");
    assert!(circusd.quit().success());
}

#[test]
fn a_circusd_that_cannot_take_over_is_rolled_back() {
    for fault in ["takeover-error", "takeover-abort", "takeover-hang"] {
        let env = TestEnv::new();
        if env.has_no_kernel() {
            return;
        }
        env.write_ini(HOSTED);
        let circusd = env.spawn_with(&[("CIRCUSD_TEST_FAULT", fault)]);
        circusd.wait_for_answer();
        let workers = circusd.wait_for_pids("web", 2);
        let before = program_of(&circusd);
        let next = copy(&env, "circusd-next");
        let reply = upgrade(&circusd, &json!({"program": next, "timeout": 1}));
        assert_eq!(reply["status"], "error", "{fault}: {reply}");
        let reason = reply["reason"].as_str().expect("a reason");
        assert!(reason.contains("could not take over"), "{fault}: {reason}");
        assert_eq!(program_of(&circusd), before, "{fault}");
        assert_eq!(circusd.wait_for_pids("web", 2), workers, "{fault}");
        assert!(circusd.quit().success());
    }
}

#[test]
fn what_cannot_be_upgraded_is_refused_before_anything_is_stopped() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let sections = format!("{HOSTED}[watcher:plain]\ncmd = sleep 1000\n");
    let circusd = env.start(&sections);
    let plain = circusd.wait_for_pids("plain", 1);
    let workers = circusd.wait_for_pids("web", 2);
    let refused = |properties: Value| {
        let reply = order(&circusd, &properties);
        assert_eq!(reply["status"], "error", "{reply}");
        reply["reason"].as_str().expect("a reason").to_owned()
    };
    let names = refused(json!({}));
    assert!(names.contains("plain") && !names.contains("web"), "{names}");
    let script = env.path("script");
    std::fs::write(&script, "#!/bin/sh\n").expect("writable");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("ours");
    let fake = built("fixture");
    for program in [Path::new("/nowhere"), &script, Path::new("/bin/true"), &fake] {
        let reason = refused(json!({"program": program, "restart_direct": true}));
        assert!(reason.starts_with("not upgraded: "), "{reason}");
    }
    let good = std::fs::read_to_string(env.path("circus.ini")).expect("readable");
    std::fs::write(env.path("circus.ini"), format!("{good}[watcher:bad]\nnumprocesses = 1\n"))
        .expect("writable");
    let reason = refused(json!({"restart_direct": true}));
    assert!(reason.contains("`cmd` is missing"), "{reason}");
    assert_eq!(circusd.pids("plain"), plain);

    std::fs::write(env.path("circus.ini"), good).expect("writable");
    let reply = upgrade(&circusd, &json!({"restart_direct": true}));
    assert_eq!(reply["status"], "ok", "{reply}");
    assert_ne!(circusd.wait_for_pids("plain", 1), plain);
    assert_eq!(circusd.wait_for_pids("web", 2), workers);
}

#[test]
fn the_kernel_is_upgraded_under_a_running_circusd() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let sections = format!("[watcher:web]\ncmd = {}\nuse_papa = True\n", fixture("lines 10"));
    let circusd = env.start(&sections);
    let workers = circusd.wait_for_pids("web", 1);
    let endpoint = env.endpoint();
    let next = env.path("papa-kernel-next");
    std::fs::copy(built("papa-kernel"), &next).expect("there is room");
    let program = next.to_str().expect("UTF-8");
    let output =
        run(&built("circusctl"), &["--endpoint", &endpoint, "upgrade", "--kernel", program]);
    assert!(output.status.success(), "{output:?}\n{}", circusd.log());
    assert!(output.stdout.starts_with(b"ok papa-kernel "), "{output:?}");
    assert_eq!(circusd.wait_for_pids("web", 1), workers);
    let output =
        run(&built("circusctl"), &["--endpoint", &endpoint, "upgrade", "--kernel", "/bin/true"]);
    assert!(!output.status.success(), "{output:?}");
    assert!(circusd.quit().success());
}
