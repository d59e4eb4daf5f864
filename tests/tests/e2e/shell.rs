//! The interactive shell on a terminal of its own: completion, Ctrl-C, history.

use circus_e2e::{PATIENCE, TestEnv, program};
use nix::pty::{Winsize, openpty};
use serde_json::json;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// circusctl on a terminal, and what it has shown that nobody has waited for yet.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    fn start(env: &TestEnv) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).expect("a terminal");
        let slave = File::from(pty.slave);
        let copy = || slave.try_clone().expect("a second handle");
        // Only a terminal that controls it turns Ctrl-C into a signal.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(program::built("circusctl"))
            .args(["--timeout", "30", "--endpoint", &env.endpoint()])
            .env("TERM", "xterm")
            .env("XDG_STATE_HOME", env.directory())
            .stdin(copy())
            .stdout(copy())
            .stderr(copy())
            .spawn()
            .expect("util-linux is everywhere");
        drop(slave);
        let keyboard = File::from(pty.master);
        let mut output = keyboard.try_clone().expect("a second handle");
        let (send, screen) = channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // An error is the end of everybody on the other side.
            while let Ok(count) = output.read(&mut piece) {
                if count == 0 || send.send(piece[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, keyboard, screen, shown: String::new() }
    }

    fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("somebody reads");
    }

    /// Waits until this is shown, and forgets everything up to it.
    fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.shown.find(text) {
                self.shown.drain(..at + text.len());
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let piece = self.screen.recv_timeout(left);
            assert!(piece.is_ok(), "{text:?} is not shown: {:?}", self.shown);
            self.shown.push_str(&String::from_utf8_lossy(&piece.unwrap_or_default()));
        }
    }

    fn end(mut self) -> ExitStatus {
        self.child.wait().expect("it is our child")
    }
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
    let mut terminal = Terminal::start(&env);
    terminal.wait_for("web: ");
    terminal.wait_for("(circusctl) ");

    // TAB completes a command and a watcher.
    terminal.type_in("statu\tw\t");
    terminal.wait_for("status web ");
    terminal.type_in("\r");
    terminal.wait_for("active");
    terminal.wait_for("(circusctl) ");

    // Ctrl-C throws the line away.
    terminal.type_in("quit");
    terminal.wait_for("quit");
    terminal.type_in("\x03");
    terminal.wait_for("(circusctl) ");
    circusd.wait_for_answer();

    // A slow command tells how it goes on, and Ctrl-C ends it and not the shell.
    terminal.type_in("stop slow --waiting\r");
    terminal.wait_for("stopping slow: 1 of 1 left, ");
    terminal.type_in("\x03");
    terminal.wait_for("interrupted");
    terminal.wait_for("(circusctl) ");
    terminal.type_in("numwatchers\r");
    terminal.wait_for("\n2\r\n");
    terminal.wait_for("(circusctl) ");
    terminal.type_in(" globaloptions endpoint\r");
    terminal.wait_for("endpoint: ipc://");
    terminal.wait_for("(circusctl) ");

    terminal.type_in("\x04");
    assert!(terminal.end().success());
    let history = env.path("circusctl/history");
    let mode = std::fs::metadata(&history).expect("kept").permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let history = std::fs::read_to_string(&history).expect("readable");
    assert!(history.contains("\nstatus web \n"), "{history}");
    assert!(!history.contains("globaloptions"), "a line that begins with a blank is not kept");
}
