//! circus-top: our own on a terminal and for scripts, against both feeds, and the original against ours.

use circus_e2e::process::MARK;
use circus_e2e::program::{self, run};
use circus_e2e::python::say_skipped;
use circus_e2e::terminal::Terminal;
use circus_e2e::{Daemon, Python, TestEnv};
use serde_json::{Value, json};
use std::process::Command;

const SECTIONS: &str = "[watcher:web]\ncmd = sleep 1000\nnumprocesses = 2\n\
                        [watcher:parent]\ncmd = sh -c \"sleep 1000 & wait\"\n\
                        [socket:s]\nhost = 127.0.0.1\nport = 0\n";

fn stats_endpoint(env: &TestEnv) -> String {
    format!("ipc://{}", env.path("stats").display())
}

/// A world with statistics; ours are quick.
fn world(env: TestEnv, ours: bool) -> TestEnv {
    let interval = if ours { "\nstats_interval = 0.2" } else { "" };
    let lines = format!("statsd = True\nstats_endpoint = {}{interval}", stats_endpoint(&env));
    env.circus(&lines)
}

fn our_world() -> Option<TestEnv> {
    if program::another_circusd().is_some() {
        say_skipped("circus-top with our circusd");
        return None;
    }
    Some(world(TestEnv::new(), true))
}

fn started(env: &TestEnv) -> Daemon {
    let circusd = env.start(SECTIONS);
    circusd.wait_for_pids("web", 2);
    circusd.wait_for_pids("circusd-stats", 1);
    circusd
}

fn top(env: &TestEnv, more: &[&str]) -> Command {
    let mut command = Command::new(program::built("circus-top"));
    command
        .args(["--endpoint", &stats_endpoint(env), "--circusd", &env.endpoint()])
        .args(more)
        .env(MARK, env.id())
        .env("LANG", "C.UTF-8")
        .env_remove("LC_ALL");
    command
}

/// The output of a run that must succeed.
fn output(mut command: Command) -> String {
    let output = command.output().expect("it is built");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn one_look_is_printed_as_text_and_as_json() {
    let Some(env) = our_world() else { return };
    let circusd = started(&env);
    let pids = circusd.pids("web");
    let text = output(top(&env, &["--once", "--tree", "--timeout", "30"]));
    for head in ["circus\n", "parent\n", "sockets\n", "web\n"] {
        assert!(text.contains(head), "{head} is missing:\n{text}");
    }
    assert!(
        text.contains(
            "   PID                      CPU (%)             MEMORY (%)          AGE (s)\n"
        )
    );
    assert!(text.contains(&format!("  {} ", pids[0])), "{text}");
    assert!(text.contains("    `-"), "the child of the parent:\n{text}");
    let one = output(top(&env, &["--once", "--filter", "web", "--timeout", "30"]));
    assert!(one.starts_with("web\n") && !one.contains("parent"), "{one}");
    let json = output(top(&env, &["--json", "--timeout", "30"]));
    let look: Value = serde_json::from_str(&json).expect("JSON");
    let web = &look["watchers"]["web"];
    let mut listed =
        serde_json::from_value::<Vec<i32>>(web["summary"]["pid"].clone()).expect("pids");
    listed.sort_unstable();
    let mut expected = pids.clone();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    assert_eq!(web["processes"][pids[0].to_string()]["cmdline"], "sleep");
    assert_eq!(look["sockets"]["summary"]["reads"], 0);
}

#[test]
fn our_circus_top_reads_the_original_feed() {
    let Some(python) = Python::for_test("our circus-top and the original feed") else { return };
    let env = world(TestEnv::of_the_original(python), false);
    let circusd = started(&env);
    let pids = circusd.pids("web");
    let text = output(top(&env, &["--once", "--timeout", "60"]));
    assert!(text.contains("(circusd-stats)"), "{text}");
    assert!(text.contains(&format!("  {} ", pids[0])), "{text}");
    let json = output(top(&env, &["--json", "--timeout", "60"]));
    let look: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(look["watchers"]["web"]["processes"][pids[1].to_string()]["children"], json!([]));
}

#[test]
fn the_original_circus_top_shows_our_feed() {
    let Some(python) = Python::for_test("the original circus-top") else { return };
    let Some(env) = our_world() else { return };
    let circusd = started(&env);
    let pids = circusd.pids("web");
    let mut command = Command::new(python.program("circus-top"));
    command.args(["--endpoint", &stats_endpoint(&env)]).env(MARK, env.id());
    let mut terminal = Terminal::start(command, 100, 50);
    terminal.wait_for("all watchers", |screen| {
        let has = |text: &str| screen.contains(text);
        has("(circusd-stats)")
            && has(&format!("  {} ", pids[0]))
            && has("HITS")
            && has("(older)")
            && ["circus\n", "parent\n", "sockets\n", "web\n"].iter().all(|head| has(head))
    });
}

#[test]
fn keys_change_the_view_and_the_terminal_is_given_back() {
    let Some(env) = our_world() else { return };
    let circusd = started(&env);
    let pids = circusd.pids("web");
    let mut terminal = Terminal::start(top(&env, &[]), 100, 40);
    terminal.wait_for("the watchers", |screen| {
        screen.starts_with("Circus Top")
            && screen.contains(&pids[0].to_string())
            && screen.contains("HITS")
    });
    assert!(!terminal.is_sane(), "it works on a screen of its own");
    terminal.press("t");
    terminal.wait_for("a child", |screen| screen.contains("    └ "));
    terminal.press("/par");
    terminal.wait_for("the filter", |screen| {
        !screen.contains("HITS") && screen.contains("filter: par_")
    });
    terminal.press("\r");
    terminal.press("\r");
    terminal.wait_for("the details", |screen| {
        screen.contains("- parent -") && screen.contains("parent: active, 1 of 1 running")
    });
    terminal.press("h");
    terminal.wait_for("the help", |screen| screen.contains("turn the order round"));
    terminal.press("q");
    assert!(terminal.wait().success());
    assert!(terminal.is_sane());
}

#[test]
fn a_watcher_that_vanishes_goes_from_the_screen() {
    let Some(env) = our_world() else { return };
    let circusd = started(&env);
    let mut terminal = Terminal::start(top(&env, &["--process-timeout", "1"]), 30, 60);
    let has =
        |screen: &str, name: &str| screen.lines().any(|line| line.split(' ').next() == Some(name));
    terminal.wait_for("web", |screen| has(screen, "web") && has(screen, "parent"));
    terminal.press("\x1b[F");
    circusd.ok("rm", json!({"name": "web", "waiting": true}));
    terminal.wait_for("no web", |screen| !has(screen, "web") && has(screen, "parent"));
    terminal.press("\x03");
    assert!(terminal.wait().success());
    assert!(terminal.is_sane());
}

#[test]
fn a_lost_daemon_is_shown_and_found_again_and_a_signal_leaves_the_terminal_sane() {
    let Some(env) = our_world() else { return };
    let circusd = started(&env);
    let mut terminal = Terminal::start(top(&env, &[]), 80, 40);
    terminal.wait_for("web", |screen| screen.contains("web"));
    circusd.kill();
    let lost =
        terminal.wait_for("the loss", |screen| screen.contains("no circusd-stats at ipc://"));
    assert!(lost.contains("web"), "the last figures stay: {lost}");
    let circusd = env.start_again();
    let pid = circusd.wait_for_pids("web", 2)[0].to_string();
    terminal.wait_for("the new workers", |screen| {
        screen.contains(&pid) && !screen.contains("no circusd-stats")
    });
    terminal.terminate();
    assert_eq!(terminal.wait().code(), Some(128 + 15));
    assert!(terminal.is_sane());
}

#[test]
fn another_size_of_the_terminal_is_another_layout() {
    let Some(env) = our_world() else { return };
    let circusd = started(&env);
    let pid = circusd.pids("web")[0].to_string();
    let mut terminal = Terminal::start(top(&env, &[]), 100, 40);
    let fills = |screen: &str, lines: usize| screen.lines().count() == lines;
    let full = terminal.wait_for("the watchers", |screen| {
        screen.contains(&pid) && screen.contains("HITS") && fills(screen, 40)
    });
    let widest = |screen: &str| screen.lines().map(|line| line.chars().count()).max();
    assert!(widest(&full) > Some(60), "{full}");
    terminal.resize(60, 12);
    let small = terminal.wait_for("the small one", |screen| {
        screen.starts_with("Circus Top") && fills(screen, 12) && !screen.contains("HITS")
    });
    assert!(widest(&small) <= Some(60), "{small}");
    // Too small for anything, and nothing breaks.
    terminal.resize(3, 1);
    terminal.resize(120, 50);
    terminal.wait_for("the big one", |screen| {
        screen.contains(&pid) && screen.contains("HITS") && fills(screen, 50)
    });
    terminal.press("\x0ch");
    terminal.wait_for("the help on a screen drawn anew", |screen| {
        screen.contains("turn the order round") && screen.contains(&pid)
    });
    terminal.press("q");
    assert!(terminal.wait().success());
    assert!(terminal.is_sane());
}

#[test]
fn a_panic_anywhere_gives_the_terminal_back_and_says_what_was() {
    let Some(env) = our_world() else { return };
    let _circusd = started(&env);
    for (place, code) in [("draw", 101), ("feed", 1)] {
        let mut command = top(&env, &[]);
        command.env("CIRCUS_TOP_TEST_FAULT", place);
        let mut terminal = Terminal::start(command, 100, 40);
        assert_eq!(terminal.wait().code(), Some(code), "{place}: {}", terminal.shown());
        assert!(terminal.is_sane(), "{place}");
        let shown = terminal.shown();
        assert!(shown.contains("a test asked for it"), "{place}: {shown}");
        assert!(!shown.contains("Circus Top"), "{place}: {shown}");
    }
}

#[test]
fn what_cannot_be_read_is_told_in_one_sentence() {
    let env = TestEnv::new();
    let circus_top = program::built("circus-top");
    let nobody = format!("ipc://{}", env.path("nobody").display());
    let told = |arguments: &[&str]| {
        let output = run(&circus_top, arguments);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = told(&["--once", "--timeout", "0", "--endpoint", &nobody]);
    assert_eq!(code, Some(1));
    assert!(text.starts_with(&format!("error: nothing is published at {nobody}")), "{text}");
    let (code, text) = told(&["--once", "--endpoint", "web"]);
    assert_eq!(code, Some(1));
    assert!(text.starts_with("error: `web` is not an endpoint"), "{text}");
    let (code, text) = told(&["--endpoint", &nobody]);
    assert_eq!(code, Some(1));
    assert!(text.starts_with("error: circus-top needs a terminal"), "{text}");
    let output = run(&circus_top, &["--endpoint", &nobody]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "no control characters for nobody");
    let (code, _) = told(&["--sort", "colour"]);
    assert_eq!(code, Some(2));
}
