//! What keeps circusd from starting: one sentence that says what, where and what to do, and exit status 1.
//! The original ends with status 0 in most of these cases (startup_errors in its recordings' documentation).

use circus_e2e::{TestEnv, env::free_port};
use std::fs;
use std::net::TcpListener;
use std::process::Command;

const ONE: &str = "[watcher:a]\ncmd = sleep 1000\n";

fn refused(env: &TestEnv, arguments: &[&str], code: i32) -> String {
    let output = env.command().args(arguments).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(env.processes(), [0; 0], "nothing is left: {said}");
    said
}

/// The sentence among what was said.
fn sentence(said: &str) -> &str {
    said.lines().find(|line| line.starts_with("circusd: ")).unwrap_or("nothing was said")
}

#[test]
fn each_reason_is_one_sentence_with_its_place() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let on_port = format!("[socket:s]\nhost = 127.0.0.1\nport = {port}\n");
    for (circus, sections, part) in [
        ("", on_port.as_str(), "[socket:s]"),
        ("", "[socket:s]\nhost = no-such-host.invalid\nport = 1\n", "host `no-such-host.invalid`"),
        (
            "",
            "[socket:s]\npath = circus.ini\n",
            "already exists; remove it or set `replace = true`",
        ),
        ("logoutput = no/dir/x.log", "", "cannot open the log `no/dir/x.log`"),
        ("loggerconfig = x.toml", "", "*.ini, *.json or *.yaml"),
        ("endpoint_owner = nobody-of-this-name", "", "endpoint_owner = nobody-of-this-name"),
        ("check_delay = soon", "", "[circus] check_delay = soon"),
    ] {
        let env = TestEnv::new().circus(circus);
        env.write_ini(&format!("{sections}{ONE}"));
        let said = refused(&env, &[], 1);
        assert!(sentence(&said).contains(part), "{part}: {said}");
    }
}

#[test]
fn a_pid_file_that_cannot_be_written_does_not_stay() {
    let env = TestEnv::new();
    env.write_ini(ONE);
    let circusd = env.command();
    let mut command = Command::new("sh");
    // As on a full disk: nothing can be written to a file, and that is an error, not a signal.
    command.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\" --pidfile pid", "sh"]);
    command.arg(circusd.get_program()).args(circusd.get_args()).current_dir(env.directory());
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(sentence(&said).contains("cannot write the pid file `pid`: File too large"), "{said}");
    assert!(!env.path("pid").exists());
}

#[test]
fn an_endpoint_that_cannot_be_had_is_named_with_its_key() {
    let somebody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = format!("tcp://{}", somebody.local_addr().expect("bound"));
    let free = format!("tcp://127.0.0.1:{}", free_port());
    for (endpoint, pubsub, part) in [
        (taken.as_str(), free.as_str(), "[circus] endpoint): the address is in use"),
        (&free, &taken, "[circus] pubsub_endpoint): the address is in use"),
        ("nonsense", &free, "circus.ini:2: [circus] endpoint = nonsense: not an endpoint"),
        (
            &free,
            "tcp://127.0.0.1:65537",
            "pubsub_endpoint = tcp://127.0.0.1:65537: not an endpoint",
        ),
    ] {
        let env = TestEnv::new();
        let circus = format!("endpoint = {endpoint}\npubsub_endpoint = {pubsub}");
        let ini = format!("[circus]\n{circus}\nmulticast_endpoint =\n{ONE}");
        fs::write(env.path("circus.ini"), ini).expect("writable");
        let said = refused(&env, &[], 1);
        assert!(sentence(&said).contains(part), "{circus}: {said}");
    }
}

#[test]
fn a_limit_of_open_files_that_is_no_use_is_one_sentence() {
    let env = TestEnv::new();
    env.write_ini(ONE);
    // Fewer are not enough for the program's libraries and file.
    for limit in 5..=18 {
        let circusd = env.command();
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={limit}")).arg(circusd.get_program());
        let output =
            command.args(circusd.get_args()).output().expect("prlimit is part of util-linux");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{limit}: {said}");
        assert_eq!(said.lines().count(), 1, "{limit}: {said}");
        assert!(said.starts_with("circusd: cannot start: Too many open files"), "{limit}: {said}");
    }
}

#[test]
fn a_wrong_command_line_is_status_2() {
    let env = TestEnv::new();
    env.write_ini(ONE);
    for arguments in [&["--log-level", "Debug"][..], &["--bogus"], &["--log", "x"], &["more.ini"]] {
        let said = refused(&env, arguments, 2);
        assert!(said.starts_with("error: "), "{said}");
    }
}

#[test]
fn a_check_of_the_file_tells_what_would_be_left_out() {
    let env = TestEnv::new();
    let ini = env.write_ini(&format!("{ONE}[socket:s]\nhost = 127.0.0.1\nport = http\n"));
    let output = env.command().arg("--check").output().expect("it runs");
    let (said, printed) = (&output.stderr, &output.stdout);
    let line = fs::read_to_string(&ini).expect("just written");
    let line = line.lines().position(|line| line == "port = http").expect("written") + 1;
    let expected = format!("error: {}:{line}: [socket:s] port = http: ", ini.display());
    let said = String::from_utf8_lossy(said);
    assert!(said.starts_with(&expected), "{said}");
    assert_eq!(String::from_utf8_lossy(printed), "ok, but what has an error is left out\n");
    assert!(output.status.success(), "circusd starts with the rest");
}

#[test]
fn a_check_of_the_file_tells_what_would_not_start() {
    let env = TestEnv::new();
    env.write_ini(
        "[watcher:a]\ncmd = sleep \"1000\n[watcher:b]\ncmd = true\nuid = nobody-of-this-name\n",
    );
    let output = env.command().arg("--check").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    for part in ["[watcher:a] cannot be started: ", "[watcher:b] uid = nobody-of-this-name: "] {
        assert!(said.contains(&format!("warning: {part}")), "{said}");
    }
    assert!(output.status.success(), "circusd starts all the same");

    let ini = format!("[circus]\npapa_endpoint = tcp://10.0.0.1:20202\nuse_papa = true\n{ONE}");
    fs::write(env.path("circus.ini"), ini).expect("writable");
    let said = refused(&env, &["--check"], 1);
    assert!(
        sentence(&said).starts_with("circusd: [circus] papa_endpoint = tcp://10.0.0.1:20202"),
        "{said}"
    );
}
