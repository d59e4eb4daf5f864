//! The files in `deploy/examples`: each means to us what it means to the original, and has nothing odd.

use circus_e2e::{Python, program};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the original's parser returns, as JSON.
const THEIR_DUMP: &str = r#"
import enum, json, math, sys
from circus.config import get_config

def plain(value):
    if isinstance(value, dict):
        return {str(key): plain(value[key]) for key in value if key != "__name__"}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, enum.IntEnum):
        return int(value)
    if isinstance(value, float) and math.isinf(value):
        return {"float": str(value)}
    return value

print(json.dumps(plain(get_config(sys.argv[1]))))
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate of a workspace").to_path_buf()
}

/// The examples by their path from the top of the checkout, which is where they are started from.
fn examples() -> Vec<String> {
    let folder = root().join("deploy/examples");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the examples") {
        let name = entry.expect("readable").file_name().into_string().expect("UTF-8");
        if Path::new(&name).extension().is_some_and(|ending| ending == "ini") {
            names.push(format!("deploy/examples/{name}"));
        }
    }
    names.sort();
    names
}

fn run(mut command: Command) -> Output {
    command
        .current_dir(root())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        // Otherwise Python sets a variable of its own for its children.
        .env("LANG", "C.UTF-8")
        .output()
        .expect("it runs")
}

fn json(output: &Output, file: &str) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{file}: {said}");
    let read = serde_json::from_slice(&output.stdout);
    assert!(read.is_ok(), "{file}: {read:?}: {said}");
    read.expect("it is JSON")
}

#[test]
fn every_example_is_loaded_as_by_the_original() {
    let Some(python) = Python::for_test("the examples in the original's parser") else { return };
    for file in examples() {
        let mut theirs = Command::new(python.program("python"));
        theirs.args(["-c", THEIR_DUMP, &file]);
        let mut ours = Command::new(program::circusd());
        ours.args(["--dump-config", &file]);
        assert_eq!(json(&run(ours), &file), json(&run(theirs), &file), "{file}");
    }
}

#[test]
fn nothing_in_an_example_is_odd() {
    for file in examples() {
        let mut check = Command::new(program::built("circusd"));
        check.args(["--check", &file]);
        let output = run(check);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{file}: {said}");
    }
}
