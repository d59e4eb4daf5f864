//! What a process is started with: program, arguments, environment, directory, user, limits, descriptors.
//! The names in the comments are cases of `tests/golden/behaviours.jsonl`.

use circus_e2e::{Daemon, TestEnv, process};
use serde_json::json;

/// A file of /proc, with line ends in place of NUL bytes.
fn proc(pid: i32, name: &str) -> String {
    let bytes = process::words(pid, name);
    String::from_utf8_lossy(&bytes).replace('\0', "\n").trim_end().to_owned()
}

fn pid(circusd: &Daemon, watcher: &str) -> i32 {
    circusd.wait_for_pids(watcher, 1)[0]
}

/// `shell_true_cmdline`
#[test]
fn a_shell_gets_every_word_quoted_again() {
    let env = TestEnv::new();
    let circusd = env.start(
        "[watcher:w]\ncmd = sh -c 'sleep 1000; true' 'a b' $HOME ~ x;y\nshell = true\n\
         shell_args = one 'two 2' $(circus.wid)\n",
    );
    let pid = pid(&circusd, "w");
    let expected = "/bin/sh\n-c\nsh -c 'sleep 1000; true' 'a b' '$HOME' '~' 'x;y'\none\ntwo 2\n1";
    let execed =
        expected.split_once("-c\nsh").map(|_| "sh\n-c\nsleep 1000; true\na b\n$HOME\n~\nx;y");
    let seen = proc(pid, "cmdline");
    // A shell may run its last command in its own place.
    assert!(seen == expected || Some(seen.as_str()) == execed, "{seen}");
}

/// `papa_shell`
#[test]
fn a_hosted_process_can_have_a_shell() {
    let env = TestEnv::new();
    if env.has_no_kernel() {
        return;
    }
    let circusd = env.start("[watcher:w]\ncmd = exec sleep 1000\nshell = true\nuse_papa = true\n");
    let pid = pid(&circusd, "w");
    circusd.wait_until("the shell has made room for the program", || {
        (proc(pid, "cmdline") == "sleep\n1000").then_some(())
    });
    assert!(!circusd.log().contains("no effect"), "{}", circusd.log());
}

/// `executable_ignored`
#[test]
fn an_executable_is_run_in_place_of_the_first_word() {
    let env = TestEnv::new();
    let circusd = env.start("[watcher:w]\ncmd = whatever 1000\nexecutable = sleep\n");
    assert_eq!(proc(pid(&circusd, "w"), "cmdline"), "sleep\n1000");
    let shown = circusd.ok("get", json!({"name": "w", "keys": ["executable"]}));
    assert_eq!(shown["options"]["executable"], "sleep");
}

/// `working_dir`
#[test]
fn the_directory_is_entered_before_the_program_is_looked_for() {
    let env = TestEnv::new();
    std::fs::create_dir(env.path("sub")).expect("writable");
    let program = env.path("sub/prog");
    std::fs::write(&program, "#!/bin/sh\nexec sleep 1000\n").expect("writable");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(program, mode).expect("ours");
    let circusd = env.start(
        "[watcher:a]\ncmd = sleep 1000\nworking_dir = sub\n\
         [watcher:b]\ncmd = sleep 1000\nworking_dir = /no/such\nmax_retry = 2\n\
         [watcher:c]\ncmd = ./prog\nworking_dir = sub\n\
         [watcher:d]\ncmd = sub/prog\nworking_dir = sub\nmax_retry = 2\n\
         [watcher:z]\ncmd = sleep 1000\n",
    );
    circusd.wait_for_pids("z", 1);
    for watcher in ["a", "c"] {
        let cwd = std::fs::read_link(format!("/proc/{}/cwd", pid(&circusd, watcher)));
        assert_eq!(cwd.expect("it runs"), env.path("sub"));
    }
    circusd.wait_for_status("b", "stopped");
    circusd.wait_for_status("d", "stopped");
}

/// `cmd_lookup_uses_child_env_path`
#[test]
fn the_program_is_looked_for_in_the_path_of_the_process() {
    let env = TestEnv::new();
    std::fs::create_dir(env.path("bin")).expect("writable");
    std::os::unix::fs::symlink("/bin/sleep", env.path("bin/prog1")).expect("writable");
    let circusd = env.start(&format!(
        "[watcher:a]\ncmd = prog1 1000\n[env:a]\nPATH = {}\n\
         [watcher:b]\ncmd = sleep 1000\nmax_retry = 2\n[env:b]\nPATH = /nowhere\n\
         [watcher:c]\ncmd = sleep 1000\n",
        env.path("bin").display()
    ));
    pid(&circusd, "c");
    pid(&circusd, "a");
    circusd.wait_for_status("b", "stopped");
}

#[test]
fn processes_have_the_time_slice_of_others() {
    let env = TestEnv::new();
    let papa = if env.has_no_kernel() { "False" } else { "True" };
    let circusd = env.start(&format!(
        "[watcher:direct]\ncmd = sleep 1000\n[watcher:hosted]\ncmd = sleep 1000\nuse_papa = {papa}\n"
    ));
    let slice = |pid: i32| {
        let text = proc(pid, "sched");
        let line = text.lines().find_map(|line| line.strip_prefix("se.slice")?.split(':').nth(1));
        line.map(|value| value.trim().to_owned())
    };
    let usual = slice(i32::try_from(std::process::id()).expect("pids fit"));
    // Where the system does not tell it there is nothing to see.
    for watcher in ["direct", "hosted"] {
        assert_eq!(slice(pid(&circusd, watcher)), usual, "{watcher}");
    }
}

/// `copy_env_static`
#[test]
fn set_env_replaces_the_whole_environment() {
    let env = TestEnv::new();
    let circusd = env.start("[watcher:w]\ncmd = sleep 1000\ncopy_env = true\n");
    assert!(proc(pid(&circusd, "w"), "environ").contains("PATH="));
    let wanted = json!({"A": "b", "PATH": "/usr/bin:/bin"});
    circusd.ok("set", json!({"name": "w", "options": {"env": wanted}, "waiting": true}));
    let shown = circusd.ok("get", json!({"name": "w", "keys": ["env"]}));
    assert_eq!(shown["options"]["env"], wanted);
    let mut environment: Vec<String> =
        proc(pid(&circusd, "w"), "environ").lines().map(str::to_owned).collect();
    environment.sort();
    assert_eq!(environment, ["A=b", "PATH=/usr/bin:/bin"]);
}

/// `virtualenv`
#[test]
fn a_virtualenv_is_laid_over_the_environment() {
    let env = TestEnv::new();
    let packages = env.path("venv/lib/python3.3/site-packages");
    std::fs::create_dir_all(packages.join("pkg1")).expect("writable");
    std::fs::create_dir_all(env.path("venv/bin")).expect("writable");
    std::fs::write(packages.join("x.pth"), "# c\nimport os\npkg1\n/tmp\nmissing\n")
        .expect("writable");
    let venv = env.path("venv");
    let circusd = env.start(&format!(
        "[watcher:a]\ncmd = sleep 1000\ncopy_env = true\nvirtualenv = {0}\nvirtualenv_py_ver = 3.3\n\
         [watcher:b]\ncmd = sleep 1000\ncopy_env = true\nvirtualenv = {0}\nvirtualenv_py_ver = 3.3\n\
         [env:b]\nPYTHONPATH = /pp\n[watcher:d]\ncmd = sleep 1000\nvirtualenv = {0}\n",
        venv.display()
    ));
    let path = |watcher: &str, name: &str| {
        let environment = proc(pid(&circusd, watcher), "environ");
        let line = environment.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_default().to_owned()
    };
    let packages = packages.display();
    assert!(path("a", "PATH").starts_with(&format!("{}/bin:", venv.display())));
    assert_eq!(path("a", "PYTHONPATH"), format!("{packages}/pkg1:/tmp:{packages}"));
    assert_eq!(path("b", "PYTHONPATH"), format!("{packages}/pkg1:/tmp:/pp:{packages}"));
    assert!(circusd.ok("list", json!({}))["watchers"].as_array().is_some_and(|all| all.len() == 2));
    assert!(circusd.log().contains("copy_env"), "{}", circusd.log());
}

/// `uid_gid`
#[test]
fn users_and_groups_are_names_or_numbers() {
    if !nix::unistd::geteuid().is_root() {
        return circus_e2e::python::say_skipped("uid and gid: only root can change them");
    }
    let env = TestEnv::new();
    let circusd = env.start(
        "[watcher:a]\ncmd = sleep 1000\nuid = nobody\nworking_dir = /\n\
         [watcher:b]\ncmd = sleep 1000\nuid = 65534\ngid = daemon\nworking_dir = /\n\
         [watcher:c]\ncmd = sleep 1000\ngid = daemon\n\
         [watcher:e]\ncmd = sleep 1000\nuid = nosuchuser\nmax_retry = 2\n\
         [watcher:f]\ncmd = sleep 1000\nuid =\n",
    );
    let ids = |watcher: &str, key: &str| {
        let status = proc(pid(&circusd, watcher), "status");
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{key}:\t")));
        line.unwrap_or_default().split('\t').next().unwrap_or_default().trim().to_owned()
    };
    circusd.wait_for_pids("f", 1);
    let own = circusd_ids();
    let nobody = "65534".to_owned();
    assert_eq!(
        [ids("a", "Uid"), ids("a", "Gid"), ids("a", "Groups")],
        [&nobody, &nobody, &nobody].map(Clone::clone)
    );
    assert_eq!([ids("b", "Uid"), ids("b", "Gid")], [nobody, "1".to_owned()]);
    assert_eq!([ids("c", "Uid"), ids("c", "Gid")], [own.clone(), "1".to_owned()]);
    assert_eq!(ids("f", "Uid"), own);
    circusd.wait_for_status("e", "stopped");
}

fn circusd_ids() -> String {
    nix::unistd::geteuid().to_string()
}

/// `rlimits`, `rlimit_too_high`, `rlimit_bad_blocks_later_watchers`
#[test]
fn limits_are_soft_and_hard_and_a_bad_one_harms_nobody_else() {
    let env = TestEnv::new();
    let circusd = env.start(
        "[watcher:a]\ncmd = sleep 1000\nrlimit_nofile = 300\nrlimit_core = 0\npriority = 3\n\
         [watcher:high]\ncmd = sleep 1000\nrlimit_nofile = 100000000000\nmax_retry = 2\npriority = 2\n\
         [watcher:z]\ncmd = sleep 1000\n",
    );
    let limits = proc(pid(&circusd, "a"), "limits");
    let limit = |name: &str| -> Vec<String> {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("a limit");
        line.split_whitespace().take(2).map(str::to_owned).collect()
    };
    assert_eq!(limit("Max open files"), ["300", "300"]);
    assert_eq!(limit("Max core file size"), ["0", "0"]);
    pid(&circusd, "z");
    circusd.wait_for_status("high", "stopped");
}

/// `stop_children_false`
#[test]
fn a_child_of_a_worker_is_left_alone_unless_asked_for() {
    let env = TestEnv::new();
    let circusd = env.start("[watcher:w]\ncmd = sh -c 'sleep 1000 & exec sleep 1000'\n");
    let worker = pid(&circusd, "w");
    let child = circusd.wait_until("it has a child", || process::children(worker).first().copied());
    circusd.ok("stop", json!({"name": "w", "waiting": true}));
    assert!(process::is_alive(child));
}

/// `signal_command`
#[test]
fn signals_go_to_the_process_its_children_or_both() {
    let env = TestEnv::new();
    let script = "for s in USR1 USR2 HUP; do trap \"echo $0 $s >> seen\" $s; done; \
                  [ $0 = child ] || sh worker child & echo $0 ready >> seen; while :; do sleep 1000 & wait; done";
    // Both the parent and its child note what they get.
    std::fs::write(env.path("worker"), script.replace("$0", "$1")).expect("writable");
    let circusd = env.start("[watcher:w]\ncmd = sh worker parent\n");
    let seen = || {
        let text = std::fs::read_to_string(env.path("seen")).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let expect = |what: &str, lines: &[&str]| {
        circusd.wait_until(what, || (seen() == lines).then_some(()));
    };
    expect("both are ready", &["child ready", "parent ready"]);
    let worker = pid(&circusd, "w");
    let is_script = |pid: &i32| proc(*pid, "cmdline").ends_with("child");
    let child = process::children(worker).into_iter().find(is_script).expect("a child");
    let signal = |properties: serde_json::Value| {
        let mut all = json!({"name": "w"});
        all.as_object_mut()
            .expect("an object")
            .extend(properties.as_object().expect("one").clone());
        circusd.call("signal", all)
    };
    signal(json!({"signum": "usr1"}));
    expect("the parent", &["child ready", "parent USR1", "parent ready"]);
    signal(json!({"signum": "usr1", "pid": worker, "childpid": child}));
    expect("the child", &["child USR1", "child ready", "parent USR1", "parent ready"]);
    signal(json!({"signum": "hup", "recursive": true}));
    let all =
        ["child HUP", "child USR1", "child ready", "parent HUP", "parent USR1", "parent ready"];
    expect("both", &all);
    let error = signal(json!({"signum": "usr1", "childpid": child}));
    assert_eq!(error["reason"], "cannot specify childpid without pid");
    assert_eq!(
        signal(json!({"signum": "usr1", "pid": worker, "childpid": 999_999}))["status"],
        "error"
    );
    assert_eq!(circusd.pids("w"), [worker]);
}
