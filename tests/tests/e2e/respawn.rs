//! A worker that dies is replaced because it died, not because a clock has ticked.

use circus_e2e::{Daemon, TestEnv, process::Handle};
use std::time::Instant;

/// No periodic check comes within the life of a test.
const NO_CHECKS: &str = "check_delay = 3600";

/// Kills the worker and gives the pid of its replacement.
fn replace(circusd: &Daemon, watcher: &str, pid: i32) -> i32 {
    Handle::open(pid).expect("the worker runs").kill();
    circusd.wait_until("another worker runs", || {
        let pids = circusd.pids(watcher);
        pids.first().copied().filter(|new| *new != pid)
    })
}

#[test]
fn a_killed_worker_is_replaced_at_once() {
    if circus_e2e::program::another_circusd().is_some() {
        return; // The original waits for its next check.
    }
    let env = TestEnv::new().circus(NO_CHECKS);
    let circusd = env.start("[watcher:sleeper]\ncmd = sleep 1000\n");
    let pid = circusd.wait_for_pids("sleeper", 1)[0];
    let events = circusd.subscribe();
    let new = replace(&circusd, "sleeper", pid);
    let reap = events.wait_for("watcher.sleeper.reap");
    assert_eq!((&reap["process_pid"], &reap["exit_code"]), (&pid.into(), &(-9).into()));
    assert_eq!(events.wait_for("watcher.sleeper.spawn")["process_pid"], new);
}

#[test]
fn a_killed_hosted_worker_is_replaced_at_once() {
    let env = TestEnv::new().circus(NO_CHECKS);
    if env.has_no_kernel() {
        return;
    }
    let circusd = env.start("[watcher:sleeper]\ncmd = sleep 1000\nuse_papa = True\n");
    let pid = circusd.wait_for_pids("sleeper", 1)[0];
    let new = replace(&circusd, "sleeper", pid);
    let listed = env.kernel().command("list processes");
    assert!(listed.contains(&format!("circus.sleeper.1 pid={new} running=True")), "{listed}");
}

/// Not a test but a figure: `cargo test -p circus-e2e --release -- --ignored --nocapture respawn`.
#[test]
#[ignore = "prints a figure"]
fn median_time_to_replace_a_worker() {
    for hosted in [false, true] {
        let env = TestEnv::new().circus(NO_CHECKS);
        let circusd = env.start(&format!(
            "[watcher:sleeper]\ncmd = sleep 1000\nnumprocesses = 20\nuse_papa = {hosted}\n"
        ));
        // Each once: one that dies young for the second time is replaced late, on purpose.
        let pids = circusd.wait_for_pids("sleeper", 20);
        let events = circusd.subscribe();
        let mut times: Vec<_> = pids
            .into_iter()
            .map(|pid| {
                let begin = Instant::now();
                Handle::open(pid).expect("the worker runs").kill();
                events.wait_for("watcher.sleeper.spawn");
                begin.elapsed()
            })
            .collect();
        times.sort();
        println!(
            "hosted: {hosted}, median {:?}, slowest {:?}",
            times[times.len() / 2],
            times[times.len() - 1]
        );
    }
}
