//! Snapshots survive the way through bytes, golden ones for ever, and no bytes do harm.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::header::HEAD;
use super::v1::*;
use super::*;

/// What a generated state borrows from.
#[derive(Debug, Clone)]
struct Material {
    names: Vec<String>,
    bytes: Vec<Vec<u8>>,
    numbers: Vec<u64>,
    flags: Vec<bool>,
}

fn material() -> impl Strategy<Value = Material> {
    (
        prop::collection::vec(".{0,6}", 1..4),
        prop::collection::vec(any::<Vec<u8>>(), 1..4),
        prop::collection::vec(any::<u64>(), 1..6),
        prop::collection::vec(any::<bool>(), 1..8),
    )
        .prop_map(|(names, bytes, numbers, flags)| Material { names, bytes, numbers, flags })
}

/// Every field set from the material in turn, so that each takes all kinds of values.
fn state(material: &Material) -> State<'_> {
    let turn = Cell::new(0);
    let next = || turn.replace(turn.get() + 1);
    let text = |at: usize| material.names[at % material.names.len()].as_str();
    let bytes = |at: usize| material.bytes[at % material.bytes.len()].as_slice();
    let number = |at: usize| material.numbers[at % material.numbers.len()];
    let flag = |at: usize| material.flags[at % material.flags.len()];
    let small = |at: usize| number(at) as i32;
    let time = |at: usize| number(at) as f64 / 7.0;
    let count = |at: usize| 0..number(at) % 4;
    let ring = || Ring {
        limit: number(next()),
        heads: count(next())
            .map(|_| Head {
                timestamp: time(next()),
                length: small(next()).cast_unsigned(),
                kind: match number(next()) % 3 {
                    0 => Kind::Out,
                    1 => Kind::Err,
                    _ => Kind::Closed(small(next())),
                },
            })
            .collect(),
        data: (bytes(next()), bytes(next())),
        first_seq: number(next()),
        first_offset: number(next()),
        released_offset: number(next()),
        shown: number(next()),
        dropped: number(next()),
    };
    let process = |_| Process {
        id: number(next()),
        listed: flag(next()),
        request: bytes(next()).to_vec(),
        credentials: flag(next()).then(|| Credentials {
            uid: flag(next()).then(|| small(next()).cast_unsigned()),
            gid: small(next()).cast_unsigned(),
            groups: flag(next()).then(|| vec![7, 0]),
        }),
        pid: small(next()),
        pidfd: small(next()),
        started: time(next()),
        exit: flag(next()).then(|| match flag(next()) {
            true => Exit::Code(small(next())),
            false => Exit::Signal(small(next())),
        }),
        removed: flag(next()),
        stdout: flag(next()).then(|| small(next())),
        stderr: flag(next()).then(|| small(next())),
        acknowledged: number(next()),
        followers: count(next())
            .map(|client| Follower { client, next: 1, acknowledged: 2, offset: number(next()) })
            .collect(),
        ring: ring(),
    };
    let client = |id| Client {
        id,
        fd: small(4),
        input: bytes(1),
        output: bytes(2),
        drained: number(3),
        mode: match number(id as usize) % 4 {
            0 => Mode::Commands,
            1 => Mode::Leaving,
            2 => Mode::Upgrading,
            _ => Mode::Watching(Watch {
                exact: flag(1),
                followed: count(1).collect(),
                changed: count(2).collect(),
                unanswered: count(3).map(|id| (id, number(4))).collect(),
                resume_after: flag(2).then(|| number(5)),
            }),
        },
        ended: flag(3),
        broken: flag(4),
        shut: flag(5),
    };
    State {
        version: text(0),
        program: bytes(0),
        successor: bytes(1),
        arguments: count(0).map(|at| bytes(at as usize)).collect(),
        requester: number(0),
        exit_requested: flag(0),
        shield: flag(1).then(|| Shield { nofile: (number(0), number(1)), reset_oom: flag(2) }),
        listener: Listener { fd: small(0), path: flag(3).then(|| bytes(2)) },
        sockets: count(2)
            .map(|at| Socket {
                request: bytes(at as usize).to_vec(),
                fd: flag(0).then(|| small(1)),
                host: flag(1).then(|| text(2)),
                port: flag(2).then(|| number(3) as u16),
                path: flag(4).then(|| bytes(3)),
            })
            .collect(),
        values: count(3).map(|at| (text(at as usize), bytes(at as usize))).collect(),
        processes: count(1).map(process).collect(),
        next_process: number(2),
        leftovers: count(2)
            .map(|process| Leftover { process, stderr: flag(2), fd: small(3) })
            .collect(),
        doomed: count(1).map(|at| small(at as usize)).collect(),
        dropped: number(4),
        discarded: number(5),
        clients: count(4).map(client).collect(),
        next_client: number(3),
    }
}

proptest! {
    #[test]
    fn every_state_survives(material in material()) {
        let state = state(&material);
        let snapshot = encode(&state).unwrap();
        prop_assert_eq!(decode(&snapshot).unwrap(), state);
    }

    #[test]
    fn a_snapshot_that_was_cut_or_changed_is_refused(
        material in material(),
        at: prop::sample::Index,
        bit in 0..8u8,
    ) {
        let snapshot = encode(&state(&material)).unwrap();
        let at = at.index(snapshot.len());
        prop_assert!(decode(&snapshot[..at]).is_err());
        let mut changed = snapshot.clone();
        changed[at] ^= 1 << bit;
        prop_assert!(decode(&changed).is_err());
        let mut longer = snapshot;
        longer.push(0);
        prop_assert!(decode(&longer).is_err());
    }

    #[test]
    fn no_bytes_are_too_strange(bytes: Vec<u8>) {
        crate::upgrade::is_acceptable_snapshot(&bytes);
    }
}

#[test]
fn a_length_that_is_not_there_is_refused_before_memory_is_taken() {
    let material = Material {
        names: vec![String::new()],
        bytes: vec![Vec::new()],
        numbers: vec![0],
        flags: vec![false],
    };
    // The version's length is the first number: 253 announces eight bytes of it.
    let mut payload = encode(&state(&material)).unwrap().split_off(HEAD);
    payload.splice(..1, [253, 0, 0, 0, 0, 0, 0, 0, 0x7f]);
    assert!(decode_payload(&payload).is_err());
}

#[test]
fn a_newer_format_is_named() {
    let material = Material {
        names: vec!["1".to_owned()],
        bytes: vec![Vec::new()],
        numbers: vec![0],
        flags: vec![true],
    };
    let mut snapshot = encode(&state(&material)).unwrap();
    snapshot[8] = 2;
    let text = decode(&snapshot).unwrap_err().to_string();
    assert_eq!(text, "snapshot format 2 is not known here, only formats up to 1");
}

#[test]
fn a_memory_file_is_read_back_only_when_it_is_sealed() {
    let file = write_sealed(b"text").unwrap();
    assert_eq!(read_sealed(&file).unwrap(), b"text");
    assert!(nix::unistd::write(&file, b"x").is_err());
    let open = tempfile::tempfile().unwrap();
    assert!(read_sealed(&open).is_err());
}

fn golden_directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots")
}

/// A stack as it may be met: two sockets, values, a process that runs and is watched, one that has
/// ended, one that was removed; a client for each mode.
fn golden() -> State<'static> {
    let ring = |heads: Vec<Head>, data: (&'static [u8], &'static [u8])| Ring {
        limit: 2 << 20,
        heads,
        data,
        first_seq: 17,
        first_offset: 1234,
        released_offset: 1000,
        shown: 18,
        dropped: 234,
    };
    let head = |length, kind| Head { timestamp: 1_795_466_423.623_328_7, length, kind };
    let process = |id: u64, request: &[u8]| Process {
        id,
        listed: true,
        request: request.to_vec(),
        credentials: None,
        pid: 4000 + id as i32,
        pidfd: 20 + id as i32 * 3,
        started: 1_795_466_420.25,
        exit: None,
        removed: false,
        stdout: Some(21 + id as i32 * 3),
        stderr: Some(22 + id as i32 * 3),
        ring: ring(vec![head(3, Kind::Out), head(4, Kind::Err)], (b"one\ntw", b"o")),
        acknowledged: 17,
        followers: Vec::new(),
    };
    let client = |id: u64, mode| Client {
        id,
        fd: 50 + id as i32,
        input: b"",
        output: b"",
        drained: 0,
        mode,
        ended: false,
        broken: false,
        shut: false,
    };
    State {
        version: "0.1.0",
        program: b"/usr/bin/papa-kernel",
        successor: b"/usr/bin/papa-kernel",
        arguments: vec![b"-u", b"/run/papa/papa.sock", b"--title=circusd"],
        requester: 9,
        exit_requested: false,
        shield: Some(Shield { nofile: (1024, 524_288), reset_oom: true }),
        listener: Listener { fd: 3, path: Some(b"/run/papa/papa.sock") },
        sockets: vec![
            Socket {
                request: b"%make socket web family=inet type=stream backlog=2048 port=8080".to_vec(),
                fd: Some(10),
                host: Some("127.0.0.1"),
                port: Some(8080),
                path: None,
            },
            Socket {
                request: b"%make socket local family=unix type=stream backlog=5 path=/run/a%20b umask=63"
                    .to_vec(),
                fd: Some(11),
                host: None,
                port: None,
                path: Some(b"/run/a b"),
            },
        ],
        values: vec![("circus.web", b"{\"a\": 1}\n\xff"), ("empty", b"")],
        processes: vec![
            Process {
                credentials: Some(Credentials { uid: Some(33), gid: 33, groups: Some(vec![33, 4]) }),
                followers: vec![Follower { client: 7, next: 19, acknowledged: 17, offset: 1241 }],
                ..process(0, b"%make process circus.web.1 uid=www-data env.A=%0A rlimit.nofile=4096 /bin/web --port $(socket.web.fileno)")
            },
            Process {
                exit: Some(Exit::Signal(15)),
                stdout: None,
                stderr: None,
                ring: ring(vec![head(7, Kind::Out), head(0, Kind::Closed(-15))], (b"one\ntwo", b"")),
                ..process(1, b"%make process circus.web.2 bufsize=1000 stderr=stdout sh -c exit%203")
            },
            Process {
                listed: false,
                removed: true,
                exit: Some(Exit::Code(0)),
                stdout: None,
                stderr: None,
                ring: ring(vec![head(0, Kind::Closed(0))], (b"", b"")),
                ..process(2, b"%make process circus.web.2 true")
            },
        ],
        next_process: 3,
        leftovers: vec![Leftover { process: 0, stderr: true, fd: 70 }],
        doomed: vec![71],
        dropped: 12,
        discarded: 34,
        clients: vec![
            Client { input: b"list proc", ..client(6, Mode::Commands) },
            client(
                7,
                Mode::Watching(Watch {
                    exact: true,
                    followed: vec![0, 1],
                    changed: vec![1],
                    unanswered: vec![(0, 19)],
                    resume_after: Some(1),
                }),
            ),
            Client { output: b"ok\n", drained: 5, ended: true, ..client(8, Mode::Leaving) },
            Client { input: b"get a\n", ..client(9, Mode::Upgrading) },
        ],
        next_client: 10,
    }
}

#[test]
fn golden_snapshots_load_for_ever() {
    let snapshot = std::fs::read(golden_directory().join("v1-stack.bin")).unwrap();
    assert_eq!(decode(&snapshot).unwrap(), golden());
    assert_eq!(encode(&golden()).unwrap(), snapshot, "format 1 is still written the same");
}

/// Writes the golden file of format 1. A released one is never written again:
/// `cargo test -p papa-kernel --lib -- --ignored write_golden_snapshots`
#[test]
#[ignore = "writes into the source tree"]
fn write_golden_snapshots() {
    let path = golden_directory().join("v1-stack.bin");
    assert!(!path.exists(), "{} is there and must not change", path.display());
    std::fs::create_dir_all(golden_directory()).unwrap();
    std::fs::write(path, encode(&golden()).unwrap()).unwrap();
}

/// Changes golden snapshots at random, for as many seconds as `SNAPSHOT_SECONDS` says, and decodes
/// them. Not guided by coverage; `fuzz/` has a target for cargo-fuzz.
#[test]
#[ignore = "runs for a minute unless told otherwise"]
fn mutated_golden_snapshots_do_no_harm() {
    let seconds = std::env::var("SNAPSHOT_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(60));
    let original = encode(&golden()).unwrap().split_off(HEAD);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        // Xorshift: any sequence will do, and the same one each time.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below.max(1) as u64) as usize
    };
    let (mut runs, mut readable) = (0u64, 0u64);
    while Instant::now() < end {
        for _ in 0..1000 {
            let mut payload = original.clone();
            for _ in 0..=random(4) {
                let at = random(payload.len());
                match random(5) {
                    0 => payload[at] ^= 1 << random(8),
                    1 => payload[at] = [0, 1, 250, 251, 252, 253, 254, 255][random(8)],
                    2 => payload.truncate(at + 1),
                    3 => drop(payload.splice(at..at, [random(256) as u8])),
                    _ => {
                        let from = random(payload.len());
                        let part = payload[from..payload.len().min(from + random(30))].to_vec();
                        payload.splice(at..at, part);
                    }
                }
            }
            runs += 1;
            readable += u64::from(decode_payload(&payload).is_ok());
            crate::upgrade::is_acceptable_snapshot(&payload);
        }
    }
    assert!(readable > 0 && readable < runs, "{readable} of {runs} were readable");
    eprintln!("{runs} changed snapshots, {readable} of them readable");
}
