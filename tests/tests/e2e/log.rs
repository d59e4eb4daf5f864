//! circusd's own log: its form, where it goes, and changing that while it runs.

use circus_e2e::process::Signal;
use circus_e2e::{Daemon, TestEnv};
use serde_json::json;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

const ONE: &str = "[watcher:a]\ncmd = sleep 1000\n";

fn wait_for(circusd: &Daemon, path: &Path, text: &str) -> String {
    circusd.wait_until(&format!("`{text}` is in {}", path.display()), || {
        fs::read_to_string(path).ok().filter(|log| log.contains(text))
    })
}

/// Digits become N, so that times and pids do not matter.
fn shape(line: &str) -> String {
    line.chars().map(|c| if c.is_ascii_digit() { 'N' } else { c }).collect()
}

fn circusd(env: &TestEnv, arguments: &[&str]) -> Daemon {
    let mut command = env.command();
    command.args(arguments);
    let circusd = env.spawn_as(command);
    circusd.wait_for_pids("a", 1);
    circusd
}

/// logging_formats: the first part.
#[test]
fn lines_have_the_form_of_the_original_and_the_command_line_goes_first() {
    let env = TestEnv::new().circus("loglevel = warning\nlogoutput = out.log");
    env.write_ini(ONE);
    let quiet = circusd(&env, &[]);
    assert_eq!(fs::read_to_string(env.path("out.log")).expect("made at the start"), "");
    assert!(quiet.terminate().success());
    let loud = circusd(&env, &["--log-level", "DEBUG", "--log-output", "-"]);
    let pid = loud.pid();
    loud.wait_for_log(&format!("circus[{pid}] [INFO] a started\n"));
    let log = loud.log();
    let line = log.lines().find(|line| line.ends_with("a started")).expect("it is there");
    let expected = "NNNN-NN-NN NN:NN:NN circus[";
    assert_eq!(&shape(line)[..expected.len()], expected);
    assert_eq!(fs::read_to_string(env.path("out.log")).expect("it is there"), "");
}

/// log_file_rotation_and_reload, and HUP.
#[test]
fn a_log_that_was_moved_is_opened_again() {
    let env = TestEnv::new().circus("logoutput = c.log");
    let circusd = env.start(ONE);
    let log = env.path("c.log");
    wait_for(&circusd, &log, "a started");
    fs::rename(&log, env.path("c.log.1")).expect("it is there");
    circusd.ok("restart", json!({"name": "a", "waiting": true}));
    let text = wait_for(&circusd, &log, "a started");
    assert!(text.contains("a stopped") && !text.contains("Arbiter now waiting"), "{text}");
    fs::rename(&log, env.path("c.log.2")).expect("it is there");
    circusd.signal(Signal::HUP);
    wait_for(&circusd, &log, "Got signal SIG_HUP");
    // In place: logrotate's copytruncate.
    wait_for(&circusd, &log, "a reloaded");
    fs::write(&log, "").expect("writable");
    circusd.ok("restart", json!({"name": "a", "waiting": true}));
    assert!(wait_for(&circusd, &log, "a started").starts_with("20"), "no hole before it");
}

/// logging_formats: syslog.
#[test]
fn syslog_gets_priority_facility_and_a_line() {
    let env = TestEnv::new();
    let socket = UnixDatagram::bind(env.path("syslog")).expect("a socket");
    let path = env.path("syslog").display().to_string();
    env.write_ini(ONE);
    let circusd = circusd(&env, &["--log-output", &format!("syslog://{path}?local3")]);
    let mut buffer = [0; 1024];
    let count = socket.recv(&mut buffer).expect("a datagram");
    let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
    assert_eq!(&text[..5], "<158>");
    let pid = circusd.pid();
    assert!(
        text.ends_with(&format!(" circus[{pid}] [INFO] Starting master on pid {pid}\0")),
        "{text}"
    );
    // `Mon DD HH:MM:SS` and a blank.
    assert_eq!(shape(&text[8..21]), " NN NN:NN:NN ");
}

/// logging_formats: logger configurations.
#[test]
fn a_logger_configuration_replaces_level_and_output() {
    let env = TestEnv::new().circus("loglevel = error\nloggerconfig = log.json");
    env.write_ini(ONE);
    let json = json!({
        "version": 1,
        "formatters": {"short": {"format": "%(levelname)1.1s %(levelname)s %(message)s"}},
        "handlers": {"file": {"class": "logging.FileHandler", "filename": "json.log",
                              "formatter": "short"}},
        "root": {"level": "INFO", "handlers": ["file"]},
    });
    fs::write(env.path("log.json"), json.to_string()).expect("writable");
    let first = circusd(&env, &[]);
    wait_for(&first, &env.path("json.log"), "I INFO a started\n");
    assert!(first.terminate().success());
    let default = circusd(&env, &["--logger-config", "default", "--log-level", "info"]);
    default.wait_for_log("a started");
    assert!(default.terminate().success());
    let mut command = env.command();
    let output = command.args(["--logger-config", "log.toml"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("*.ini, *.json or *.yaml"));
}

#[test]
fn level_and_output_change_with_a_reload_of_the_file() {
    let env = TestEnv::new();
    let circusd = env.start(ONE);
    circusd.wait_for_log("a started");
    let ini = fs::read_to_string(env.path("circus.ini")).expect("it is there");
    let with = |lines: &str| {
        let text = ini.replace("[circus]\n", &format!("[circus]\n{lines}\n"));
        fs::write(env.path("circus.ini"), text).expect("writable");
        circusd.call("reloadconfig", json!({"waiting": true}))
    };
    let pids = circusd.wait_for_pids("a", 1);
    assert_eq!(with("logoutput = new.log")["status"], "ok");
    circusd.ok("restart", json!({"name": "a", "waiting": true}));
    wait_for(&circusd, &env.path("new.log"), "a started");
    assert_eq!(circusd.log().matches("a started").count(), 1);
    // One that cannot be opened changes nothing.
    let reply = with("logoutput = no/dir/x.log");
    assert!(
        reply["reason"].as_str().is_some_and(|reason| reason.contains("no/dir/x.log")),
        "{reply}"
    );
    assert_eq!(with("logoutput = new.log\nloglevel = error")["status"], "ok");
    circusd.ok("restart", json!({"name": "a", "waiting": true}));
    let log = fs::read_to_string(env.path("new.log")).expect("it is there");
    assert_eq!(log.matches("a started").count(), 1, "{log}");
    assert_ne!(circusd.pids("a"), pids);
}
