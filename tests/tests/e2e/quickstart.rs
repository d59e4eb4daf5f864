//! The example that the README begins with.

use crate::http;
use circus_e2e::{Python, TestEnv, env::free_port};
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn the_quickstart_stack_answers_from_several_workers() {
    let env = TestEnv::new();
    if Python::for_test("the quickstart stack").is_none() || env.has_no_kernel() {
        return;
    }
    // As it is, but for what two runs at once would share.
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples");
    let text = std::fs::read_to_string(examples.join("quickstart.ini")).expect("the example");
    let port = free_port();
    let (_, sections) = text.split_once("[socket:web]").expect("the example has a socket");
    let sections = format!("[socket:web]{sections}")
        .replace("deploy/examples", &examples.display().to_string())
        .replace("8765", &port.to_string())
        .replace("/tmp/circus-quickstart", &env.path("quickstart").display().to_string());

    let circusd = env.start(&sections);
    let workers = circusd.wait_for_pids("web", 3);
    circusd.wait_for_pids("ticker", 1);
    circusd.wait_for_pids("plain", 1);
    let mut seen = BTreeSet::new();
    circusd.wait_until("two workers have answered", || {
        let body = http::get(port).expect("an answer");
        let pid = body.trim().rsplit(' ').next().and_then(|pid| pid.parse().ok());
        seen.insert(pid.expect("the pid comes last"));
        (seen.len() > 1).then_some(())
    });
    assert!(seen.iter().all(|pid| workers.contains(pid)), "{seen:?} {workers:?}");
    circusd.wait_until("the ticker's file has two lines", || {
        let text = std::fs::read_to_string(env.path("quickstart-ticker.log")).unwrap_or_default();
        (text.starts_with("1 ") && text.contains("\n2 ")).then_some(())
    });
    let address = format!("answers at http://127.0.0.1:{port}/");
    circusd.wait_until("the workers print their address", || {
        (circusd.log().matches(&address).count() == 3).then_some(())
    });
}
