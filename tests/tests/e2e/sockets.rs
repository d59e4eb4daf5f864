//! Managed sockets: kinds, files, and what processes get of them. The names in the comments are cases of
//! `tests/golden/behaviours.jsonl`.

use circus_e2e::env::free_port;
use circus_e2e::program::{built, run};
use circus_e2e::{Daemon, Python, TestEnv, process};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};

const SLEEPER: &str = "[watcher:z]\ncmd = sleep 1000\n";

fn get(port: u16) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("the socket is open");
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("the kernel takes it");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("a worker answers");
    answer.split("\r\n\r\n").nth(1).unwrap_or_default().trim().to_owned()
}

#[test]
fn other_users_cannot_reach_the_endpoints() {
    let env = TestEnv::new();
    let circusd = env.start(SLEEPER);
    circusd.wait_for_answer();
    for name in ["endpoint", "pubsub"] {
        let file = std::fs::metadata(env.path(name)).expect("the file is there");
        assert_eq!(file.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

/// `socket_kinds`
#[test]
fn sockets_of_every_kind_are_listed_as_they_were_bound() {
    let env = TestEnv::new();
    let ports = [free_port(), free_port(), free_port()];
    let circusd = env.start(&format!(
        "[socket:udp]\nhost = 127.0.0.1\nport = {}\ntype = SOCK_DGRAM\n\
         [socket:six]\nhost = ::1\nport = {}\nfamily = af_inet6\n\
         [socket:named]\nhost = localhost\nport = {}\nproto = tcp\nbacklog = 7\nblocking = true\n\
         [socket:dg]\npath = {}\ntype = sock_dgram\n{SLEEPER}",
        ports[0],
        ports[1],
        ports[2],
        env.path("dg.sock").display()
    ));
    let listed = circusd.ok("listsockets", json!({}));
    let mut sockets = listed["sockets"].as_array().expect("a list").clone();
    for socket in &mut sockets {
        socket.as_object_mut().expect("an object").remove("fd");
    }
    sockets.sort_by_key(|socket| socket["name"].to_string());
    assert_eq!(
        Value::from(sockets),
        json!([
            {"name": "dg", "backlog": 2048, "path": env.path("dg.sock").display().to_string()},
            {"name": "named", "backlog": 7, "host": "127.0.0.1", "port": ports[2]},
            {"name": "six", "backlog": 2048, "host": "::1", "port": ports[1]},
            {"name": "udp", "backlog": 2048, "host": "127.0.0.1", "port": ports[0]},
        ])
    );
}

/// libzmq takes such an address only when it is told that IPv6 is meant.
#[test]
fn endpoints_may_have_an_ipv6_address() {
    let env = TestEnv::new();
    let [endpoint, pubsub, stats] = [(); 3].map(|()| format!("tcp://[::1]:{}", free_port()));
    let text = format!(
        "[circus]\nendpoint = {endpoint}\npubsub_endpoint = {pubsub}\nstats_endpoint = {stats}\n\
         statsd = true\nmulticast_endpoint =\n[env]\n{} = {}\nPATH = $PATH\n{SLEEPER}",
        process::MARK,
        env.id()
    );
    std::fs::write(env.path("circus.ini"), text).expect("writable");
    let log = env.path("circusd.log");
    let _circusd = Daemon::spawn(env.command(), endpoint.clone(), pubsub, log);
    let said = |program: &str, arguments: &[&str]| {
        let output = run(&built(program), arguments);
        let text =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        text.concat()
    };
    // Both wait until somebody is there.
    let status = said("circusctl", &["--endpoint", &endpoint, "--timeout", "60", "numwatchers"]);
    assert_eq!(status, "2\n");
    let top = said("circus-top", &["--endpoint", &stats, "--timeout", "60", "--json"]);
    assert!(top.contains("circusd-stats"), "{top}");
    if let Some(python) = Python::with_our_package("an IPv6 address") {
        let code = "import sys; from circus.client import CircusClient\n\
                    print(CircusClient(endpoint=sys.argv[1], timeout=60).send_message('numwatchers'))";
        let output = python.script(code, &[&endpoint]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("'numwatchers': 2"), "{output:?}");
    }
}

/// `sockets_inherited`
#[test]
fn processes_get_the_sockets_they_name_and_the_file_goes_at_the_end() {
    let env = TestEnv::new();
    let port = free_port();
    let fixture = circus_e2e::program::fixture("serve-fd");
    let circusd = env.start(&format!(
        "[socket:Web]\nhost = 127.0.0.1\nport = {port}\n[socket:unix]\npath = {}\n\
         [watcher:a]\ncmd = {fixture} $(circus.sockets.WEB)\nuse_sockets = true\n\
         [watcher:b]\ncmd = {fixture} $(circus.sockets.web)\n{SLEEPER}",
        env.path("u.sock").display()
    ));
    let workers: Vec<String> =
        ["a", "b"].iter().map(|name| circusd.wait_for_pids(name, 1)[0].to_string()).collect();
    circusd.wait_for_pids("z", 1);
    let sockets = |watcher: &str| {
        let pid = circusd.pids(watcher)[0];
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
        let targets = fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    };
    // Counted before one of them has a connection.
    circusd.wait_until("two sockets for a", || (sockets("a") == 2).then_some(()));
    circusd.wait_until("one socket for b", || (sockets("b") == 1).then_some(()));
    assert_eq!(sockets("z"), 0);
    assert!(workers.contains(&get(port)));
    let file = std::fs::metadata(env.path("u.sock")).expect("the file is there");
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o767);
    assert!(circusd.quit().success());
    assert!(!env.path("u.sock").exists());
}

/// `socket_so_reuseport`
#[test]
fn each_process_gets_a_socket_of_its_own_with_so_reuseport() {
    let env = TestEnv::new();
    let port = free_port();
    let fixture = circus_e2e::program::fixture("serve-fd");
    let circusd = env.start(&format!(
        "[socket:web]\nhost = 127.0.0.1\nport = {port}\nso_reuseport = true\n\
         [watcher:w]\ncmd = {fixture}\nargs = $(circus.sockets.WEB)\nnumprocesses = 2\n"
    ));
    let pids = circusd.wait_for_pids("w", 2);
    let mut answered = std::collections::BTreeSet::new();
    circusd.wait_until("both have answered", || {
        answered.insert(get(port));
        (answered.len() == 2).then_some(())
    });
    let expected = pids.iter().map(ToString::to_string).collect();
    assert_eq!(answered, expected);
}

/// `stdin_socket`
#[test]
fn a_socket_can_be_standard_input() {
    let env = TestEnv::new();
    let port = free_port();
    let fixture = circus_e2e::program::fixture("serve-fd");
    let circusd = env.start(&format!(
        "[socket:web]\nhost = 127.0.0.1\nport = {port}\n\
         [watcher:a]\ncmd = {fixture} 0\nstdin_socket = web\n\
         [watcher:bad]\ncmd = sleep 1000\nstdin_socket = nosuch\n{SLEEPER}"
    ));
    let pid = circusd.wait_for_pids("a", 1)[0];
    assert_eq!(get(port), pid.to_string());
    circusd.wait_for_pids("z", 1);
    assert_eq!(circusd.call("status", json!({"name": "bad"}))["status"], "error", "left out");
}

/// `socket_unix_exists`, `socket_unix_replace`
#[test]
fn a_file_in_the_way_is_kept_and_a_socket_only_replaced_where_it_may_be() {
    let env = TestEnv::new();
    let path = env.path("s.sock");
    std::fs::write(&path, "in the way").expect("writable");
    let section = format!("[socket:s]\npath = {}\n{SLEEPER}", path.display());
    let replacing = section.replace("path =", "replace = true\npath =");
    for section in [&section, &replacing] {
        env.write_ini(section);
        let ended = env.spawn().wait();
        assert_eq!(ended.code(), Some(1));
        assert_eq!(std::fs::read_to_string(&path).expect("still there"), "in the way");
    }
    std::fs::remove_file(&path).expect("removable");
    let old = UnixListener::bind(&path).expect("a socket");
    env.write_ini(&section);
    assert_eq!(env.spawn().wait().code(), Some(1));
    UnixStream::connect(&path).expect("still the old one");
    drop(old);
    let section = replacing;
    let circusd = env.start(&section);
    assert!(std::fs::metadata(&path).expect("there").file_type().is_socket());
    drop(circusd);
}

/// `socket_bad_config`, `socket_unix_without_path`
#[test]
fn a_socket_that_cannot_be_made_is_left_out_with_the_reason() {
    let env = TestEnv::new();
    let port = free_port();
    let circusd = env.start(&format!(
        "[socket:bad]\nport = http\n[socket:bad2]\nfamily = AF_BOGUS\n[socket:bad3]\nfamily = AF_UNIX\n\
         [socket:good]\nhost = 127.0.0.1\nport = {port}\n{SLEEPER}"
    ));
    circusd.wait_for_pids("z", 1);
    let sockets = circusd.ok("listsockets", json!({}))["sockets"].clone();
    assert_eq!(sockets.as_array().map(Vec::len), Some(1), "{sockets}");
    for name in ["bad", "bad2", "bad3"] {
        assert!(circusd.log().contains(&format!("[socket:{name}]")), "{}", circusd.log());
    }
}

/// As in the original, and as the man page says.
#[test]
fn a_relative_path_is_meant_from_the_directory_of_circusd() {
    let env = TestEnv::new();
    let _circusd = env.start(&format!("[socket:s]\npath = s.sock\n{SLEEPER}"));
    UnixStream::connect(env.path("s.sock")).expect("it is there");
}

/// `socket_interface_option`
#[test]
fn a_socket_can_be_bound_to_an_interface() {
    let env = TestEnv::new();
    let port = free_port();
    let circusd = env
        .start(&format!("[socket:s]\nhost = 127.0.0.1\nport = {port}\ninterface = lo\n{SLEEPER}"));
    let sockets = circusd.ok("listsockets", json!({}))["sockets"].clone();
    assert_eq!(sockets[0]["port"], port);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
}
