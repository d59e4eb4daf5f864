//! Nobody but the kernel's own user, root and those named gets in.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "only tests use it")]

mod harness;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use harness::{Client, Kernel, program, wait_until};
use nix::unistd::{Uid, setfsuid};

/// Nobody, on every Linux.
const STRANGER: u32 = 65534;

/// Only root can connect as somebody else; the checks run as root.
fn can_be_others() -> bool {
    let root = Uid::effective().is_root();
    if !root {
        eprintln!("skipped: only root can connect as another user");
    }
    root
}

/// Does `what` in a thread whose new sockets belong to the stranger.
fn as_stranger<T: Send>(what: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let stranger = scope.spawn(|| {
            setfsuid(Uid::from_raw(STRANGER));
            what()
        });
        stranger.join().unwrap()
    })
}

const REFUSED: &str =
    "Error: User 65534 may not give commands to this kernel; see --allow-user\n> ";

#[test]
fn a_stranger_on_the_port_gets_one_line_and_is_closed() {
    if !can_be_others() {
        return;
    }
    let kernel = Kernel::start(&[]);
    as_stranger(|| {
        let mut client = kernel.connect();
        client.send("set taken yes\nlist values\n");
        assert_eq!(String::from_utf8(client.read_all()).unwrap(), REFUSED);
    });
    assert_eq!(kernel.client().ask("get taken"), "");
}

#[test]
fn a_stranger_who_hangs_up_at_once_is_not_taken_for_root() {
    if !can_be_others() {
        return;
    }
    let kernel = Kernel::start(&[]);
    for half in [false, true] {
        as_stranger(|| {
            let mut client = kernel.connect();
            client.send("set taken yes\n");
            if half {
                client.stream.end_writing();
                assert_eq!(String::from_utf8(client.read_all()).unwrap(), REFUSED);
            }
        });
        assert_eq!(kernel.client().ask("get taken"), "");
    }
    // The other way round nothing is lost: the owner may hang up when he has been let in.
    let mut owner = kernel.client();
    owner.send("set mine yes\n");
    drop(owner);
    wait_until("the value is set", || kernel.client().ask("get mine") == "yes");
}

#[test]
fn strangers_cannot_use_up_descriptors() {
    if !can_be_others() {
        return;
    }
    let kernel = Kernel::start(&[]);
    let held: Vec<_> = as_stranger(|| (0..300).map(|_| kernel.connect()).collect());
    wait_until("most are cut off", || kernel.info("clients") <= 66);
    assert_eq!(kernel.client().ask("get a"), "");
    drop(held);
}

#[test]
fn an_ipv6_socket_does_not_hide_its_owner() {
    if !can_be_others() {
        return;
    }
    let kernel = Kernel::start(&[]);
    let address = format!("[::ffff:127.0.0.1]:{}", kernel.port);
    let Ok(stream) = std::net::TcpStream::connect(&address) else {
        eprintln!("skipped: no IPv6 here");
        return;
    };
    assert!(Client::over(stream).read_to("> ").starts_with("Papa is home."));
    as_stranger(|| {
        let mut client = Client::over(std::net::TcpStream::connect(&address).unwrap());
        assert_eq!(String::from_utf8(client.read_all()).unwrap(), REFUSED);
    });
}

#[test]
fn users_and_groups_can_be_let_in() {
    if !can_be_others() {
        return;
    }
    let gid = nix::unistd::Group::from_name("nogroup").unwrap();
    let gid = gid.map_or(STRANGER, |group| group.gid.as_raw()).to_string();
    for arguments in [["--allow-user", "65534"], ["--allow-group", &gid]] {
        let kernel = Kernel::start(&arguments);
        assert_eq!(as_stranger(|| kernel.client().ask("get a")), "", "{arguments:?}");
    }
}

#[test]
fn the_port_is_open_on_this_machine_only() {
    let kernel = Kernel::start(&[]);
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let table = table + &std::fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    let ends =
        |line: &&str| line.contains(&format!(":{:04X} ", kernel.port)) && line.contains(" 0A ");
    let listening: Vec<_> = table.lines().filter(ends).collect();
    let [only] = listening[..] else { panic!("{listening:?}") };
    assert!(only.contains(" 0100007F:"), "{only}");
}

/// A kernel on a path in a directory that everybody can enter.
fn on_path(arguments: &[&str], test: impl FnOnce(&Path)) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let path = directory.path().join("papa.sock");
    let mut kernel = program().arg("-u").arg(&path).args(arguments).spawn().unwrap();
    wait_until("the kernel listens", || std::os::unix::net::UnixStream::connect(&path).is_ok());
    test(&path);
    kernel.kill().unwrap();
    kernel.wait().unwrap();
}

/// What the stranger reads there; nothing if the system did not even let him connect.
fn stranger_on(path: &Path, gid: u32) -> String {
    const SCRIPT: &str = "import socket,sys
s=socket.socket(socket.AF_UNIX)
try: s.connect(sys.argv[1])
except PermissionError: sys.exit()
s.sendall(b'quit\\n')
d=s.recv(4096)
while d: sys.stdout.write(d.decode()); d=s.recv(4096)";
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT]).arg(path).current_dir("/").uid(STRANGER).gid(gid);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_path_is_its_owners_unless_others_are_let_in() {
    on_path(&[], |path| {
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert!(Client::on_path(path).read_to("> ").starts_with("Papa is home."));
        if can_be_others() {
            assert_eq!(stranger_on(path, STRANGER), "");
            // Even if somebody opens the path, whoever is there is asked for.
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o666)).unwrap();
            assert_eq!(stranger_on(path, STRANGER), REFUSED);
        }
    });
    if !can_be_others() {
        return;
    }
    on_path(&["--allow-user", "65534"], |path| {
        assert!(stranger_on(path, STRANGER).ends_with("ok\n"));
    });
    on_path(&["--allow-group", "4711"], |path| {
        let metadata = path.metadata().unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.gid()), (0o660, 4711));
        assert!(stranger_on(path, 4711).ends_with("ok\n"));
        assert_eq!(stranger_on(path, STRANGER), "");
    });
}

#[test]
fn unknown_names_are_refused_at_the_start() {
    let output = program()
        .args(["--allow-user", "no-such-user"])
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    let expected = "error: unknown user `no-such-user`; give a name or a number to --allow-user\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
    assert_eq!(output.status.code(), Some(1));
}
