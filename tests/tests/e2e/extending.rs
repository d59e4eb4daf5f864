//! `docs/extending.md`: every example there is written into files and run, or is a part of the source.

use circus_e2e::env::free_port;
use circus_e2e::process::Handle;
use circus_e2e::python::say_skipped;
use circus_e2e::{Daemon, Python, TestEnv, program};
use serde_json::json;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate of a workspace").to_path_buf()
}

/// The blocks of code behind a mark `<!-- KIND: NAME -->`, by that name, as they would be in a file.
fn blocks(kind: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("docs/extending.md")).expect("the page");
    let mut lines = text.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let mark = line.trim().strip_prefix("<!-- ").and_then(|mark| mark.strip_suffix(" -->"));
        let Some(name) = mark.and_then(|mark| mark.strip_prefix(&format!("{kind}: "))) else {
            continue;
        };
        let fence = lines.next().expect("code behind the mark");
        // In a list it is indented.
        let (indent, rest) = fence.split_at(fence.len() - fence.trim_start().len());
        assert!(rest.starts_with("```"), "code behind {line}");
        let code = lines.by_ref().take_while(|line| line.trim() != "```");
        let code: Vec<&str> =
            code.map(|line| line.strip_prefix(indent).unwrap_or(line.trim_start())).collect();
        found.push((name.to_owned(), code.join("\n") + "\n"));
    }
    assert!(!found.is_empty(), "{kind}");
    found
}

fn block(kind: &str, wanted: &str) -> String {
    let found = blocks(kind).into_iter().find(|(name, _)| name == wanted);
    assert!(found.is_some(), "there is no {kind}: {wanted}");
    found.map(|(_, code)| code).unwrap_or_default()
}

/// A world with a file of the page in it.
fn with_file(env: TestEnv, name: &str) -> TestEnv {
    std::fs::write(env.path(name), block("file", name)).expect("written");
    env
}

/// A world whose circusd knows a Python with circus, or just any.
fn with_python(python: &Python) -> TestEnv {
    TestEnv::new().circus(&format!("python = {}", python.program("python").display()))
}

/// Kills worker after worker of `web` until the obituary has the line of one: a plugin takes a moment until it listens.
fn assert_obituaries(env: &TestEnv, circusd: &Daemon, is_about: impl Fn(&str, i32) -> bool) {
    let mut dead = Vec::new();
    circusd.wait_until("the obituary", || {
        let pid = circusd.wait_for_pids("web", 1)[0];
        if dead.last() != Some(&pid) {
            Handle::open(pid).expect("it runs").kill();
            dead.push(pid);
        }
        let text = std::fs::read_to_string(env.path("obituary.log")).unwrap_or_default();
        dead.iter().any(|pid| is_about(&text, *pid)).then_some(())
    });
}

#[test]
fn what_is_quoted_from_the_source_is_there() {
    for (file, code) in blocks("source") {
        let source = std::fs::read_to_string(root().join(&file)).expect("the file");
        assert!(source == code, "{file} is another in docs/extending.md");
    }
    for (file, part) in blocks("part") {
        let source = std::fs::read_to_string(root().join(&file)).expect("the file");
        assert!(source.contains(&part), "{file} has no\n{part}");
    }
}

#[test]
fn the_plugin_in_python_runs() {
    if program::another_circusd().is_some() {
        return say_skipped("the page is about ours");
    }
    let Some(python) = Python::for_test("the plugin of docs/extending.md") else { return };
    let env = with_file(with_python(python), "obituary.py");
    let circusd = env.start(&block("ini", "python"));
    assert_obituaries(&env, &circusd, |text, pid| text.contains(&format!("web {pid} active\n")));
}

#[test]
fn the_plugin_in_shell_runs() {
    if program::another_circusd().is_some() {
        return say_skipped("the page is about ours");
    }
    let env = with_file(TestEnv::new(), "obituary.sh");
    env.write_ini(&block("ini", "shell").replace("= ENDPOINT", &format!("= {}", env.endpoint())));
    let built = program::built("circusctl");
    let built = built.parent().expect("a directory").display().to_string();
    let path = format!("{built}:{}", std::env::var("PATH").unwrap_or_default());
    let circusd = env.spawn_with(&[("PATH", &path)]);
    circusd.wait_for_answer();
    assert_obituaries(&env, &circusd, |text, pid| {
        text.contains(&format!("\"process_pid\": {pid}")) && text.ends_with("\nactive\n")
    });
}

#[test]
fn the_plugin_in_rust_runs() {
    if program::another_circusd().is_some() {
        return say_skipped("the page is about ours");
    }
    let built = program::built("circusctl").with_file_name("examples").join("obituary");
    assert!(built.is_file(), "`cargo build -p circusctl --examples` builds {}", built.display());
    let ini = block("ini", "rust");
    let env = TestEnv::new();
    let circusd = env.start(&ini.replace("/usr/local/bin/obituary", &built.display().to_string()));
    assert_obituaries(&env, &circusd, |text, pid| text.contains(&format!("web {pid} active\n")));
    // It ends in order, and says what is wrong with its options.
    circusd.ok("stop", json!({"name": "plugin:obituary", "waiting": true}));
    let output = program::run(&built, &["--config", "name:plugin:mine"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, "error: [plugin:mine] path is missing; name the file\n");
    assert_eq!(program::run(&built, &["--version"]).stdout, b"1.0\n");
}

/// A watcher whose hook wants a database: it starts when there is one, and says so when there is none.
fn assert_guarded(env: &TestEnv, ini: &str) {
    let port = free_port();
    let circusd = env.start(&ini.replace("= 5432", &format!("= {port}")));
    circusd.wait_for_log("web is not started");
    circusd.wait_for_status("web", "stopped");
    let _database = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    circusd.ok_when_idle("start", &json!({"name": "web", "waiting": true}));
    circusd.wait_for_pids("web", 1);
}

#[test]
fn the_hook_in_python_runs() {
    if program::another_circusd().is_some() {
        return say_skipped("the page is about ours");
    }
    let env = with_file(TestEnv::new(), "checks.py");
    assert_guarded(&env, &block("ini", "hook"));
}

#[test]
fn the_hook_as_a_program_runs() {
    if program::another_circusd().is_some() {
        return say_skipped("the page is about ours");
    }
    let env = with_file(TestEnv::new(), "check-database");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(env.path("check-database"), executable).expect("it is ours");
    assert_guarded(&env, &block("ini", "program"));
}
