//! Upgrades of a running kernel, with the real binary.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests fail loudly")]

mod kernel;
mod load;

use std::path::Path;

use circus_e2e::waiting::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocol::papa::Record;

use kernel::{Client, Kernel, PROGRAM};

const UPGRADED: &str = concat!(
    "ok papa-kernel ",
    env!("CARGO_PKG_VERSION"),
    ", snapshot format 1, was ",
    env!("CARGO_PKG_VERSION")
);

/// Writes what it is told by signals: "one" for USR1, "two" for USR2, and ends on TERM with 7. A signal that
/// comes just before it sleeps is handled when it wakes, so it does not sleep for long.
const PUPPET: &str = "perl -e $|=1;$SIG{USR1}=sub{print%22one\\n%22};$SIG{USR2}=sub{print%22two\\n%22};\
    $SIG{TERM}=sub{exit%207};print%22ready\\n%22;sleep%201%20while%201";

fn pid_of(client: &mut Client, name: &str) -> Pid {
    let row = client.ask(&format!("%list processes {name}"));
    let pid = row.split(' ').find_map(|field| field.strip_prefix("pid=")).unwrap();
    Pid::from_raw(pid.parse().unwrap())
}

/// The next record's bytes, or what else it is.
fn next(client: &mut Client) -> String {
    match client.record() {
        Record::Out(output) | Record::Err(output) => String::from_utf8(output.data).unwrap(),
        Record::Closed { name, code, .. } => format!("{name} closed {code:?}"),
        Record::EndOfBlock => "]".to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn everything_a_kernel_holds_survives_in_the_same_process() {
    let mut kernel = Kernel::start();
    let mut client = kernel.client();
    client.ask("%set odd %0A%FF%20%00");
    client.ask("%set empty %");
    let port = client.ask("%make socket web reuseport=0");
    let path = kernel.directory.path().join("managed.sock");
    client.ask(&format!("%make socket local path={}", path.display()));
    client.ask("%make socket many reuseport=1");
    client.ask(&format!("%make process puppet bufsize=100 note=a%20b {PUPPET}"));
    client.ask("%make process gone sh -c echo%20last;exit%203");
    client.ask("%make process limits sh -c ulimit%20-n");
    client.ask(
        "%make process both stderr=stdout sh -c echo%20a;echo%20b%201>%262;exec%20sleep%20600",
    );
    for name in ["gone", "limits"] {
        wait_until(name, || {
            kernel.client().ask(&format!("%list processes {name}")).contains("running=False")
        });
    }
    let everything = |client: &mut Client| {
        ["processes", "sockets", "values"].map(|noun| client.ask(&format!("%list {noun}")))
    };
    let before = everything(&mut client);
    let children = kernel.children();
    let limits = std::fs::read(kernel.proc("limits")).unwrap();
    let title = std::fs::read(kernel.proc("comm")).unwrap();
    let mut silent = kernel.client();

    // Until then connections that have ended may be open, and what the test itself inherited.
    for _ in 0..2 {
        assert_eq!(client.ask("upgrade"), UPGRADED);
    }
    let open = kernel.descriptors();
    for _ in 0..2 {
        assert_eq!(client.ask("upgrade"), UPGRADED);
    }

    assert_eq!(everything(&mut client), before);
    assert_eq!(kernel.children(), children);
    assert_eq!(std::fs::read(kernel.proc("limits")).unwrap(), limits);
    assert_eq!(std::fs::read(kernel.proc("comm")).unwrap(), title);
    assert_eq!(kernel.descriptors(), open);
    assert!(open.iter().all(|(number, _, closed)| *number < 3 || *closed), "{open:?}");
    assert_eq!(silent.ask("%get empty"), "%");
    assert_eq!(client.ask("%make socket web reuseport=0"), port);
    assert!(path.exists());

    kill(pid_of(&mut client, "puppet"), Signal::SIGUSR1).unwrap();
    silent.watch("puppet");
    let mut seen = String::new();
    while !seen.ends_with("ready\n]one\n]") {
        let record = next(&mut silent);
        match record.as_str() {
            "]" if !seen.ends_with(']') => {
                seen.push(']');
                silent.send("\n");
            }
            text if text.starts_with("Watching") => {}
            text => seen.push_str(text),
        }
        if seen == "ready\none\n]" {
            break; // Both came in one block.
        }
    }

    client.ask("%make process later sh -c ulimit%20-n;env");
    let mut outputs = Vec::new();
    for name in ["gone", "limits", "later"] {
        client.watch(name);
        let mut text = String::new();
        loop {
            match client.record() {
                Record::Out(output) => text.push_str(&String::from_utf8(output.data).unwrap()),
                Record::Closed { code, .. } => text.push_str(&format!("{code:?}")),
                Record::EndOfBlock => client.send("\n"),
                Record::Stopped(_) => break,
                _ => {}
            }
        }
        outputs.push(text);
    }
    assert_eq!(outputs.first().unwrap(), "last\nSome(3)");
    let (limit, later) = (outputs.get(1).unwrap(), outputs.get(2).unwrap());
    assert_eq!(limit.lines().next(), later.lines().next(), "the original limit");
    assert!(!later.contains("PAPA"), "{later}");
    assert!(kernel.terminate().success());
    assert!(!kernel.socket().exists(), "{}", kernel.log());
}

#[test]
fn a_watcher_in_the_middle_of_a_stream_sees_no_gap_loss_or_duplicate() {
    let kernel = Kernel::start();
    let (mut boss, mut one, mut two) = (kernel.client(), kernel.client(), kernel.client());
    boss.ask(&format!("%make process puppet {PUPPET}"));
    let puppet = pid_of(&mut boss, "puppet");
    one.watch("puppet");
    assert_eq!(
        ["Watching(1)", "ready\n", "]"],
        [(); 3].map(|()| next(&mut one)).each_ref().map(String::as_str)
    );
    // One has a block that it did not answer, two has answered it.
    two.watch("puppet");
    assert_eq!(
        ["Watching(1)", "ready\n", "]"],
        [(); 3].map(|()| next(&mut two)).each_ref().map(String::as_str)
    );
    two.send("\n");
    kill(puppet, Signal::SIGUSR1).unwrap();
    assert_eq!(["one\n", "]"], [(); 2].map(|()| next(&mut two)).each_ref().map(String::as_str));

    assert_eq!(boss.ask("upgrade"), UPGRADED);

    kill(puppet, Signal::SIGUSR2).unwrap();
    two.send("\n");
    assert_eq!(["two\n", "]"], [(); 2].map(|()| next(&mut two)).each_ref().map(String::as_str));
    assert_eq!(boss.ask("upgrade"), UPGRADED);
    kill(puppet, Signal::SIGTERM).unwrap();
    two.send("\n");
    assert_eq!(next(&mut two), "puppet closed Some(7)");
    assert_eq!(next(&mut two), "]");
    two.send("\n");
    assert!(matches!(two.record(), Record::Stopped(_)));
    // Reaped and off the list, but not yet read by one.
    assert_eq!(boss.ask("list processes"), "");
    assert_eq!(boss.ask("upgrade"), UPGRADED);
    one.send("\n");
    let rest = [(); 4].map(|()| next(&mut one));
    assert_eq!(
        ["one\n", "two\n", "puppet closed Some(7)", "]"],
        rest.each_ref().map(String::as_str)
    );
    one.send("\n");
    assert!(matches!(one.record(), Record::Stopped(text) if text == "Nothing left to watch"));
}

#[test]
fn what_waits_in_buffers_and_sockets_is_answered_after_the_upgrade() {
    let kernel = Kernel::start();
    let (mut boss, mut other) = (kernel.client(), kernel.client());
    other.send("%set half do");
    boss.send("%set whole 1\nupgrade\n%get whole\n%upgrade\n%get half\n");
    assert_eq!(
        ["", UPGRADED, "1", UPGRADED, ""],
        [(); 5].map(|()| boss.answer()).each_ref().map(String::as_str)
    );
    other.send("ne\n%get half\n");
    assert_eq!(["", "done"], [(); 2].map(|()| other.answer()).each_ref().map(String::as_str));
}

#[test]
fn what_cannot_take_over_is_refused_in_one_line_and_changes_nothing() {
    let kernel = Kernel::start();
    let mut client = kernel.client();
    client.ask("%make process sleeper sleep 600");
    let before = client.ask("%list processes");
    let at = |name: &str| kernel.directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("text"), "#!/bin/sh\necho ok papa-kernel\n").unwrap();
    let program = std::fs::read(PROGRAM).unwrap();
    let mut foreign = program.clone();
    foreign[18] ^= 0xff;
    std::fs::write(at("foreign"), foreign).unwrap();
    std::fs::write(at("broken"), &program[..64 << 10]).unwrap();
    std::fs::write(at("plain"), &program).unwrap();
    for name in ["text", "foreign", "broken"] {
        executable(Path::new(&at(name)));
    }
    for (path, expected) in [
        ("relative".to_owned(), "The path of the new kernel must be absolute"),
        (at("missing"), "[Errno 2] No such file or directory"),
        (at("text"), "is not a program"),
        (at("foreign"), "is a program for another machine"),
        (at("plain"), "[Errno 13] Permission denied"),
        (at("broken"), "crashed in the rehearsal"),
        ("/tmp".to_owned(), "is not a file"),
        ("/dev/null".to_owned(), "is not a file"),
        ("/bin/true".to_owned(), "is not a kernel"),
        ("/bin/false".to_owned(), "is not a kernel"),
        ("/bin/echo".to_owned(), "is not a kernel"),
        ("/bin/ls".to_owned(), "cannot take over - "),
    ] {
        let answer = client.ask(&format!("%upgrade {path}"));
        assert!(answer.starts_with("Error: ") && answer.contains(expected), "{path}: {answer}");
        assert_eq!(client.ask("%list processes"), before);
    }
    assert_eq!(client.ask("upg"), "Error: You cannot abbreviate \"upgrade\"");
    assert_eq!(kernel.children().len(), 1, "no rehearsal is left");
    assert_eq!(client.ask("upgrade"), UPGRADED);
    assert_eq!(client.ask("%list processes"), before);
}

fn executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no faults to ask for")]
fn a_program_that_hangs_in_rehearsal_is_refused_while_everybody_is_served() {
    let kernel = Kernel::start_as(Path::new(PROGRAM), &[("PAPA_TEST_FAULT", "rehearsal-hang")]);
    let (mut client, mut other) = (kernel.client(), kernel.client());
    client.send("upgrade\n%get a\n");
    wait_until("the rehearsal runs", || !kernel.children().is_empty());
    assert_eq!(other.ask("%set a 1"), "");
    assert_eq!(other.ask("upgrade"), "Error: An upgrade is under way");
    let answer = client.answer();
    assert!(answer.contains("did not finish the rehearsal within"), "{answer}");
    assert_eq!(client.answer(), "1");
    assert!(kernel.children().is_empty());
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no faults to ask for")]
fn a_program_that_crashes_in_rehearsal_is_refused() {
    let kernel = Kernel::start_as(Path::new(PROGRAM), &[("PAPA_TEST_FAULT", "rehearsal-crash")]);
    let answer = kernel.client().ask("upgrade");
    assert_eq!(answer, format!("Error: {PROGRAM} crashed in the rehearsal - signal 6"));
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no faults to ask for")]
fn a_program_that_fails_at_the_exec_or_after_it_is_rolled_back() {
    for (fault, reason) in [
        ("exec-error", "Could not start the new kernel - [Errno 8] Exec format error"),
        ("takeover-error", "rolled back - a test asked for it"),
        ("takeover-panic", "rolled back - the new kernel panicked"),
        ("takeover-abort", "rolled back - the new kernel crashed"),
        ("takeover-segv", "rolled back - the new kernel crashed"),
    ] {
        let kernel = Kernel::start_as(Path::new(PROGRAM), &[("PAPA_TEST_FAULT", fault)]);
        let (mut boss, mut watcher) = (kernel.client(), kernel.client());
        let path = kernel.directory.path().join("managed.sock");
        boss.ask(&format!("%make socket local path={}", path.display()));
        boss.ask(&format!("%make process puppet {PUPPET}"));
        let puppet = pid_of(&mut boss, "puppet");
        watcher.watch("puppet");
        assert_eq!(
            ["Watching(1)", "ready\n", "]"],
            [(); 3].map(|()| next(&mut watcher)).each_ref().map(String::as_str)
        );
        let mut open = Vec::new();
        for _ in 0..4 {
            let answer = boss.ask("upgrade");
            assert!(answer.starts_with("Error: ") && answer.contains(reason), "{answer}");
            open.push(kernel.descriptors());
        }
        kill(puppet, Signal::SIGUSR1).unwrap();
        watcher.send("\n");
        assert_eq!(next(&mut watcher), "one\n", "{fault}");
        assert_eq!(pid_of(&mut boss, "puppet"), puppet);
        assert_eq!(open.get(2), open.get(3), "{fault}");
        assert!(path.exists() && kernel.socket().exists());
    }
}

#[test]
fn the_command_upgrades_to_what_has_replaced_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("papa-kernel");
    std::fs::copy(PROGRAM, &program).unwrap();
    let kernel = Kernel::start_as(&program, &[]);
    let old = std::fs::read_link(kernel.proc("exe")).unwrap();
    let fresh = directory.path().join("fresh");
    std::fs::copy(PROGRAM, &fresh).unwrap();
    std::fs::rename(&fresh, &program).unwrap();
    let run = |argument: &str| {
        let mut command = std::process::Command::new(PROGRAM);
        command.arg("-u").arg(kernel.socket()).arg(argument).output().unwrap()
    };
    let done = run("--upgrade");
    assert_eq!(String::from_utf8(done.stdout).unwrap(), format!("{UPGRADED}\n"));
    assert!(done.status.success());
    assert_eq!(std::fs::read_link(kernel.proc("exe")).unwrap(), old, "not the deleted one");
    let refused = run("--upgrade=/bin/true");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("/bin/true is not a kernel"));
    let done = run(&format!("--upgrade={PROGRAM}"));
    assert!(done.status.success());
    assert_eq!(std::fs::read_link(kernel.proc("exe")).unwrap(), Path::new(PROGRAM));
}
