//! What must not hurt the kernel, its other clients or the output it keeps.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "only tests use it")]

mod harness;

use std::io::Write;
use std::os::unix::process::CommandExt;

use circus_e2e::Gate;
use harness::{Kernel, exact, is_alive, wait_until};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

fn pid_in(row: &str) -> i32 {
    let (_, rest) = row.split_once(" pid=").unwrap_or_else(|| panic!("no pid in {row}"));
    rest.split(' ').next().unwrap().parse().unwrap()
}

fn raise_own_limit(wanted: u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, wanted.max(soft).min(hard), hard).unwrap();
}

#[test]
fn a_process_whose_descriptors_run_out_serves_on() {
    // The kernel raises its soft limit to the hard one, so that is what is lowered.
    let kernel = Kernel::start_with(|command| {
        let program = command.get_program().to_owned();
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        *command = std::process::Command::new("setpriv");
        command.args(["--bounding-set=-sys_resource", "--inh-caps=-sys_resource", "prlimit"]);
        command.arg("--nofile=40:40").arg(program).args(arguments);
    });
    let mut first = kernel.client();
    let mut others: Vec<_> = (0..60).map(|_| kernel.connect()).collect();
    assert_eq!(first.ask("set a still here"), "");
    let answer = first.ask("make process p sleep 100");
    assert!(answer.starts_with("Error: "), "{answer}");
    // With descriptors free again everything works again.
    others.clear();
    wait_until("a process can start", || first.ask("make process p sleep 100").contains(" pid="));
    assert_eq!(kernel.client().ask("get a"), "still here");
}

#[test]
fn a_full_process_table_is_an_error_and_nothing_more() {
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root can run the kernel as a user without processes");
        return;
    }
    const NOBODY_ELSE: u32 = 54321;
    // In a directory of its own, since that user may not enter the build's.
    let directory = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).unwrap();
    let copy = directory.path().join("papa-kernel");
    std::fs::copy(env!("CARGO_BIN_EXE_papa-kernel"), &copy).unwrap();
    let kernel = Kernel::start_with(|command| {
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        *command = std::process::Command::new("prlimit");
        command.arg("--nproc=3:3").arg(&copy).args(arguments).current_dir("/");
        command.uid(NOBODY_ELSE).gid(NOBODY_ELSE);
    });
    let mut client = kernel.client();
    for name in ["a", "b"] {
        assert!(client.ask(&format!("make process {name} sleep 100")).contains(" pid="));
    }
    let answer = client.ask("make process c sleep 100");
    assert!(answer.contains("[Errno 11]") && answer.contains("RLIMIT_NPROC"), "{answer}");
    assert_eq!(client.ask("list processes c"), "");
    kill(Pid::from_raw(pid_in(&client.ask("list processes a"))), Signal::SIGKILL).unwrap();
    wait_until("a is gone", || {
        client.ask("remove processes a");
        client.ask("make process c sleep 100").contains(" pid=")
    });
}

#[test]
fn a_child_killed_at_any_moment_of_its_start_is_an_end_like_any_other() {
    let kernel = Kernel::start(&[]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for pid in kernel.children() {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
        });
        let mut client = kernel.client();
        for round in 0..200 {
            let answer = client.ask(&format!("make process p{round} sleep 100"));
            assert!(answer.contains(" pid=") || answer.starts_with("Error: "), "{answer}");
        }
        wait_until("all have ended", || !client.ask("list processes").contains("running=True"));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        client.ask("remove processes");
    });
    assert_eq!(kernel.info("processes"), 0);
    assert_eq!(kernel.children(), [0; 0]);
}

#[test]
fn a_thousand_silent_clients_keep_nobody_waiting() {
    raise_own_limit(4096);
    let kernel = Kernel::start(&[]);
    let silent: Vec<_> = (0..1000).map(|_| kernel.client()).collect();
    assert_eq!(kernel.info("clients"), 1001);
    assert!(kernel.info("memory") < 32 << 20);
    drop(silent);
    wait_until("they are forgotten", || kernel.info("clients") == 1);
}

#[test]
fn a_client_that_never_reads_is_not_served_on() {
    let kernel = Kernel::start(&[]);
    let mut deaf = kernel.connect();
    kernel.client().ask(&format!("set big {}", "x".repeat(1 << 20)));
    deaf.send("get big\n".repeat(2000));
    assert_eq!(kernel.client().ask("get other"), "");
    assert!(kernel.info("client_memory") < 8 << 20);
    let mut watching = kernel.client();
    kernel.client().ask("make process p /bin/sh -c head\\ -c\\ 1000000\\ /dev/zero;\\ sleep\\ 100");
    watching.send("watch processes p\n");
    wait_until("it is written", || kernel.info("unread") == 1_000_000);
    assert_eq!(kernel.client().ask("get other"), "");
}

#[test]
fn hoarding_clients_make_room_for_others() {
    let kernel = Kernel::start(&[]);
    let mut hoarders = Vec::new();
    for _ in 0..80 {
        let mut client = kernel.client();
        // No line feed, so it must be kept; the kernel may close another one to make room.
        let _ = client.stream.write_all(&vec![b'x'; 4 << 20]);
        hoarders.push(client);
    }
    // What one turn of the loop reads may come on top for a moment.
    assert!(kernel.info("client_memory") <= (256 + 32) << 20);
    assert!(kernel.info("memory") < (256 + 64) << 20);
    assert_eq!(kernel.client().ask("set a b"), "");
    let told = "Error: This connection holds too much of the kernel's memory\n";
    hoarders.iter_mut().for_each(|client| client.stream.end_writing());
    let ends: Vec<_> = hoarders.iter_mut().map(harness::Client::read_all).collect();
    assert!(ends.iter().any(|end| end == told.as_bytes()));
    assert!(ends.iter().any(|end| end.is_empty()));
}

const NO_MEMORY: &str = "Error: The kernel has no memory for this request\n> ";

/// A kernel that may have 100 MB.
fn with_little_memory() -> Kernel {
    Kernel::start_with(|command| {
        let program = command.get_program().to_owned();
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        *command = std::process::Command::new("prlimit");
        command.arg("--as=100000000").arg(program).args(arguments);
    })
}

#[test]
fn a_kernel_that_gets_no_more_memory_serves_on() {
    let kernel = with_little_memory();
    let mut client = kernel.client();
    client.ask("set a still here");
    // Three ways to more than there is: unread output, lines without an end, and values.
    let directory = tempfile::tempdir().unwrap();
    let gate = Gate::at(directory.path().join("go"));
    // They print when all are there: what is unread by then leaves no memory for another process.
    let script =
        format!("{}; head -c 4000000 /dev/zero; echo; echo last; exec sleep 100", gate.wait());
    for at in 0..60 {
        let answer = client.ask(&format!("%make process p{at} /bin/sh -c {}", exact(&script)));
        assert!(answer.contains(" pid="), "{answer}");
    }
    (0..60).for_each(|_| gate.let_one_pass());
    wait_until("all are written", || {
        kernel.info("unread") + kernel.info("dropped") == 60 * 4_000_006
    });
    let mut hoarders = Vec::new();
    for _ in 0..20 {
        let mut client = kernel.connect();
        let _ = client.stream.write_all(&vec![b'x'; 4 << 20]);
        hoarders.push(client);
    }
    let mut big = kernel.client();
    let _ = big.stream.write_all(format!("set big {}\n", "x".repeat(4 << 20)).as_bytes());
    assert_eq!(String::from_utf8_lossy(&big.read_all()), NO_MEMORY);
    assert_eq!(client.ask("upgrade"), "Error: The kernel has no memory for a snapshot");
    assert_eq!(client.ask("get a"), "still here");
    // With memory free again everything works again, and what had room was kept.
    drop(hoarders);
    client.send("%watch processes p0\n");
    let text = client.blocks_until(|text| text.contains("last\n"));
    assert!(text.contains("dropped:p0:"), "the loss is told");
    client.send("q\n");
    client.read_to("> ");
    client.ask("remove processes");
    let value = "x".repeat(1 << 20);
    assert_eq!(client.ask(&format!("set big {value}")), "");
    assert_eq!(kernel.client().ask("get big").len(), 1 << 20);
}

/// Leaves no memory for a request of any size.
fn fill_with_values(kernel: &Kernel) {
    for size in [1 << 20, 70_000] {
        for at in 0.. {
            let mut client = kernel.client();
            client.send(format!("set v{size}.{at} {}\nquit\n", "x".repeat(size)));
            if String::from_utf8_lossy(&client.read_all()) == NO_MEMORY {
                break;
            }
        }
    }
}

#[test]
fn what_is_kept_is_not_copied_without_memory() {
    let kernel = with_little_memory();
    let mut client = kernel.client();
    let words = format!(" {}", "x".repeat(100_000)).repeat(12);
    for at in 0..8 {
        let answer = client.ask(&format!("%make process p{at} sh -c exec%20sleep%20100{words}"));
        assert!(answer.contains(" pid="), "{answer}");
    }
    fill_with_values(&kernel);
    assert_eq!(client.ask("list processes"), "Error: The kernel has no memory for this answer");
    assert_eq!(client.ask("upgrade"), "Error: The kernel has no memory for a snapshot");
    client.ask("remove values v*");
    assert_eq!(client.ask("list processes").lines().count(), 8);
}

#[test]
fn a_watcher_that_is_cut_off_keeps_nothing_from_others() {
    let kernel = with_little_memory();
    let mut client = kernel.client();
    client.ask(&format!("%make process p /bin/sh -c {}", exact("echo one; exec sleep 100")));
    let mut watcher = kernel.client();
    watcher.send("%watch processes p\n");
    assert!(watcher.blocks_until(|text| text.contains("one\n")).contains("out:p:"));
    // Its answer will have no end, and nothing is left to hold it.
    fill_with_values(&kernel);
    let _ = watcher.stream.write_all(&vec![b'x'; 4 << 20]);
    assert_eq!(String::from_utf8_lossy(&watcher.read_all()), NO_MEMORY);
    client.ask("remove values v*");
    client.send("%watch processes p\n");
    client.blocks_until(|text| text.contains("one\n"));
    client.send("q\n");
    assert_eq!(client.read_to("> "), "Stopped watching\n> ");
    assert_eq!(kernel.info("unread"), 0);
}

#[test]
fn a_line_of_ten_megabytes_is_refused_with_a_reason() {
    let kernel = Kernel::start(&[]);
    let mut client = kernel.client();
    // The kernel may hang up before all is sent.
    let _ = client.stream.write_all(&vec![b'x'; 10 << 20]);
    let _ = client.stream.write_all(b"\n");
    let text = String::from_utf8(client.read_all()).unwrap();
    assert_eq!(text, "Error: A line may have 4194304 bytes at most\n> ");
    assert_eq!(kernel.client().ask("get a"), "");
}

#[test]
fn a_flood_that_nobody_watches_takes_bounded_memory_and_is_counted() {
    let kernel = Kernel::start(&[]);
    let mut client = kernel.client();
    let script = "head -c 300000000 /dev/zero | tr '\\0' y; echo; echo end";
    client.send(format!("%make process p env.PATH=/usr/bin:/bin /bin/sh -c {}\n", exact(script)));
    client.read_to("> ");
    wait_until("it has ended", || client.ask("list processes").contains("running=False"));
    let row = client.ask("list processes");
    let dropped: u64 =
        row.split_once("dropped=").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(dropped + kernel.info("unread"), 300_000_005);
    assert!(kernel.info("unread") <= 2 << 20);
    assert!(kernel.info("memory") < 24 << 20);
    client.send("%watch processes p\n");
    let text = client.blocks_until(|text| text.contains("closed:p:"));
    assert!(text.contains("\ny") && text.contains("\nend\n"), "the end is what is kept");
    assert!(text.contains(&format!(":{dropped}\n")), "the loss is told");
}

#[test]
fn either_stream_may_end_before_the_other() {
    let kernel = Kernel::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    for (name, first, then, expected) in
        [("o", ">&-", "echo late >&2", "err"), ("e", "2>&-", "echo late", "out")]
    {
        let mut client = kernel.client();
        let gate = Gate::at(directory.path().join(name));
        let wait = gate.wait();
        let script = format!("exec {first}; {wait}; {then}; {wait}; {then}; exit 3");
        let before = kernel.pipes();
        client.ask(&format!("%make process {name} /bin/sh -c {}", exact(&script)));
        wait_until("the kernel has closed one of two", || kernel.pipes() == before + 1);
        client.send(format!("%watch processes {name}\n"));
        gate.let_one_pass();
        let mut text = client.blocks_until(|text| text.contains("late\n"));
        client.acknowledge();
        gate.let_one_pass();
        text += &client.blocks_until(|text| text.contains("closed:"));
        let late = text.matches("late\n").count();
        assert_eq!((late, text.contains(&format!("{expected}:{name}:"))), (2, true), "{text}");
        assert!(text.trim_end().ends_with(":3"), "{text}");
    }
}

#[test]
fn an_exit_status_is_kept_until_somebody_has_read_it() {
    let kernel = Kernel::start(&[]);
    let mut client = kernel.client();
    let pid = pid_in(&client.ask("make process p /bin/sh -c exit\\ 42"));
    wait_until("it has ended", || client.ask("list processes").contains("running=False"));
    for acknowledged in [false, true] {
        let mut watcher = kernel.client();
        watcher.send("watch processes p\n");
        assert!(watcher.block().trim_end_matches("] ").ends_with(":42\n"));
        // Nobody else can get the number: the zombie keeps it.
        assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
        if acknowledged {
            watcher.acknowledge();
            assert_eq!(watcher.read_to("> "), "Nothing left to watch\n> ");
        }
    }
    assert_eq!(client.ask("list processes"), "");
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_grandchild_with_the_pipe_neither_hides_the_end_nor_dies() {
    let kernel = Kernel::start(&[]);
    let mut client = kernel.client();
    let directory = tempfile::tempdir().unwrap();
    let gate = Gate::at(directory.path().join("go"));
    let done = directory.path().join("done");
    // Writes more than a pipe holds, so that it would block if nobody read.
    let script =
        format!("({}; head -c 300000 /dev/zero && touch {}) & exit 5", gate.wait(), done.display());
    client.send(format!(
        "%make process p env.PATH=/usr/bin:/bin watch=1 /bin/sh -c {}\n",
        exact(&script)
    ));
    let text = client.blocks_until(|text| text.contains("closed:"));
    assert!(text.trim_end().ends_with(":5"), "{text}");
    client.acknowledge();
    assert_eq!(client.read_to("> "), "Nothing left to watch\n> ");
    assert_eq!(kernel.info("leftover_pipes"), 2);
    gate.let_one_pass();
    wait_until("the grandchild is through", || done.exists());
    wait_until("its pipes are closed", || kernel.info("leftover_pipes") == 0);
    assert_eq!(kernel.info("discarded"), 300_000);
}

#[test]
fn host_names_are_refused_and_do_not_block() {
    let kernel = Kernel::start(&[]);
    let mut client = kernel.client();
    let answer = client.ask("make socket a host=www.example.org");
    assert!(
        answer.starts_with("Error: Bad host \"www.example.org\" - give an address"),
        "{answer}"
    );
    assert!(client.ask("make socket a host=localhost").contains(" port="));
}

#[test]
fn hosted_processes_outlive_a_client_but_not_their_pid() {
    let kernel = Kernel::start(&[]);
    let mut client = kernel.client();
    let pid = pid_in(&client.ask("make process p sleep 100"));
    drop(client);
    assert!(is_alive(pid));
    assert_eq!(pid_in(&kernel.client().ask("list processes")), pid);
}
