//! Every run of circusctl 0.17.2 that was recorded with a real circusd, again with ours: the same output on
//! stdout and the same exit code, or an entry in the list of differences. On stderr the reason of a refusal is
//! compared, not the words around it.

use circus_e2e::{Daemon, TestEnv, program};
use regex::Regex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Cases that end differently, and the entry that says why: a heading of `differences-circusctl.md`, or the
/// first column of a table in `differences.md`.
const DEVIATIONS: &[(&str, &str)] = &[
    ("help", "Help and refusals have their own words"),
    ("subcommand-help-list", "Help and refusals have their own words"),
    ("subcommand-help-add", "Help and refusals have their own words"),
    ("subcommand-help-kill", "Help and refusals have their own words"),
    ("subcommand-help-signal", "Help and refusals have their own words"),
    ("subcommand-help-start", "Help and refusals have their own words"),
    ("subcommand-help-reload", "Help and refusals have their own words"),
    ("subcommand-help-rm", "Help and refusals have their own words"),
    ("subcommand-help-stats", "Help and refusals have their own words"),
    ("subcommand-help-set", "Help and refusals have their own words"),
    ("subcommand-help-incr", "Help and refusals have their own words"),
    ("subcommand-help-quit", "Help and refusals have their own words"),
    ("subcommand-help-listen", "Help and refusals have their own words"),
    ("interactive-help", "Help and refusals have their own words"),
    ("interactive-argparse-error", "The shell goes on after a mistake"),
    ("interactive-quote-error", "The shell goes on after a mistake"),
    ("option-after-command", "Options may stand anywhere"),
];

/// A run of circusctl.
struct Ran {
    stdout: String,
    stderr: String,
    code: i64,
}

/// What a session has to do with the addresses of the recording.
struct Place {
    env: TestEnv,
    ports: BTreeMap<&'static str, String>,
}

impl Place {
    fn new() -> Self {
        let port = || circus_e2e::env::free_port().to_string();
        let ports = ["21580", "21581", "21582"].map(|recorded| (recorded, port()));
        Self { env: TestEnv::new(), ports: BTreeMap::from(ports) }
    }

    /// A recorded text with the addresses of this place.
    fn here(&self, text: &str) -> String {
        let directory = self.env.directory().display().to_string();
        let deserted = format!("ipc://{directory}/nobody");
        let mut text = text
            .replace("tcp://127.0.0.1:21555", &self.env.endpoint())
            .replace("tcp://127.0.0.1:21556", &self.env.pubsub_endpoint())
            .replace("tcp://127.0.0.1:21999", &deserted)
            .replace("@DIR@", &directory)
            .replace("<str:cwd>", &directory);
        for (recorded, port) in &self.ports {
            text = text.replace(recorded, port);
        }
        text.replace("circusctl 0.17.2", concat!("circusctl ", env!("CARGO_PKG_VERSION")))
    }

    fn circusctl(&self, case: &Value, bound: &BTreeMap<String, String>) -> Ran {
        let words = case["argv"].as_array().expect("a list").iter();
        let words = words.map(|word| {
            let word = self.here(word.as_str().expect("text"));
            bound.get(&word).cloned().unwrap_or(word)
        });
        let mut command = Command::new(program::built("circusctl"));
        command.args(words).env("COLUMNS", "80").env_remove("CIRCUSCTL_ENDPOINT");
        if case["no_CIRCUSCTL_ENDPOINT"].is_null() {
            command.env("CIRCUSCTL_ENDPOINT", self.env.endpoint());
        }
        for (name, value) in case["env"].as_object().into_iter().flatten() {
            command.env(name, self.here(value.as_str().expect("text")));
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("circusctl runs");
        let typed = self.here(case["stdin"].as_str().unwrap_or_default());
        // It may have ended already.
        let _ = child.stdin.take().expect("piped").write_all(typed.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Ran {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            code: output.status.code().expect("it ended by itself").into(),
        }
    }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/zmq")
}

/// The recorded cases of a session, in order.
fn session(name: &str) -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(golden().join("circusctl.jsonl")).expect("recordings");
    let cases = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let own = cases.filter(|case| case["session"] == name);
    own.map(|case| {
        let full = case["case"].as_str().expect("a name").to_owned();
        (full.strip_prefix("circusctl/").unwrap_or(&full).to_owned(), case)
    })
    .collect()
}

/// Compares a text with a recorded one, and notes what its numbered placeholders stand for.
fn fits(recorded: &str, ours: &str, bound: &mut BTreeMap<String, String>) -> bool {
    let placeholder =
        Regex::new(r"<(int|float|str|raw|uuid|object)(?::([\w ]+))?(#\d+)?>").expect("valid");
    let mut pattern = String::from("(?s)^");
    let mut names = Vec::new();
    let mut end = 0;
    for found in placeholder.captures_iter(recorded) {
        let whole = found.get(0).expect("the match");
        pattern += &regex::escape(&recorded[end..whole.start()]);
        end = whole.end();
        pattern += match &found[1] {
            "int" => r"(-?\d+)",
            "float" => r"(-?[\d.]+(?:e[+-]?\d+)?)",
            _ => r"(.*?)",
        };
        names.push(found.get(3).map(|_| whole.as_str().to_owned()));
    }
    pattern += &regex::escape(&recorded[end..]);
    pattern += "$";
    let Some(values) = Regex::new(&pattern).expect("valid").captures(ours) else { return false };
    names.into_iter().enumerate().all(|(number, name)| {
        let Some(name) = name else { return true };
        let value = values[number + 1].to_owned();
        *bound.entry(name).or_insert_with(|| value.clone()) == value
    })
}

fn differ(
    place: &Place,
    case: &Value,
    ran: &Ran,
    bound: &mut BTreeMap<String, String>,
) -> Option<String> {
    let recorded = |key: &str| place.here(case[key].as_str().expect("text"));
    let (stdout, stderr) = (recorded("stdout"), recorded("stderr"));
    if !fits(&stdout, &ran.stdout, bound) {
        return Some(format!("stdout {:?}, recorded {stdout:?}\n    {}", ran.stdout, ran.stderr));
    }
    if Some(ran.code) != case["rc"].as_i64() {
        return Some(format!("exit code {}, recorded {}", ran.code, case["rc"]));
    }
    // What went wrong inside the original, and what its argument parser says, is told in other words.
    let reason = stderr.lines().next().unwrap_or_default();
    let ours = ran.stderr.lines().next().unwrap_or_default();
    if reason.starts_with("error: ") && !reason.contains("<raw>") && !fits(reason, ours, bound) {
        return Some(format!("stderr {ours:?}, recorded {reason:?}"));
    }
    (stderr.is_empty() != ran.stderr.is_empty())
        .then(|| format!("stderr {:?}, recorded {stderr:?}", ran.stderr))
}

/// Whether the lists of differences have this entry.
fn is_entry(entry: &str) -> bool {
    let read = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
        std::fs::read_to_string(path).expect("the list of differences")
    };
    read("differences-circusctl.md").lines().any(|line| line == format!("### {entry}"))
        || read("differences.md").lines().any(|line| line.starts_with(&format!("| {entry} |")))
}

/// Runs a session; `before` is done before each case.
fn replay(name: &str, place: &Place, deviations: &[(&str, &str)], before: impl Fn(&str)) {
    let mut bound = BTreeMap::new();
    let mut wrong = Vec::new();
    for (case_name, case) in session(name) {
        // Ctrl-C ends these; `listen` has tests of its own.
        if case_name.starts_with("listen") && case["rc"] == 1 {
            assert!(is_entry("`listen` prints plain text"));
            continue;
        }
        before(&case_name);
        let entry = deviations.iter().find(|(listed, _)| *listed == case_name);
        let ran = place.circusctl(&case, &bound);
        match (differ(place, &case, &ran, &mut bound), entry) {
            (Some(difference), None) => wrong.push(format!("{case_name}: {difference}")),
            (None, Some(_)) => wrong.push(format!("{case_name}: equal, strike it from the list")),
            (Some(_), Some((_, entry))) if !is_entry(entry) => {
                wrong.push(format!("{case_name}: no entry `{entry}`"));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A circusd with a recorded configuration, its watchers started.
fn circusd(place: &Place, config: &str) -> Daemon {
    let text = std::fs::read_to_string(golden().join("configs").join(config)).expect("a config");
    std::fs::write(place.env.path("circus.ini"), place.here(&text)).expect("written");
    std::fs::copy(golden().join("configs/h1hooks.py"), place.env.path("h1hooks.py"))
        .expect("copied");
    let circusd = place.env.start_again();
    settle(&circusd);
    circusd
}

/// Waits until no watcher is between two states.
fn settle(circusd: &Daemon) {
    circusd.wait_until("every watcher has settled", || {
        let statuses = circusd.ok("status", json!({}))["statuses"].clone();
        let mut states = statuses.as_object().expect("an object").iter();
        // An empty `set` is refused while something else is done to a watcher.
        let idle = |name: &String| {
            circusd.call("set", json!({"name": name, "options": {}}))["status"] != "error"
        };
        states
            .all(|(name, state)| (state == "active" || state == "stopped") && idle(name))
            .then_some(())
    });
}

#[test]
fn without_a_daemon() {
    replay("nodaemon", &Place::new(), DEVIATIONS, |_| {});
}

#[test]
fn with_the_basic_configuration() {
    let place = Place::new();
    let circusd = circusd(&place, "basic.ini");
    let deviations = [
        DEVIATIONS,
        &[
            ("list-unknown-json", "An error reply ends with exit code 3, with `--json` too"),
            ("globaloptions-two", "Words that a command does not know are refused"),
            ("options-two", "Words that a command does not know are refused"),
            ("stop-two", "Words that a command does not know are refused"),
            ("reloadconfig-arg", "Words that a command does not know are refused"),
            ("get-extra", "`get` of a free option"),
            ("ipython", "No `ipython` command"),
            ("ipython-arg", "No `ipython` command"),
            ("options", "`__name__` in sections"),
            ("options-extra", "`__name__` in sections"),
            ("signal-pid", "`signal` to a pid of somebody else"),
            ("signal-negative", "Unknown signal"),
            ("kill-unknown", "`kill` of an unknown watcher"),
            ("kill-unknown-waiting", "`kill` of an unknown watcher"),
            ("kill-bad-pid", "`kill` sends numbers, and `--waiting`"),
            ("set-env", "`set NAME env` works"),
            ("completion-all", "More commands"),
        ],
    ]
    .concat();
    replay("ctl_basic", &place, &deviations, |case| {
        settle(&circusd);
        // The original's `reload` before this one has started a watcher that ours leaves alone.
        if case == "reload-unknown" {
            assert!(is_entry("Stopped watchers in `reload`"));
            circusd.ok("start", json!({"name": "off", "waiting": true}));
        }
    });
    assert!(circusd.wait().success(), "the last case is `quit`");
}

#[test]
fn with_sockets() {
    let place = Place::new();
    let circusd = circusd(&place, "sockets.ini");
    let deviations = [("listsockets-arg", "Words that a command does not know are refused")];
    replay("ctl_sockets", &place, &deviations, |_| {});
    circusd.quit();
}

#[test]
fn with_a_watcher_that_is_slow_to_stop() {
    let place = Place::new();
    let circusd = circusd(&place, "slow.ini");
    let deviations = [
        ("conflict", "Operations at the same time"),
        ("conflict-json", "Operations at the same time"),
    ];
    replay("ctl_slow", &place, &deviations, |case| {
        if case == "quit-waiting" {
            settle(&circusd);
        }
    });
    assert!(circusd.wait().success(), "the last case is `quit`");
}

#[test]
fn with_processes_that_have_children() {
    let place = Place::new();
    let circusd = circusd(&place, "tree.ini");
    replay("ctl_tree", &place, &[], |case| {
        if case == "stats-children" {
            // The shell may not have started them yet.
            circusd.wait_until("there are two children", || {
                let stats = circusd.ok("stats", json!({"name": "tree"}));
                let mut processes = stats["info"].as_object().expect("by pid").values();
                let ready = |shown: &Value| {
                    let children = shown["children"].as_array()?;
                    let run = children.iter().all(|child| child["cmdline"] == "sleep");
                    (children.len() == 2 && run).then_some(())
                };
                processes.all(|shown| ready(shown).is_some()).then_some(())
            });
        }
    });
    circusd.quit();
}
