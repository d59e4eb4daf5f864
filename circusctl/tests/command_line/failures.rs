//! What goes wrong, and what the user is told.

use crate::support::{FakeCircusd, Ran, circusctl};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;

fn run(arguments: &[&str]) -> Ran {
    circusctl().args(arguments).output().expect("circusctl runs").into()
}

/// An address that refuses connections: it was free a moment ago and nobody was told about it.
fn deserted() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("tcp://{}", listener.local_addr().expect("bound"))
}

#[test]
fn a_missing_daemon_is_named_together_with_the_origin_of_the_endpoint() {
    let endpoint = deserted();
    let ran = run(&["--timeout", "1", "--endpoint", &endpoint, "list"]);
    let expected = format!(
        "error: no circusd answers at {endpoint} within 1 s\n\
         caused by: Timed out.\n\
         hint: nobody listens there; is circusd running?\n\
         hint: the endpoint comes from --endpoint\n"
    );
    assert_eq!(ran, Ran { stdout: String::new(), stderr: expected, code: 1 });

    let output = circusctl()
        .args(["list", "--timeout", "0"])
        .env("CIRCUSCTL_ENDPOINT", &endpoint)
        .output()
        .expect("circusctl runs");
    let ran = Ran::from(output);
    assert!(ran.stderr.contains(&format!("{endpoint} within 0 s\n")), "{ran:?}");
    assert!(ran.stderr.contains("comes from CIRCUSCTL_ENDPOINT"), "{ran:?}");
}

#[test]
fn a_daemon_that_takes_too_long_is_not_called_missing() {
    let fake = FakeCircusd::start(|_| vec![]);
    let ran = run(&["--timeout", "1", "--endpoint", fake.endpoint(), "stop", "--waiting"]);
    assert_eq!(fake.finish()[0]["command"], "stop");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("Timed out.\n"), "{ran:?}");
    assert!(ran.stderr.contains("hint: something listens there and takes longer"), "{ran:?}");
    assert!(ran.stderr.contains("hint: it does not answer `status` either"), "{ran:?}");
}

#[test]
fn a_time_out_tells_what_the_daemon_is_doing() {
    let fake = FakeCircusd::start(|request| {
        let mut reply = match request["command"].as_str() {
            Some("status") => json!({"status": "ok",
                "statuses": {"web": "stopping", "other": "active", "old": "starting"}}),
            Some("why") if request["properties"]["name"] == "web" => {
                json!({"status": "ok", "state": "stopping", "wanted": 5,
                    "stopping": {"left": 2, "of": 5, "waited": 12.1, "limit": 30.0}})
            }
            // A circusd that does not know the question.
            Some("why") => {
                json!({"status": "error", "reason": "unknown command: 'why'", "errno": 2})
            }
            _ => return vec![],
        };
        reply["id"] = request["id"].clone();
        vec![reply.to_string().into_bytes()]
    });
    let ran = run(&["--timeout", "1", "--endpoint", fake.endpoint(), "stop", "--waiting"]);
    fake.finish();
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("hint: stopping web: 2 of 5 left, 12 s of 30 s\n"), "{ran:?}");
    assert!(ran.stderr.contains("hint: starting: old\n"), "{ran:?}");
    assert!(!ran.stderr.contains("other"), "{ran:?}");
}

#[test]
fn a_mistyped_watcher_is_guessed() {
    for (typed, hint) in [("webb", "hint: did you mean `web`? "), ("database", "")] {
        let fake = FakeCircusd::start(|request| {
            let mut reply = match request["command"].as_str() {
                Some("status") => json!({"status": "ok", "statuses": {"web": "active"}}),
                _ => json!({"status": "error", "errno": 3,
                    "reason": format!("program {} not found", request["properties"]["name"].as_str().expect("a name"))}),
            };
            reply["id"] = request["id"].clone();
            vec![reply.to_string().into_bytes()]
        });
        let ran = run(&["--endpoint", fake.endpoint(), "list", typed]);
        fake.finish();
        assert_eq!(ran.code, 3);
        let expected = format!("error: program {typed} not found\n");
        match hint {
            "" => assert_eq!(ran.stderr, expected),
            hint => assert!(ran.stderr.starts_with(&(expected + hint)), "{ran:?}"),
        }
    }
}

#[test]
fn mistyped_commands_and_options_are_guessed() {
    for (arguments, message, hint) in [
        (&["statsu"][..], "error: unrecognized subcommand 'statsu'\n", "'status'"),
        (&["list", "--jsno"], "error: unexpected argument '--jsno' found\n", "'--json'"),
        (
            &["set", "web", "numproceses", "1"],
            "error: unknown key 'numproceses'\n",
            "`numprocesses`",
        ),
        (&["list", "a", "b"], "error: unexpected argument 'b' found\n", "usage: circusctl list "),
    ] {
        let ran = run(arguments);
        assert!(ran.stderr.starts_with(message), "{ran:?}");
        let hints = ran.stderr.lines().skip(1);
        assert!(hints.clone().all(|line| line.starts_with("hint: ")), "{ran:?}");
        assert!(hints.clone().any(|line| line.contains(hint)), "{ran:?}");
    }
}

/// The end of circusctl when a server greets it with this and goes on waiting.
fn greeted_with(greeting: &'static [u8]) -> Ran {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("tcp://{}", listener.local_addr().expect("bound"));
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("circusctl connects");
        client.write_all(greeting).expect("sent");
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest); // Until circusctl gives up.
    });
    let ran = run(&["--timeout", "1", "--endpoint", &endpoint, "list"]);
    server.join().expect("the server ends");
    ran
}

#[test]
fn a_server_that_is_no_circusd_is_recognised() {
    // The other has the first bytes of ZeroMQ's greeting, and then silence.
    let greetings: [&[u8]; 2] =
        [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff\0\0\0\0\0\0\0\x01\x7f\x03"];
    for greeting in greetings {
        let ran = greeted_with(greeting);
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains("does not speak ZeroMQ"), "{ran:?}");
    }
}

#[test]
fn an_upgrade_does_not_wait_long_for_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("tcp://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let ran = run(&["--timeout", "1", "--endpoint", &endpoint, "upgrade"]);
    let first = format!("error: no circusd answers at {endpoint} within 1 s\n");
    assert!(ran.code == 1 && ran.stderr.starts_with(&first), "{ran:?}");
}

#[test]
fn an_endpoint_that_takes_no_commands_is_recognised() {
    let context = zmq::Context::new();
    for kind in [zmq::PUB, zmq::XPUB] {
        let events = context.socket(kind).expect("a socket");
        events.bind("tcp://127.0.0.1:*").expect("a free port");
        let endpoint = events.get_last_endpoint().expect("bound").expect("text");
        let ran = run(&["--timeout", "1", "--endpoint", &endpoint, "list"]);
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains("hint: what listens there takes no commands"), "{ran:?}");
    }
}

#[test]
fn a_reply_that_is_no_reply_is_one_clear_sentence() {
    for (reply, cause) in [
        ("<html>", "not JSON"),
        (r#"{"status": "ok", "watch"#, "not JSON"),
        ("[1]", "not a JSON object with a `status`"),
    ] {
        let fake = FakeCircusd::start(move |_| vec![reply.into()]);
        let endpoint = fake.endpoint().to_owned();
        let ran = run(&["--endpoint", &endpoint, "list"]);
        fake.finish();
        let expected = format!(
            "error: what answers at {endpoint} is not circusd\n\
             caused by: its reply is {cause}\n\
             hint: the endpoint comes from --endpoint\n"
        );
        assert_eq!(ran, Ran { stdout: String::new(), stderr: expected, code: 1 });
    }
}

#[test]
fn replies_to_other_requests_are_dropped() {
    let fake = FakeCircusd::start(|request| {
        let reply = |id, number| json!({"status": "ok", "numwatchers": number, "id": id});
        [reply(json!("stale"), 1), reply(json!(null), 2), reply(request["id"].clone(), 3)]
            .map(|reply| reply.to_string().into_bytes())
            .into()
    });
    let ran = run(&["--endpoint", fake.endpoint(), "numwatchers"]);
    fake.finish();
    assert_eq!(ran, Ran { stdout: "3\n".into(), stderr: String::new(), code: 0 });
}

#[test]
fn a_text_that_is_no_endpoint_is_refused_at_once() {
    let port = "tcp://127.0.0.1:65537";
    for endpoint in ["nonsense", "tcp://", "tcp://127.0.0.1", port, "udp://127.0.0.1:5555", ""] {
        let ran = run(&["--endpoint", endpoint, "list"]);
        assert_eq!(ran.code, 1);
        let first = format!("error: `{endpoint}` is not an endpoint\n");
        assert!(ran.stderr.starts_with(&first), "{ran:?}");
    }
}

#[test]
fn words_that_cannot_be_right_end_with_1_and_unknown_commands_and_options_with_2() {
    for (arguments, code) in [
        (&["list", "a", "b"][..], 1),
        (&["get"], 1),
        (&["get", "web"], 1),
        (&["incr", "web", "abc"], 1),
        (&["stats", "web", "abc"], 1),
        (&["signal", "web"], 1),
        (&["signal", "web", "abc", "CONT"], 1),
        (&["signal", "a", "1", "2", "3"], 1),
        (&["set", "web", "numprocesses", "1", "max_age"], 1),
        (&["set", "web", "foo", "1"], 1),
        (&["quit", "web"], 1),
        (&["foo"], 2),
        (&["foo", "list"], 2),
        (&["--foo", "list"], 2),
        (&["list", "--foo"], 2),
        (&["--timeout", "x", "list"], 2),
        (&["add", "web", "sleep", "-x"], 2),
    ] {
        let ran = run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{arguments:?} {ran:?}");
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn options_stand_before_or_after_the_command_and_may_be_shortened() {
    let reply = r#"{"status": "ok", "numwatchers": 3, "id": "X"}"#;
    for position in 0..=1 {
        let fake = FakeCircusd::start(move |request| {
            let id = request["id"].as_str().expect("a text");
            vec![reply.replace('X', id).into_bytes()]
        });
        let mut arguments = vec!["--end", fake.endpoint(), "--js", "--time", "60"];
        arguments.insert(position * arguments.len(), "numwatchers");
        let ran = run(&arguments);
        let id = fake.finish()[0]["id"].as_str().expect("a text").to_owned();
        assert_eq!(ran.stdout, reply.replace('X', &id) + "\n", "{ran:?}");
    }
}

#[test]
fn version_and_help_go_to_standard_output() {
    let ran = run(&["--version"]);
    let expected = format!("circusctl {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(ran, Ran { stdout: expected, stderr: String::new(), code: 0 });
    for arguments in [["-h"].as_slice(), &["--help"], &["list", "-h"]] {
        let ran = run(arguments);
        assert!(ran.code == 0 && ran.stdout.contains("Usage: circusctl"), "{ran:?}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = circusctl()
        .arg("--help")
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .expect("circusctl runs");
    assert_eq!(Ran::from(output), Ran { stdout: String::new(), stderr: String::new(), code: 0 });
}

#[test]
fn a_reader_that_goes_away_before_the_answer_ends_it_quietly() {
    for command in [&["list"][..], &["--json", "list"], &[]] {
        let fake = FakeCircusd::start(|request| {
            let reply =
                json!({"status": "ok", "watchers": ["web"], "statuses": {}, "id": request["id"]});
            vec![reply.to_string().into_bytes()]
        });
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = circusctl()
            .args(["--endpoint", fake.endpoint()])
            .args(command)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .expect("circusctl runs");
        fake.finish();
        let quiet = Ran { stdout: String::new(), stderr: String::new(), code: 0 };
        assert_eq!(Ran::from(output), quiet, "{command:?}");
    }
}

#[test]
fn a_full_disk_is_reported() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let child = circusctl().arg("--version").stdout(full).stderr(Stdio::piped()).spawn();
    let output = child.and_then(std::process::Child::wait_with_output).expect("circusctl runs");
    let ran = Ran::from(output);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.starts_with("error: could not write to standard output\n"), "{ran:?}");
}
