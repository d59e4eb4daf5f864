//! Hosted workers, their sockets and their output outlive circusd.

use crate::http;
use crate::load::Load;
use crate::workers::{numbers, served_and_ticking, wait_for_number};
use circus_e2e::{Python, TestEnv, env::free_port};
use std::collections::BTreeMap;
use std::io::ErrorKind;

fn sections(env: &TestEnv, port: u16) -> String {
    served_and_ticking(env, port) + "[watcher:plain]\ncmd = sleep 1000\n"
}

#[test]
fn a_killed_circusd_costs_no_worker_no_line_and_no_connection() {
    let env = TestEnv::new();
    if !env.has_no_kernel() {
        let numbers = kill_and_start_again(&env);
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, expected, "each line once and in order");
    }
}

#[test]
fn the_original_circusd_adopts_what_our_kernel_has_kept() {
    let Some(python) = Python::for_test("the original circusd on our kernel") else { return };
    let env = TestEnv::of_the_original(python).on_our_kernel(python);
    let numbers = kill_and_start_again(&env);
    let mut counts = BTreeMap::new();
    for number in &numbers {
        *counts.entry(*number).or_insert(0) += 1;
    }
    let expected: Vec<u64> = (1..=numbers.iter().copied().max().expect("lines")).collect();
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), expected, "lines are missing");
    assert!(counts.values().all(|count| *count <= 2), "a line came more than twice: {counts:?}");
    // What was written and not yet confirmed may come again, once, from where it begins.
    let back = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert!(back <= 1, "the order is broken: {numbers:?}");
}

#[test]
fn our_circusd_adopts_what_the_original_kernel_has_kept() {
    let Some(python) = Python::for_test("our circusd on the original kernel") else { return };
    kill_and_start_again(&TestEnv::new().on_the_original_kernel(python));
}

#[test]
fn the_original_circusd_adopts_what_its_own_kernel_has_kept() {
    let Some(python) = Python::for_test("the original circusd and kernel") else { return };
    kill_and_start_again(&TestEnv::of_the_original(python).on_the_original_kernel(python));
}

/// What the kernel lists as processes of a watcher.
fn hosted_pids(env: &TestEnv, watcher: &str) -> Vec<i32> {
    let rows = env.kernel().command(&format!("list processes circus.{watcher}.*"));
    let pid = |row: &str| row.split(' ').find_map(|word| word.strip_prefix("pid=")?.parse().ok());
    rows.lines().map(|row| pid(row).expect("a row has a pid")).collect()
}

/// Kills circusd and starts it again; gives the numbers in the ticker's file.
fn kill_and_start_again(env: &TestEnv) -> Vec<u64> {
    let port = free_port();
    let circusd = env.start(&sections(env, port));
    let mut workers = circusd.wait_for_pids("web", 3);
    workers.sort_unstable();
    let ticker = circusd.wait_for_pids("ticker", 1);
    wait_for_number(env, &circusd, 20);

    let load = Load::on(port, 1);
    circusd.kill();
    let last = *numbers(env).last().expect("lines before the end of circusd");
    // A gap in which the workers answer and print without any circusd.
    load.wait_for_answers(50);

    let circusd = env.start_again();
    let mut adopted = circusd.wait_for_pids("web", 3);
    adopted.sort_unstable();
    let mut hosted = hosted_pids(env, "web");
    hosted.sort_unstable();
    let again = circusd.wait_for_pids("ticker", 1);
    wait_for_number(env, &circusd, last + 50);
    load.end();
    assert_eq!(hosted, workers);
    assert_eq!((adopted, again), (workers, ticker));

    numbers(env)
}

#[test]
fn quit_leaves_hosted_workers_to_the_next_circusd() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let port = free_port();
    let circusd = env.start(&sections(&env, port));
    let workers = circusd.wait_for_pids("web", 3);
    let plain = circusd.wait_for_pids("plain", 1);
    wait_for_number(&env, &circusd, 5);
    assert!(circusd.quit().success());

    assert!(!circus_e2e::process::is_alive(plain[0]), "a direct worker ends with circusd");
    let last = *numbers(&env).last().expect("lines before the end of circusd");
    let pid: i32 = http::get(port).expect("workers answer").trim().parse().expect("a pid");
    assert!(workers.contains(&pid));

    let circusd = env.start_again();
    let adopted = circusd.wait_for_pids("web", 3);
    assert!(adopted.iter().all(|pid| workers.contains(pid)), "{adopted:?} {workers:?}");
    wait_for_number(&env, &circusd, last + 20);
    let numbers = numbers(&env);
    let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "the output of the gap stands once and in its place");
}

#[test]
fn nobody_is_refused_while_all_workers_are_replaced() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let port = free_port();
    let circusd = env.start(&sections(&env, port));
    let old = circusd.wait_for_pids("web", 3);
    let load = Load::on(port, 1);
    load.wait_for_answers(10);
    circusd.ok("restart", serde_json::json!({"name": "web", "waiting": true}));
    let new = circusd.wait_for_pids("web", 3);
    assert!(new.iter().all(|pid| !old.contains(pid)), "{old:?} {new:?}");
    // A worker that is stopped in the middle of an answer is no concern of this test.
    let failures = load.failures();
    let refused = failures.iter().find(|error| error.kind() == ErrorKind::ConnectionRefused);
    assert!(refused.is_none(), "{failures:?}");
}
