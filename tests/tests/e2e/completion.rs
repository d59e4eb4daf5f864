//! The completion scripts in the shells that they are for.

use circus_e2e::{TestEnv, program};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A script of `deploy/completions`.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/completions").join(name)
}

/// Runs a program of a shell with our circusctl on PATH; gives the words it prints.
fn words(env: &TestEnv, shell: &str, arguments: &[&str]) -> Option<Vec<String>> {
    let bin = program::built("circusctl");
    let bin = bin.parent().expect("a file has a directory").display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(shell)
        .args(arguments)
        .env("PATH", path)
        .env("CIRCUSCTL_ENDPOINT", env.endpoint())
        .env("HOME", env.directory())
        .env("XDG_CONFIG_HOME", env.directory())
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            circus_e2e::python::unavailable(shell, &error.to_string());
            return None;
        }
    };
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{shell}: {text} {errors}");
    // fish adds an explanation after a tab.
    let first = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
    Some(text.lines().map(first).collect())
}

#[test]
fn bash_completes_commands_and_watchers() {
    let env = TestEnv::new();
    let circusd =
        env.start("[watcher:web]\ncmd = sleep 1000\n[watcher:worker]\ncmd = sleep 1000\n");
    let complete = |line: &[&str]| {
        let program = format!(
            ". {}\nCOMP_WORDS=({})\nCOMP_CWORD={}\nCOMP_TYPE=9\n\
             _clap_complete_circusctl circusctl \"${{COMP_WORDS[COMP_CWORD]}}\" 2>/dev/null\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script("circusctl.bash").display(),
            line.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
            line.len() - 1
        );
        words(&env, "bash", &["--norc", "-c", &program]).expect("bash is everywhere")
    };
    assert_eq!(complete(&["circusctl", "st"]), ["start", "stats", "status", "stop"]);
    assert_eq!(complete(&["circusctl", "restart", "w"]), ["web", "worker"]);
    assert_eq!(complete(&["circusctl", "restart", "wo"]), ["worker"]);
    assert!(complete(&["circusctl", ""]).contains(&"why".to_owned()));
    circusd.quit();
}

#[test]
fn fish_completes_commands_and_watchers() {
    let env = TestEnv::new();
    let circusd =
        env.start("[watcher:web]\ncmd = sleep 1000\n[watcher:worker]\ncmd = sleep 1000\n");
    let complete = |line: &str| {
        let program =
            format!("source {}; complete -C '{line}'", script("circusctl.fish").display());
        words(&env, "fish", &["--no-config", "-c", &program])
    };
    if let Some(found) = complete("circusctl restart w") {
        assert_eq!(found, ["web", "worker"]);
        let found = complete("circusctl st").expect("fish is there");
        assert_eq!(found, ["start", "stats", "status", "stop"]);
    }
    circusd.quit();
}

#[test]
fn the_other_programs_complete_their_options() {
    let env = TestEnv::new();
    for (program, typed, option) in
        [("circus-top", "--onc", "--once"), ("circusd-stats", "--statsp", "--statspoint")]
    {
        let bash = format!(
            ". {}\nCOMP_WORDS=({program} {typed})\nCOMP_CWORD=1\n_{} {program} {typed} {program}\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script(&format!("{program}.bash")).display(),
            program.replace('-', "__")
        );
        assert_eq!(
            words(&env, "bash", &["--norc", "-c", &bash]).expect("bash is everywhere"),
            [option]
        );
        let fish = script(&format!("{program}.fish"));
        let fish = format!("source {}; complete -C '{program} {typed}'", fish.display());
        if let Some(found) = words(&env, "fish", &["--no-config", "-c", &fish]) {
            assert_eq!(found, [option]);
        }
    }
}

#[test]
fn zsh_understands_its_scripts() {
    let env = TestEnv::new();
    for program in ["circusctl", "circus-plugin", "circus-top", "circusd-stats"] {
        let script = script(&format!("_{program}")).display().to_string();
        words(&env, "zsh", &["-f", "-n", &script]);
    }
}
