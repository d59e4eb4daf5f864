//! Requests there and back.

use super::super::argument::Argument;
use super::super::socket_spec::{Family, Kind};
use super::super::spec::OutputMode;
use super::*;
use proptest::prelude::*;

fn answer(line: &str) -> String {
    match parse_request(line.as_bytes()).1 {
        Ok(command) => format!("{command:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn verbs_and_nouns_may_be_cut_short() {
    for line in ["l v", "LIS val", "list values", "%l v"] {
        assert_eq!(answer(line), "Some(List(Values, []))", "{line}");
    }
    assert_eq!(answer("q now"), "Some(Quit)");
    assert_eq!(answer("Exit-If-Idle"), "Some(ExitIfIdle)");
    assert_eq!(answer("e"), "You cannot abbreviate \"exit-if-idle\"");
    assert_eq!(answer("u"), "You cannot abbreviate \"upgrade\"");
    assert_eq!(answer("upgrade"), "Some(Upgrade(None))");
    assert_eq!(answer(" "), "None");
}

#[test]
fn words_that_name_nothing_are_answered_as_papa_does() {
    assert_eq!(answer("FOO bar"), "Unknown command \"foo\"");
    assert_eq!(answer("%foo bar"), "Unknown command \"%foo\"");
    assert_eq!(answer("m"), "\"make\" must be followed by one of: process, socket");
    let bad = "Bad \"make\" command. The following word must be one of: process, socket";
    assert_eq!(answer("m sockets"), bad);
    assert_eq!(answer("m p"), "Process requires a name");
    assert_eq!(answer("m p x a=b"), "Unknown option \"a\"");
    assert_eq!(answer("m p x env.A=1"), "No command");
    assert_eq!(answer("get"), "Value requires a name");
}

#[test]
fn names_that_would_break_the_stream_need_the_exact_form() {
    assert!(answer("m p a:b true").starts_with("Bad process name"));
    assert!(answer("m p a\\ b true").starts_with("Bad process name"));
    assert!(answer("%m p a%0Ab true").starts_with("Bad process name"));
    assert!(answer("%m p a:b%20c true").starts_with("Some(MakeProcess"));
}

#[test]
fn extensions_are_exact_and_written_out() {
    assert_eq!(answer("%follow a%20b"), "Some(Follow(\"a b\"))");
    assert_eq!(answer("%note a"), "Some(Note(\"a\", None))");
    assert_eq!(answer("%note a %"), "Some(Note(\"a\", Some([])))");
    assert_eq!(answer("%f a"), "You cannot abbreviate \"follow\"");
    assert_eq!(answer("%follow"), "\"follow\" must be followed by the name of a process");
    for line in ["f a", "follow a", "n a", "note a b"] {
        assert!(answer(line).starts_with("Unknown command"), "{line}");
    }
}

#[test]
fn an_exact_set_can_store_the_empty_value() {
    assert_eq!(answer("%set a"), "Some(Set(\"a\", None))");
    assert_eq!(answer("%set a %"), "Some(Set(\"a\", Some([])))");
}

fn process() -> impl Strategy<Value = Command> {
    let argument = prop_oneof![
        any::<Vec<u8>>().prop_map(Argument::from),
        any::<Vec<u8>>().prop_map(Argument::literal),
        "[a=$(]{0,3}\\$\\(socket\\.k\\.port\\)".prop_map(Argument::from),
        "[a=$(]{0,3}\\$\\(socket\\.k\\.port\\)".prop_map(Argument::literal),
    ];
    let output = prop_oneof![Just(OutputMode::Pipe), Just(OutputMode::Null)];
    let error =
        prop_oneof![Just(OutputMode::Pipe), Just(OutputMode::Null), Just(OutputMode::Stdout)];
    let env = prop::collection::btree_map("[A-Z_ é]{1,5}", any::<Vec<u8>>(), 0..3);
    (
        ("[^\0-\x1f\x7f-\u{9f}]{1,8}", prop::collection::vec(argument, 1..4), env),
        (any::<Option<String>>(), any::<Option<Vec<u8>>>(), output, error),
        (prop::option::of(0..1u64 << 30), prop::option::of(0..0o1000u32)),
        (any::<Option<u64>>(), any::<bool>(), any::<bool>(), any::<Option<Vec<u8>>>()),
    )
        .prop_map(|((name, argv, env), (uid, working_dir, stdout, stderr), sizes, rest)| {
            let env = env.into_iter().map(|(k, v)| (k.into_bytes(), v)).collect();
            let spec = ProcessSpec {
                name,
                argv,
                env,
                working_dir,
                gid: uid.clone(),
                uid,
                rlimits: vec![("nofile".to_owned(), rest.0)],
                stdout,
                stderr,
                bufsize: sizes.0,
                umask: sizes.1,
                shell: rest.1,
                note: rest.3,
            };
            Command::MakeProcess { spec: Box::new(spec), watch: rest.2 }
        })
}

fn socket() -> impl Strategy<Value = Command> {
    (any::<Option<u16>>(), any::<Option<Vec<u8>>>(), prop::option::of("[^\0]{1,5}"), any::<bool>())
        .prop_map(|(port, path, host, reuseport)| {
            Command::MakeSocket(Box::new(SocketSpec {
                name: "a b".to_owned(),
                family: if path.is_some() { Family::Unix } else { Family::Inet6 },
                kind: Kind::Seqpacket,
                backlog: 2048,
                interface: host.clone(),
                host,
                port,
                path,
                umask: port.map(|port| u32::from(port) & 0o777),
                reuseport,
            }))
        })
}

proptest! {
    #[test]
    fn exact_requests_survive(command in prop_oneof![
        process(),
        socket(),
        any::<Vec<u8>>().prop_map(|value| Command::Set("a b".to_owned(), Some(value))),
        "[^\0-\x1f]{0,8}".prop_map(|name| Command::Watch(vec![Pattern(name)])),
        "[^\0-\x1f]{0,8}".prop_map(|name| Command::Remove(Noun::Values, vec![Pattern(name)])),
    ]) {
        let mut line = Vec::new();
        command.print(Form::Exact, &mut line);
        prop_assert!(!line.contains(&b'\n'));
        let (form, parsed) = parse_request(&line);
        prop_assert_eq!(form, Form::Exact);
        prop_assert_eq!(parsed, Ok(Some(command)));
    }

    #[test]
    fn no_request_is_too_strange(line: Vec<u8>) {
        let _ = parse_request(&line);
    }
}

#[test]
fn classic_requests_survive_where_the_form_can_carry_them() {
    let line = "make process web.1 uid=nobody working_dir=/a\\ b bufsize=1048576 stderr=stdout \
                env.A=\"x\\\" rlimit.nofile=77 /bin/sh -c echo\\ $HOME";
    let (form, command) = parse_request(line.as_bytes());
    let mut printed = Vec::new();
    command.clone().unwrap().unwrap().print(Form::Classic, &mut printed);
    assert_eq!(form, Form::Classic);
    assert_eq!(parse_request(&printed).1, command);
    assert_eq!(String::from_utf8(printed).unwrap(), line);
}
