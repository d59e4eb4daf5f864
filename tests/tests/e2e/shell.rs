//! The interactive shell on a terminal of its own: completion, Ctrl-C, history.

use circus_e2e::process::MARK;
use circus_e2e::terminal::Terminal;
use circus_e2e::{TestEnv, program};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// circusctl without a command, at a terminal.
fn shell(env: &TestEnv) -> Terminal {
    let mut command = Command::new(program::built("circusctl"));
    command
        .args(["--timeout", "30", "--endpoint", &env.endpoint()])
        .env(MARK, env.id())
        .env("XDG_STATE_HOME", env.directory());
    Terminal::start(command, 80, 24)
}

#[test]
fn the_shell_completes_cancels_and_remembers() {
    let env = TestEnv::new();
    let fixture = program::fixture("ignore-term");
    let circusd = env.start(&format!(
        "[watcher:web]\ncmd = sleep 1000\n[watcher:slow]\ncmd = {fixture}\ngraceful_timeout = 1000\n\
         stdout_stream.class = StdoutStream\n"
    ));
    circusd.wait_for_pids("slow", 1);
    circusd.wait_until("it ignores SIGTERM", || {
        let tail = circusd.ok("tail", json!({"name": "slow"}));
        (!tail["tails"][0]["records"][0].is_null()).then_some(())
    });
    let mut terminal = shell(&env);
    terminal.wait_for_print("web: ");
    terminal.wait_for_print("(circusctl) ");

    // TAB completes a command and a watcher.
    terminal.press("statu\tw\t");
    terminal.wait_for_print("status web ");
    terminal.press("\r");
    terminal.wait_for_print("active");
    terminal.wait_for_print("(circusctl) ");

    // Ctrl-C throws the line away.
    terminal.press("quit");
    terminal.wait_for_print("quit");
    terminal.press("\x03");
    terminal.wait_for_print("(circusctl) ");
    circusd.wait_for_answer();

    // A slow command tells how it goes on, and Ctrl-C ends it and not the shell.
    terminal.press("stop slow --waiting\r");
    terminal.wait_for_print("stopping slow: 1 of 1 left, ");
    terminal.press("\x03");
    terminal.wait_for_print("interrupted");
    terminal.wait_for_print("(circusctl) ");
    terminal.press("numwatchers\r");
    terminal.wait_for_print("\n2\r\n");
    terminal.wait_for_print("(circusctl) ");
    terminal.press(" globaloptions endpoint\r");
    terminal.wait_for_print("endpoint: ipc://");
    terminal.wait_for_print("(circusctl) ");

    terminal.press("\x04");
    assert!(terminal.wait().success());
    assert!(terminal.is_sane());
    let history = env.path("circusctl/history");
    let mode = std::fs::metadata(&history).expect("kept").permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let history = std::fs::read_to_string(&history).expect("readable");
    assert!(history.contains("\nstatus web \n"), "{history}");
    assert!(!history.contains("globaloptions"), "a line that begins with a blank is not kept");
}
