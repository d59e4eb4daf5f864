//! circusd under a service manager: the datagrams of sd_notify(3), on a path and on an abstract name, and the units
//! that come with it.

use circus_e2e::process::Signal;
use circus_e2e::python::say_skipped;
use circus_e2e::{PATIENCE, TestEnv, program};
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The next message that is not a sign of life.
fn next(socket: &UnixDatagram) -> String {
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    loop {
        let mut buffer = [0; 1024];
        let count = socket.recv(&mut buffer).expect("a message in time");
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        if text != "WATCHDOG=1" {
            return text;
        }
    }
}

#[test]
fn it_is_told_of_readiness_reloads_and_the_end() {
    let env = TestEnv::new();
    let socket = UnixDatagram::bind(env.path("notify")).expect("a socket");
    env.write_ini("[watcher:a]\ncmd = sleep 1000\ncopy_env = true\n");
    let mut command = env.command();
    command.env("NOTIFY_SOCKET", env.path("notify"));
    let circusd = env.spawn_as(command);
    let ready = format!("READY=1\nSTATUS=Running\nMAINPID={}", circusd.pid());
    assert_eq!(next(&socket), ready);
    let pid = circusd.wait_for_pids("a", 1)[0];
    circusd.wait_for_log("a started");
    let environment = std::fs::read(format!("/proc/{pid}/environ")).expect("it runs");
    let environment = String::from_utf8_lossy(&environment).into_owned();
    assert!(environment.contains("CIRCUS_TEST_ID") && !environment.contains("NOTIFY_SOCKET"));
    circusd.signal(Signal::HUP);
    let reloading = next(&socket);
    let time = reloading.strip_prefix("RELOADING=1\nSTATUS=Reloading\nMONOTONIC_USEC=");
    assert!(time.is_some_and(|time| time.parse::<u64>().is_ok()), "{reloading}");
    assert_eq!(next(&socket), ready);
    circusd.ask_to_end();
    assert_eq!(next(&socket), "STOPPING=1\nSTATUS=Stopping");
    assert!(circusd.wait().success());
}

#[test]
fn signs_of_life_come_on_an_abstract_socket_and_from_a_daemon() {
    let env = TestEnv::new().circus("pidfile = x.pid");
    let name = format!("circusd-e2e-{}", env.id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixDatagram::bind_addr(&address).expect("a socket");
    env.write_ini("[watcher:a]\ncmd = sleep 1000\n");
    let mut command = env.command();
    command.arg("--daemon").env("NOTIFY_SOCKET", format!("@{name}"));
    command.env("WATCHDOG_USEC", "20000");
    assert!(command.status().expect("it runs").success());
    let pid = std::fs::read_to_string(env.path("x.pid")).expect("written");
    assert_eq!(next(&socket), format!("READY=1\nSTATUS=Running\nMAINPID={}", pid.trim()));
    let mut buffer = [0; 64];
    for _ in 0..3 {
        let count = socket.recv(&mut buffer).expect("a message in time");
        assert_eq!(&buffer[..count], b"WATCHDOG=1");
    }
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// The units by name, with their text.
fn units() -> Vec<(String, String)> {
    let entries = std::fs::read_dir(deploy().join("systemd")).expect("the units");
    let mut units: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("readable").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("UTF-8"))
        })
        .collect();
    units.sort();
    units
}

#[test]
fn systemd_understands_every_line_of_the_units() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut paths = Vec::new();
    for (name, text) in units() {
        // It wants to find the programs, which nobody has installed here.
        let built = program::built("circusd");
        let here = built.parent().expect("a directory").display().to_string();
        let path = folder.path().join(name);
        std::fs::write(&path, text.replace("/usr/bin/", &format!("{here}/"))).expect("written");
        paths.push(path);
    }
    assert_eq!(paths.len(), 2, "{paths:?}");
    let verify = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&paths).output();
    let output = match verify {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return say_skipped("the units: there is no systemd here");
        }
        output => output.expect("systemd-analyze runs"),
    };
    // It only warns of what it does not understand.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn every_page_that_a_unit_names_comes_with_it() {
    for (name, text) in units() {
        let lines = text.lines().filter_map(|line| line.strip_prefix("Documentation="));
        let pages: Vec<&str> = lines.flat_map(|line| line.split(' ')).collect();
        assert!(!pages.is_empty(), "{name} names no page");
        for page in pages {
            let page = page.strip_prefix("man:").expect("a man page");
            let (page, section) = page
                .strip_suffix(')')
                .and_then(|page| page.split_once('('))
                .expect("NAME(SECTION)");
            let file = deploy().join(format!("man/{page}.{section}"));
            assert!(file.is_file(), "{} is missing", file.display());
        }
    }
}
