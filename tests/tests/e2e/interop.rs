//! The original clients against our daemons, and our client against the original.

use circus_e2e::program::{self, run};
use circus_e2e::{Python, TestEnv};
use std::path::Path;

/// What both daemons supervise.
const SECTIONS: &str = "[watcher:sleeper]\ncmd = sleep 1000\nnumprocesses = 2\n\
                        [watcher:Off]\ncmd = sleep 1000\nautostart = False\n\
                        [watcher:solo]\ncmd = sleep 1000\nsingleton = True\n\
                        [socket:web]\nhost = 127.0.0.1\nport = 0\n";

/// Commands in an order in which each finds what it needs.
const COMMANDS: &[&str] = &[
    "list",
    "list sleeper",
    "list off",
    "list nosuch",
    "status",
    "status sleeper",
    "numwatchers",
    "numprocesses",
    "numprocesses sleeper",
    "stats",
    "stats sleeper",
    "stats nosuch",
    "get sleeper cmd numprocesses graceful_timeout",
    "get sleeper nokey",
    "options sleeper",
    "listsockets",
    "incr sleeper --waiting",
    "decr sleeper --waiting",
    "incr solo",
    "signal sleeper CONT",
    "signal nosuch 18",
    "stop sleeper --waiting",
    "status sleeper",
    "list sleeper",
    "start sleeper --waiting",
    "status sleeper",
    "restart sleeper --waiting",
    "list sleeper",
    "--json status sleeper",
    "quit --waiting",
];

/// An output without what differs from run to run: each number is `0`, each size in megabytes, paths
/// are gone, and so are the keys that circus 0.17.2 shows by accident.
fn shape(text: &str, env: &TestEnv) -> String {
    let text = text.replace(&env.directory().display().to_string(), "DIRECTORY");
    let text = text.replace(env.id(), "ID").replace(",__name__=env", "");
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.starts_with("__name__: ")) {
        let mut last = ' ';
        for c in line.chars() {
            let size = matches!(c, 'B' | 'K' | 'G') && last == '0';
            let shown = if c.is_ascii_digit() {
                '0'
            } else if size {
                'M'
            } else {
                c
            };
            if shown != '0' || last != '0' {
                out.push(shown);
            }
            last = shown;
        }
        out.push('\n');
    }
    out
}

/// Plays all commands and notes what each printed and how it ended.
fn play(client: &Path, env: &TestEnv) -> Vec<(String, String, Option<i32>)> {
    let circusd = env.start(SECTIONS);
    circusd.wait_for_pids("sleeper", 2);
    circusd.wait_for_pids("solo", 1);
    let endpoint = env.endpoint();
    let played = COMMANDS
        .iter()
        .map(|command| {
            let words = ["--timeout", "30", "--endpoint", &endpoint].into_iter();
            let output = run(client, &words.chain(command.split(' ')).collect::<Vec<_>>());
            let stdout = String::from_utf8_lossy(&output.stdout);
            // The same `id` key and times under --json.
            let stdout = stdout.split(", \"id\"").next().unwrap_or_default();
            ((*command).to_owned(), shape(stdout, env), output.status.code())
        })
        .collect();
    assert!(circusd.wait().success());
    played
}

#[test]
fn the_original_circusctl_prints_the_same_against_us() {
    let Some(python) = Python::for_test("the original circusctl against us") else { return };
    let client = python.program("circusctl");
    let theirs = play(&client, &TestEnv::of_the_original(python));
    let ours = play(&client, &TestEnv::new());
    similar_asserts(&ours, &theirs);
}

#[test]
fn our_circusctl_prints_the_same_as_the_original_against_the_original() {
    let Some(python) = Python::for_test("our circusctl against the original") else { return };
    let theirs = play(&python.program("circusctl"), &TestEnv::of_the_original(python));
    let ours = play(&program::built("circusctl"), &TestEnv::of_the_original(python));
    similar_asserts(&ours, &theirs);
}

fn similar_asserts<T: PartialEq + std::fmt::Debug>(ours: &[T], theirs: &[T]) {
    for (our, their) in ours.iter().zip(theirs) {
        assert_eq!(our, their, "left is ours, right is the original's");
    }
}

#[test]
fn the_original_papa_client_lists_what_our_kernel_has() {
    let env = TestEnv::new().kernel_on_a_port();
    let Some(python) = Python::for_test("the original papa client") else { return };
    if env.has_no_kernel() {
        return;
    }
    let circusd = env.start(
        "[socket:web]\nhost = 127.0.0.1\nport = 0\nuse_papa = True\n\
         [watcher:sleeper]\ncmd = sleep 1000\nnumprocesses = 2\nuse_papa = True\n",
    );
    let pids = circusd.wait_for_pids("sleeper", 2);
    let port = env.kernel_port().expect("it was asked for").to_string();
    let code = "import papa, sys\n\
                papa.set_default_port(int(sys.argv[1]))\n\
                with papa.Papa() as kernel:\n\
                \x20   for name, keys in sorted(kernel.list_processes().items()):\n\
                \x20       print(name, keys['pid'], keys['running'], keys['args'])\n\
                \x20   for name, keys in sorted(kernel.list_sockets().items()):\n\
                \x20       print(name, keys['host'], keys['family'])\n";
    let output = python.script(code, &[&port]);
    let expected = format!(
        "circus.sleeper.1 {} True sleep 1000\ncircus.sleeper.2 {} True sleep 1000\n\
         circus.web 127.0.0.1 inet\n",
        pids[0], pids[1]
    );
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(stdout, expected, "{stderr}");
}

#[test]
fn a_kernel_session_by_hand_reads_well() {
    let env = TestEnv::new().kernel_on_a_port();
    if env.has_no_kernel() {
        return;
    }
    let circusd = env.start("[watcher:sleeper]\ncmd = sleep 1000\nuse_papa = True\n");
    let pid = circusd.wait_for_pids("sleeper", 1)[0];
    // What `printf 'list processes\nquit\n' | nc 127.0.0.1 PORT` does; the greeting is read already.
    let mut client = env.kernel();
    client.send(b"list processes\nquit\n");
    client.finish();
    let text = client.rest();
    let lines: Vec<_> = text.lines().collect();
    let [process, end] = lines.as_slice() else { panic!("two lines expected: {text:?}") };
    assert!(
        process.starts_with(&format!("circus.sleeper.1 pid={pid} running=True started=")),
        "{text}"
    );
    assert!(process.ends_with(" args=sleep 1000"), "{text}");
    assert_eq!(*end, "> ok");
}
