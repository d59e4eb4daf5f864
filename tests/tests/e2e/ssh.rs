//! `--ssh` through a real OpenSSH server on a free port.

use circus_e2e::terminal::Terminal;
use circus_e2e::waiting::eventually;
use circus_e2e::{TestEnv, process, program};
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Names the key to ssh where a program has no option for it.
const KEY: &str = "CIRCUS_TEST_SSH_KEY";

/// An OpenSSH server for the user that runs the tests.
struct Sshd {
    child: Child,
    directory: tempfile::TempDir,
    port: u16,
}

impl Sshd {
    fn start() -> Option<Self> {
        if !PathBuf::from("/usr/sbin/sshd").exists() {
            circus_e2e::python::unavailable("ssh", "openssh-server is not installed");
            return None;
        }
        // Where the server runs as root it wants this directory; where it does not, it does without.
        let _ = std::fs::create_dir_all("/run/sshd");
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        for key in ["host", "user", "stranger"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(path(key))
                .status();
            assert!(made.expect("ssh-keygen runs").success());
        }
        std::fs::copy(path("user.pub"), path("authorized")).expect("copied");
        let port = circus_e2e::env::free_port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {host}\nAuthorizedKeysFile {authorized}\n\
             PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n\
             KbdInteractiveAuthentication no\n",
            host = path("host").display(),
            authorized = path("authorized").display(),
        );
        std::fs::write(path("sshd_config"), config).expect("written");
        // ssh looks into the real home for known hosts whatever HOME says, so it gets a file of options.
        let options = format!(
            "Host *\nUserKnownHostsFile {}\nStrictHostKeyChecking accept-new\nIdentitiesOnly yes\n\
             BatchMode yes\n",
            path("known_hosts").display()
        );
        std::fs::write(path("ssh_config"), options).expect("written");
        let wrapper = format!(
            "#!/bin/sh\nexec /usr/bin/ssh -F {} ${{{KEY}:+-i \"${KEY}\"}} \"$@\"\n",
            path("ssh_config").display()
        );
        std::fs::create_dir(path("bin")).expect("made");
        std::fs::write(path("bin/ssh"), wrapper).expect("written");
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(path("bin/ssh"), executable).expect("set");
        let mut child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(path("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sshd runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut said = Vec::new();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| {
            let ready = line.starts_with("Server listening");
            said.push(line);
            ready
        });
        assert!(ready, "sshd does not start: {said:?}");
        // What it says later must go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { child, directory, port })
    }

    /// circusctl that reaches circusd through this server with this key.
    fn circusctl(&self, env: &TestEnv, key: &str, arguments: &[&str]) -> Command {
        self.program("circusctl", env, key, arguments)
    }

    /// A program of ours that reaches circusd through this server with this key.
    fn program(&self, name: &str, env: &TestEnv, key: &str, arguments: &[&str]) -> Command {
        let key = self.directory.path().join(key);
        let mut command = self.program_with_ssh(name, env);
        command.arg("--ssh_keyfile").arg(key).args(arguments);
        command
    }

    /// A daemon of ours, which has no option for the key.
    fn daemon(&self, name: &str, env: &TestEnv, key: &str, arguments: &[&str]) -> Command {
        let mut command = self.program_with_ssh(name, env);
        command.env(KEY, self.directory.path().join(key)).args(arguments);
        command
    }

    fn program_with_ssh(&self, name: &str, env: &TestEnv) -> Command {
        let bin = self.directory.path().join("bin");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new(program::built(name));
        command
            .args(["--ssh", &format!("127.0.0.1:{}", self.port)])
            .env("PATH", path)
            .env(process::MARK, env.id())
            .env("TMPDIR", env.directory())
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ran(mut command: Command) -> (String, String, Option<i32>) {
    let Output { stdout, stderr, status } = command.output().expect("circusctl runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(stdout), text(stderr), status.code())
}

/// No ssh of this test runs, and no directory of a tunnel is left.
fn assert_cleared(env: &TestEnv) {
    let is_ssh = |pid: &i32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim() == "ssh"
    };
    let left: Vec<_> = env.processes().into_iter().filter(is_ssh).collect();
    assert_eq!(left, [] as [i32; 0]);
    let entries = std::fs::read_dir(env.directory()).expect("readable");
    let names =
        entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"));
    let left: Vec<_> = names.filter(|name| name.starts_with("circusctl-")).collect();
    assert_eq!(left, [] as [&str; 0]);
}

#[test]
fn both_kinds_of_endpoint_are_reached_through_ssh() {
    let Some(sshd) = Sshd::start() else { return };
    let env = TestEnv::new();
    let port = circus_e2e::env::free_port();
    let circusd = env.start("[watcher:w]\ncmd = sleep 1000\n");
    circusd.wait_for_pids("w", 1);
    let (endpoint, events) = (env.endpoint(), env.pubsub_endpoint());
    let (out, err, code) = ran(sshd.circusctl(&env, "user", &["--endpoint", &endpoint, "status"]));
    assert_eq!((out.as_str(), err.as_str(), code), ("w: active\n", "", Some(0)));
    assert_cleared(&env);

    // Nobody there, although ssh is.
    let nobody = format!("tcp://127.0.0.1:{port}");
    let arguments = ["--timeout", "1", "--endpoint", &nobody, "status"];
    let (out, err, code) = ran(sshd.circusctl(&env, "user", &arguments));
    assert_eq!((out.as_str(), code), ("", Some(1)));
    assert!(
        err.starts_with(&format!("error: no circusd answers at {nobody} within 1 s\n")),
        "{err}"
    );
    assert!(err.contains("and nobody listens there; is circusd running?"), "{err}");

    // Events come through a tunnel as well; and however circusctl ends, ssh ends with it.
    let mut listen = sshd.circusctl(&env, "user", &["--endpoint", &events, "listen"]);
    let mut listen = listen.stdout(Stdio::piped()).spawn().expect("circusctl runs");
    let mut line = String::new();
    let mut lines = BufReader::new(listen.stdout.take().expect("piped"));
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| lines.read_line(&mut line).expect("UTF-8"));
        // A subscription takes a moment to arrive; so there are events until one has been seen.
        while !reading.is_finished() {
            // Refused while the one before it is carried out.
            circusd.call("set", serde_json::json!({"name": "w", "options": {"max_age": 0}}));
        }
    });
    assert!(line.starts_with("watcher.w."), "{line}");
    listen.kill().expect("it listens until it is interrupted");
    listen.wait().expect("it ended");
    circusd.wait_until("ssh has ended", || {
        let ssh = env.processes().into_iter().any(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.trim() != "circusd" && name.trim() != "sleep")
        });
        (!ssh).then_some(())
    });
    assert_cleared(&env);
    circusd.quit();
}

#[test]
fn a_refusal_of_ssh_is_told_with_its_words() {
    let Some(sshd) = Sshd::start() else { return };
    let env = TestEnv::new();
    let (out, err, code) = ran(sshd.circusctl(&env, "stranger", &["status"]));
    assert_eq!((out.as_str(), code), ("", Some(1)));
    assert!(err.starts_with("error: ssh could not reach 127.0.0.1:"), "{err}");
    assert!(err.contains("caused by: ") && err.contains("Permission denied"), "{err}");
    assert!(err.contains("work by itself?\n"), "{err}");
    assert_cleared(&env);
}

#[test]
fn circus_top_reaches_feed_and_circusd_through_ssh() {
    if program::another_circusd().is_some() {
        return circus_e2e::python::say_skipped("circus-top with our circusd");
    }
    let Some(sshd) = Sshd::start() else { return };
    let env = TestEnv::new();
    let stats = format!("ipc://{}", env.path("stats").display());
    let lines = format!("statsd = True\nstats_endpoint = {stats}\nstats_interval = 0.2");
    let env = env.circus(&lines);
    let circusd = env.start("[watcher:w]\ncmd = sleep 1000\n");
    let pid = circusd.wait_for_pids("w", 1)[0].to_string();
    let endpoint = env.endpoint();
    let places = ["--endpoint", &stats, "--circusd", &endpoint];

    let once = [&places[..], &["--once", "--filter", "w", "--timeout", "30"]].concat();
    let (out, err, code) = ran(sshd.program("circus-top", &env, "user", &once));
    assert_eq!((err.as_str(), code), ("", Some(0)));
    assert!(out.starts_with("w\n") && out.contains(&pid), "{out}");
    assert_cleared(&env);

    // The details are circusd's, which has a tunnel of its own.
    let at_terminal = [&places[..], &["--filter", "w"]].concat();
    let mut terminal =
        Terminal::start(sshd.program("circus-top", &env, "user", &at_terminal), 100, 40);
    terminal.wait_for("the worker", |screen| screen.contains(&pid));
    terminal.press("\r");
    terminal.wait_for("the details", |screen| screen.contains("w: active, 1 of 1 running"));
    terminal.press("q");
    assert!(terminal.wait().success());
    assert!(terminal.is_sane());
    assert_cleared(&env);

    let (out, err, code) = ran(sshd.program("circus-top", &env, "stranger", &once));
    assert_eq!((out.as_str(), code), ("", Some(1)));
    assert!(err.starts_with("error: ssh could not reach 127.0.0.1:"), "{err}");
    assert_cleared(&env);
}

#[test]
fn circus_plugin_reaches_commands_and_events_through_ssh() {
    let Some(sshd) = Sshd::start() else { return };
    let env = TestEnv::new();
    let circusd = env.start("[watcher:w]\ncmd = sleep 1000\n");
    circusd.wait_for_pids("w", 1);
    let statsd = UdpSocket::bind("127.0.0.1:0").expect("a port");
    statsd.set_read_timeout(Some(Duration::from_millis(100))).expect("a time");
    let port = statsd.local_addr().expect("an address").port();
    let (endpoint, events) = (env.endpoint(), env.pubsub_endpoint());
    let config = format!("loop_rate:0.1:::host:127.0.0.1:::port:{port}");
    let plugin = |class: &str, key: &str| {
        let arguments = ["--endpoint", &endpoint, "--pubsub", &events, "--config", &config, class];
        sshd.daemon("circus-plugin", &env, key, &arguments)
    };
    // One of them asks circusd, the other hears what it publishes.
    for (class, expected) in [
        ("FullStats", "circus.app.watcher._stats.w."),
        ("StatsdEmitter", "circus.app.watcher.w.updated:1|c"),
    ] {
        let class = format!("circus.plugins.statsd.{class}");
        let mut plugin = plugin(&class, "user").spawn().expect("circus-plugin runs");
        eventually(&format!("{class} sends {expected}"), || {
            // A subscription takes a moment to arrive, and this is refused while the one before it is carried out.
            circusd.call("set", serde_json::json!({"name": "w", "options": {"max_age": 0}}));
            let mut buffer = [0; 1024];
            let length = statsd.recv(&mut buffer).ok()?;
            String::from_utf8_lossy(&buffer[..length]).starts_with(expected).then_some(())
        });
        let pid = i32::try_from(plugin.id()).expect("pids fit");
        process::Handle::open(pid).expect("it runs").terminate();
        assert!(plugin.wait().expect("it ends").success());
        assert_cleared(&env);
    }

    let (out, err, code) = ran(plugin("circus.plugins.statsd.FullStats", "stranger"));
    assert_eq!((out.as_str(), code), ("", Some(1)));
    assert!(err.contains("error: ssh could not reach 127.0.0.1:"), "{err}");
    assert_cleared(&env);
}
