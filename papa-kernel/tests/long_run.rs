//! A long run of mangled requests, against the parser and against a live kernel.
//!
//! `LONG_RUN_SECONDS=600 cargo test -p papa-kernel --release --test long_run -- --ignored --nocapture`
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "only tests use it")]

mod harness;

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::Kernel;
use protocol::papa::{Command, Form, parse_request};

/// Xorshift: the same run can be had again from its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

/// Everything that the recorded clients sent.
fn recorded_requests() -> Vec<Vec<u8>> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/papa/papa-transcripts.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let cases = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for case in cases {
        for step in case["dialog"].as_array().unwrap() {
            let sent = step["send"].as_str().unwrap_or_default();
            lines.extend(sent.lines().map(|line| line.as_bytes().to_vec()));
        }
    }
    let exact: Vec<Vec<u8>> = lines
        .iter()
        .filter_map(|line| parse_request(line).1.ok().flatten())
        .map(|command| command.to_line(Form::Exact))
        .collect();
    lines.extend(exact);
    lines
}

fn mangle(lines: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    const PIECES: [&[u8]; 12] = [
        b"%",
        b" ",
        b"\\",
        b"=",
        b"\"",
        b"$(socket.a.fileno)",
        b"%0A",
        b"\xff\xfb",
        b"env.",
        b"*",
        b"\0",
        b"\xc3",
    ];
    let mut line = lines[dice.roll(lines.len())].clone();
    for _ in 0..dice.roll(6) {
        let at = dice.roll(line.len() + 1);
        match dice.roll(6) {
            0 => line.truncate(at),
            1 if at < line.len() => line[at] = dice.roll(256) as u8,
            2 if at < line.len() => drop(line.remove(at)),
            3 => {
                let other = &lines[dice.roll(lines.len())];
                let from = dice.roll(other.len() + 1);
                line.truncate(at);
                line.extend_from_slice(&other[from..]);
            }
            _ => {
                let piece = PIECES[dice.roll(PIECES.len())];
                line.splice(at..at, piece.iter().copied());
            }
        }
    }
    line.retain(|byte| *byte != b'\n');
    line
}

/// A request that is understood must mean the same after it was written in exact form.
fn check_parser(line: &[u8]) {
    let (_, parsed) = parse_request(line);
    let Ok(Some(command)) = parsed else { return };
    if let Command::Help(_) = command {
        return;
    }
    let printed = command.to_line(Form::Exact);
    let again = parse_request(&printed[..printed.len() - 1]).1;
    assert_eq!(again, Ok(Some(command)), "{:?}", String::from_utf8_lossy(line));
}

/// Whether a live kernel may get it: nothing is run or bound, and the kernel goes on.
fn is_harmless(line: &[u8]) -> bool {
    !matches!(
        parse_request(line).1,
        Ok(Some(
            Command::MakeProcess { .. }
                | Command::MakeSocket(_)
                | Command::ExitIfIdle
                | Command::Quit
        ))
    )
}

#[test]
#[ignore = "runs as long as it is told to"]
fn no_request_however_mangled_harms_the_kernel() {
    let seconds = std::env::var("LONG_RUN_SECONDS").ok().and_then(|text| text.parse().ok());
    let deadline = Instant::now() + Duration::from_secs(seconds.unwrap_or(600));
    let lines = recorded_requests();
    let kernel = Kernel::start(&[]);
    let (mut parsed, mut sent, mut round) = (0u64, 0u64, 1u64);
    while Instant::now() < deadline {
        let mut dice = Dice(round.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut client = kernel.client();
        let batch: Vec<Vec<u8>> = (0..1000).map(|_| mangle(&lines, &mut dice)).collect();
        batch.iter().for_each(|line| check_parser(line));
        parsed += batch.len() as u64;
        let harmless: Vec<_> = batch.into_iter().filter(|line| is_harmless(line)).collect();
        sent += harmless.len() as u64;
        let text: Vec<u8> =
            harmless.into_iter().flat_map(|line| [line, b"\n".to_vec()]).flatten().collect();
        // Answers are read at the same time, since a client that does not read is not served on.
        // A quit among the requests ends the connection early, so writing may fail.
        std::thread::scope(|scope| {
            let path = format!("127.0.0.1:{}", kernel.port);
            let mut reader = std::net::TcpStream::connect(path).unwrap();
            let mut writer = reader.try_clone().unwrap();
            scope.spawn(move || {
                let _ = std::io::Write::write_all(&mut writer, &text);
                let _ = writer.shutdown(std::net::Shutdown::Write);
            });
            reader.set_read_timeout(Some(harness::PATIENCE)).unwrap();
            let _ = reader.read_to_end(&mut Vec::new());
        });
        assert_eq!(client.ask("get no.such.value"), "", "round {round}");
        round += 1;
    }
    assert!(kernel.info("memory") < 64 << 20);
    eprintln!("{parsed} requests parsed, {sent} sent, {round} rounds");
}
