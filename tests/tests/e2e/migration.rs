//! From circus 0.17.2 to ours and back, on the kernel of papa 1.0.6, without a worker noticing.

use crate::http;
use crate::workers::{numbers, served_and_ticking, wait_for_number};
use circus_e2e::{Python, TestEnv, env::free_port};
use serde_json::json;

fn sorted(mut pids: Vec<i32>) -> Vec<i32> {
    pids.sort_unstable();
    pids
}

#[test]
fn a_stack_moves_to_our_circusd_and_back_with_all_its_workers() {
    let Some(python) = Python::for_test("migration") else { return };
    let env = TestEnv::of_the_original(python).on_the_original_kernel(python);
    let (port, path) = (free_port(), env.path("unix.sock"));
    let socket = format!("[socket:unix]\npath = {}\nuse_papa = True\n", path.display());
    let sections = served_and_ticking(&env, port) + &socket;
    let original = env.start(&sections);
    let workers = sorted(original.wait_for_pids("web", 3));
    let ticker = original.wait_for_pids("ticker", 1);
    wait_for_number(&env, &original, 10);
    let inode =
        |path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).expect("bound"));
    let before = inode(&path);
    original.kill();

    let env = env.under_the_other_circusd(python);
    let ours = env.start(&sections);
    assert_eq!(sorted(ours.wait_for_pids("web", 3)), workers);
    assert_eq!(ours.wait_for_pids("ticker", 1), ticker);
    let last = *numbers(&env).last().expect("lines");
    wait_for_number(&env, &ours, last + 20);
    let served: i32 = http::get(port).expect("workers answer").trim().parse().expect("a pid");
    assert!(workers.contains(&served));
    // What is changed here is kept in the original kernel, too.
    ours.wait_until("the start is over", || {
        let reply = ours.call("incr", json!({"name": "web", "waiting": true}));
        (reply["status"] == "ok").then_some(())
    });
    let more = sorted(ours.wait_for_pids("web", 4));
    assert!(workers.iter().all(|pid| more.contains(pid)));
    ours.kill();
    let ours = env.start_again();
    assert_eq!(sorted(ours.wait_for_pids("web", 4)), more);
    ours.wait_until("the start is over", || {
        let reply = ours.call("decr", json!({"name": "web", "waiting": true}));
        (reply["status"] == "ok").then_some(())
    });
    let left = sorted(ours.wait_for_pids("web", 3));
    assert!(ours.quit().success());

    let env = env.under_the_other_circusd(python);
    let original = env.start(&sections);
    assert_eq!(sorted(original.wait_for_pids("web", 3)), left);
    assert_eq!(original.wait_for_pids("ticker", 1), ticker);
    let last = *numbers(&env).last().expect("lines");
    wait_for_number(&env, &original, last + 20);
    assert_eq!(inode(&path), before, "the path was never bound again");
    let numbers = numbers(&env);
    let highest = *numbers.iter().max().expect("lines");
    let missing = (1..=highest).filter(|number| !numbers.contains(number)).count();
    assert_eq!(missing, 0, "no line is missing");
}
