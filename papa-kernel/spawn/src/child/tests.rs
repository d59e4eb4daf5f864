use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStringExt;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;

fn shell(script: &str) -> ChildSpec {
    ChildSpec {
        argv: ["/bin/sh", "-c", script].map(|word| word.as_bytes().to_vec()).to_vec(),
        stdout: Output::Pipe,
        ..ChildSpec::default()
    }
}

fn wait_readable(fd: impl AsFd) {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::from(10_000u16)), Ok(1), "nothing within 10 s");
}

fn finish(spec: &ChildSpec) -> (Exit, String) {
    let spawned = spawn(spec).unwrap();
    let mut text = Vec::new();
    if let Some(pipe) = spawned.stdout {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
        File::from(pipe).read_to_end(&mut text).unwrap();
    }
    wait_readable(&spawned.pidfd);
    let peeked = spawned.pidfd.peek().unwrap().unwrap();
    let exit = spawned.pidfd.reap().unwrap().unwrap();
    assert_eq!(peeked, exit);
    assert_eq!(spawned.pidfd.reap().unwrap_err().raw_os_error(), Some(libc::ECHILD));
    (exit, String::from_utf8(text).unwrap())
}

fn failure_text(spec: &ChildSpec) -> String {
    spawn(spec).unwrap_err().to_string()
}

#[test]
fn a_child_gets_exactly_its_words_and_environment() {
    let mut spec = shell("printf '%s|' \"$@\"; env -u PWD -u SHLVL -u _ -u OLDPWD");
    spec.argv.extend([b"sh".to_vec(), b" a\n".to_vec(), Vec::new()]);
    spec.env = vec![(b"A".to_vec(), b"1\n2".to_vec())];
    assert_eq!(finish(&spec), (Exit::Code(0), " a\n||A=1\n2\n".to_owned()));
}

#[test]
fn the_end_of_a_child_is_told_as_status_or_signal() {
    assert_eq!(finish(&shell("exit 44")).0.papa_code(), 44);
    assert_eq!(finish(&shell("kill -RTMIN $$")).0, Exit::Signal(34));
    let spawned = spawn(&shell("sleep 60")).unwrap();
    assert_eq!(spawned.pidfd.peek().unwrap(), None);
    spawned.pidfd.send_signal(libc::SIGKILL).unwrap();
    wait_readable(&spawned.pidfd);
    assert_eq!(spawned.pidfd.reap().unwrap().unwrap().papa_code(), -9);
}

#[test]
fn a_child_that_dies_with_its_parent_ends_when_the_thread_that_started_it_does() {
    let spec = ChildSpec { die_with_parent: true, ..shell("exec sleep 60") };
    let spawned = std::thread::spawn(move || spawn(&spec).unwrap()).join().unwrap();
    wait_readable(&spawned.pidfd);
    assert_eq!(spawned.pidfd.reap().unwrap().unwrap(), Exit::Signal(9));
}

#[test]
fn a_child_starts_with_default_signals_in_its_own_session() {
    let script = "read -r pid comm state ppid pgrp session rest < /proc/self/stat; \
        grep -E '^Sig(Blk|Ign)' /proc/self/status; echo $((pgrp == $$)) $((session == $$))";
    let text = finish(&shell(script)).1;
    let lines: Vec<&str> = text.lines().collect();
    let [blocked, ignored, "1 1"] = lines[..] else { panic!("wrong lines: {text}") };
    let mask = |line: &str| u64::from_str_radix(line.split('\t').nth(1).unwrap(), 16).unwrap();
    assert_eq!(mask(blocked), 0);
    // 32 and 33 belong to the C library, which does not let anybody set them.
    assert_eq!(mask(ignored) & !(0b11 << 31), 0);
}

#[test]
fn a_child_has_no_descriptors_but_those_it_was_given() {
    let (ours, _theirs) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let mut spec = shell("ls /proc/$$/fd");
    assert_eq!(finish(&spec).1, "0\n1\n2\n");
    spec.keep_fds = vec![ours.as_raw_fd()];
    assert_eq!(finish(&spec).1.lines().count(), 4);
}

#[test]
fn standard_error_can_follow_standard_output() {
    let mut spec = shell("echo a; echo b >&2");
    spec.stderr = Output::Stdout;
    assert_eq!(finish(&spec).1, "a\nb\n");
}

#[test]
fn limits_mask_and_directory_are_as_asked() {
    let mut spec = shell("ulimit -n; ulimit -Hn; umask; pwd");
    spec.rlimits = vec![(Resource::RLIMIT_NOFILE, Some(77))];
    spec.umask = Some(0o27);
    spec.working_dir = Some("/usr".into());
    assert_eq!(finish(&spec).1, "77\n77\n0027\n/usr\n");
}

#[test]
fn a_program_is_looked_up_in_the_path_of_the_child() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("only-here");
    std::os::unix::fs::symlink("/bin/echo", &script).unwrap();
    let mut spec = shell("");
    spec.argv = vec![b"only-here".to_vec(), b"found".to_vec()];
    assert_eq!(
        failure_text(&spec),
        "Bad command - [Errno 2] No such file or directory: 'only-here'"
    );
    let path = directory.path().as_os_str().to_owned().into_vec();
    spec.env = vec![(b"PATH".to_vec(), path)];
    assert_eq!(finish(&spec).1, "found\n");
    spec.argv = vec![b"sh".to_vec(), b"-c".to_vec(), b"echo default path".to_vec()];
    spec.env.clear();
    assert_eq!(finish(&spec).1, "default path\n");
}

#[test]
fn a_script_that_names_no_interpreter_is_run_by_the_shell() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    std::fs::write(&script, "echo \"$0|$1\"\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    let mut spec = shell("");
    let path = script.as_os_str().to_owned().into_vec();
    spec.argv = vec![path.clone(), b"one word".to_vec()];
    let expected = format!("{}|one word\n", script.display());
    assert_eq!(finish(&spec).1, expected);
    // What may not be run does not hide what comes later on the PATH.
    let hidden = tempfile::tempdir().unwrap();
    std::fs::write(hidden.path().join("script"), "").unwrap();
    let (hidden, found) = (hidden.path().display(), directory.path().display());
    spec.argv[0] = b"script".to_vec();
    spec.env = vec![(b"PATH".to_vec(), format!("{hidden}:{found}").into_bytes())];
    assert_eq!(finish(&spec).1, expected);
    spec.env = vec![(b"PATH".to_vec(), hidden.to_string().into_bytes())];
    assert_eq!(failure_text(&spec), "Bad command - [Errno 13] Permission denied: 'script'");
}

#[test]
fn a_child_of_another_user_leaves_ours_as_it_is() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let dumpable = nix::sys::prctl::get_dumpable().unwrap();
    let mut spec = shell("id -u; id -g; id -G");
    let credentials = Credentials { uid: Some(65534), gid: 65533, groups: Some(vec![65532]) };
    spec.credentials = Some(credentials);
    assert_eq!(finish(&spec).1, "65534\n65533\n65533 65532\n");
    assert!(nix::unistd::geteuid().is_root());
    assert_eq!(nix::sys::prctl::get_dumpable().unwrap(), dumpable);
    let mut spec = ChildSpec { argv: vec![b"/no/such/program".to_vec()], ..spec };
    assert!(failure_text(&spec).starts_with("Bad command - [Errno 2]"));
    spec.working_dir = Some("/no/such/place".into());
    assert!(failure_text(&spec).starts_with("Bad working_dir - [Errno 2]"));
}

#[test]
fn many_threads_start_children_at_once() {
    let start = || {
        for _ in 0..50 {
            assert_eq!(finish(&shell("echo $PPID")).1, format!("{}\n", std::process::id()));
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(start))));
}

#[test]
fn what_failed_is_named() {
    let mut spec = shell("");
    spec.argv = vec![b"/etc/passwd".to_vec()];
    assert_eq!(failure_text(&spec), "Bad command - [Errno 13] Permission denied: '/etc/passwd'");
    let mut spec = shell("");
    spec.working_dir = Some("/no/such/place".into());
    let text = "Bad working_dir - [Errno 2] No such file or directory: '/no/such/place'";
    assert_eq!(failure_text(&spec), text);
    let mut spec = shell("");
    spec.rlimits = vec![(Resource::RLIMIT_CORE, None), (Resource::RLIMIT_NOFILE, Some(1 << 40))];
    assert!(failure_text(&spec).starts_with("Could not set rlimit nofile - "), "{spec:?}");
    let mut spec = shell("");
    spec.argv.push(b"a\0b".to_vec());
    assert_eq!(failure_text(&spec), "Bad command - a zero byte cannot be passed to a process");
    let text = failure_text(&ChildSpec::default());
    assert_eq!(text, "No command");
}

#[test]
fn limits_have_one_name_in_any_spelling() {
    for name in ["nofile", "NOFILE", "RLIMIT_NOFILE", "ofile"] {
        assert_eq!(resource_by_name(name), Some(Resource::RLIMIT_NOFILE), "{name}");
    }
    assert_eq!(resource_by_name("foo"), None);
}
