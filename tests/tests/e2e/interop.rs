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
    "dstats",
    "globaloptions",
    "globaloptions check_delay",
    "globaloptions nosuch",
    "reload sleeper --waiting",
    "reload sleeper --sequential --waiting",
    "reload sleeper --terminate --waiting",
    "reload nosuch",
    "set sleeper graceful_timeout 5 --waiting",
    "set sleeper args 1000 --waiting",
    "get sleeper graceful_timeout args",
    "set sleeper nosuch 1",
    "add extra sleep 1000",
    "status extra",
    "add extra sleep 1000",
    "start ex* --waiting",
    "stop ^ext --match regex --waiting",
    "rm extra",
    "rm extra",
    "add --start more sleep 1000",
    "list more",
    "reloadconfig --waiting",
    "list",
    "kill solo",
    "signal sleeper 18 --children",
    "stats --extended sleeper",
    "--json status sleeper",
    "quit --waiting",
];

/// An output without what differs from run to run: each number is `0`, each size in megabytes, paths
/// are gone, and so are the keys that circus 0.17.2 shows by accident.
fn shape(text: &str, env: &TestEnv) -> String {
    let text = text.replace(&env.directory().display().to_string(), "DIRECTORY");
    let text = text.replace(env.id(), "ID").replace(",__name__=env", "");
    // The original has the name of its interpreter unless setproctitle is installed.
    let text = text.replace("  python ", "  circusd ");
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

/// A command, the shape of its output, its exit code.
type Played = (String, String, Option<i32>);

/// Plays all commands and notes what each printed and how it ended.
fn play(client: &Path, env: &TestEnv) -> Vec<Played> {
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
    compare(&ours, &theirs);
}

#[test]
fn our_circusctl_prints_the_same_as_the_original_against_the_original() {
    let Some(python) = Python::for_test("our circusctl against the original") else { return };
    let theirs = play(&python.program("circusctl"), &TestEnv::of_the_original(python));
    let ours = play(&program::built("circusctl"), &TestEnv::of_the_original(python));
    compare(&ours, &theirs);
}

fn compare(ours: &[Played], theirs: &[Played]) {
    let pairs = ours.iter().zip(theirs).filter(|(our, their)| our != their);
    let different: Vec<_> =
        pairs.map(|(our, their)| format!("ours     {our:?}\noriginal {their:?}")).collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert_eq!((ours.len(), theirs.len()), (COMMANDS.len(), COMMANDS.len()));
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
    let expect = |text: &str| {
        let lines: Vec<_> = text.lines().collect();
        let [process, end] = lines.as_slice() else { panic!("two lines expected: {text:?}") };
        let head = format!("circus.sleeper.1 pid={pid} running=True started=");
        assert!(process.starts_with(&head) && process.ends_with(" args=sleep 1000"), "{text}");
        assert_eq!(*end, "> ok");
    };
    let mut client = env.kernel();
    client.send(b"list processes\nquit\n");
    client.finish();
    expect(&client.rest());

    let port = env.kernel_port().expect("it was asked for");
    let script = format!("printf 'list processes\\nquit\\n' | nc 127.0.0.1 {port}");
    let output = run(Path::new("/bin/sh"), &["-c", &script]);
    if output.status.code() == Some(127) {
        return circus_e2e::python::unavailable("a kernel session with nc", "nc is not installed");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let greeting = "Papa is home. Type \"help\" for commands.\n> ";
    expect(text.strip_prefix(greeting).unwrap_or_else(|| panic!("no greeting: {text}")));
}
