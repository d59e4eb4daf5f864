//! A worker that behaves as a test wants: `fixture lines`, `fixture crash-after 50` and so on.
#![forbid(unsafe_code)]
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails loudly")]

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::sys::socket::{MsgFlags, Shutdown, accept, recv, send, shutdown};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Write};
use std::os::fd::RawFd;
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match words.as_slice() {
        ["lines"] => lines(10, u64::MAX),
        ["lines", interval] => lines(number(interval), u64::MAX),
        ["lines", interval, count] => lines(number(interval), number(count)),
        ["both", pause] => both(number(pause)),
        ["numbered", interval] => numbered(number(interval)),
        ["crash-after", delay] => {
            pass(Duration::from_millis(number(delay)));
            return ExitCode::FAILURE;
        }
        ["exit-code", code] => return ExitCode::from(code.parse::<u8>().expect("0 to 255")),
        ["ignore-term"] => ignore_term(),
        ["serve-fd", fd] => serve(fd.parse().expect("a descriptor")),
        ["leak-grandchild"] => leak_grandchild(),
        ["flood"] => flood(u64::MAX),
        ["flood", bytes] => flood(number(bytes)),
        _ => panic!(
            "fixture lines [MILLISECONDS [COUNT]] | numbered MILLISECONDS | both MICROSECONDS | \
             crash-after MILLISECONDS | exit-code CODE | ignore-term | serve-fd FD | leak-grandchild | \
             flood [BYTES]"
        ),
    }
    ExitCode::SUCCESS
}

/// Waits until nobody reads our output any more, but only so long: how long a worker lives or how fast it prints is
/// what a test asks for.
fn pass(time: Duration) {
    let stdout = io::stdout();
    let time = Timespec::try_from(time).expect("a timeout of seconds fits");
    // Without a flag of its own it reports errors alone.
    poll(&mut [PollFd::new(&stdout, PollFlags::empty())], Some(&time)).expect("poll");
}

/// Waits until we are told to end, but only so long; true if we are.
fn told_to_end(told: &SignalFd, time: Duration) -> bool {
    let time = Timespec::try_from(time).expect("a timeout of seconds fits");
    poll(&mut [PollFd::new(told, PollFlags::IN)], Some(&time)).expect("poll") > 0
}

/// Prints `NUMBER SECONDS` again and again, a number per line from 1 without gaps.
fn lines(interval: u64, count: u64) {
    for number in 1..=count {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        // One write per line, so that no reader sees a part of one.
        let line = format!("{number} {:.6}\n", time.as_secs_f64());
        io::stdout().write_all(line.as_bytes()).expect("somebody reads");
        pass(Duration::from_millis(interval));
    }
}

/// Prints `out NUMBER` on stdout and `err NUMBER` on stderr again and again, from 1 without gaps; lines of
/// many lengths, in one write or in parts. SIGTERM ends it between two lines, not within one.
fn both(pause: u64) {
    let end = SigSet::from_iter([Signal::SIGTERM]);
    end.thread_block().expect("SIGTERM can be blocked");
    let told = SignalFd::new(&end).expect("a descriptor");
    for number in 1u64.. {
        let filler = "x".repeat(usize::try_from(number * 37 % 90).expect("below 90"));
        let (out, err) = (format!("out {number} {filler}\n"), format!("err {number} {filler}\n"));
        let half = if number.is_multiple_of(3) { out.len() / 2 } else { 0 };
        for part in [&out[..half], &out[half..]] {
            io::stdout().write_all(part.as_bytes()).expect("somebody reads");
            io::stdout().flush().expect("somebody reads");
        }
        io::stderr().write_all(err.as_bytes()).expect("somebody reads");
        if told_to_end(&told, Duration::from_micros(pause)) {
            return;
        }
    }
}

/// Prints `PID NUMBER` again and again, a number per line from 1 without gaps.
fn numbered(interval: u64) {
    let pid = std::process::id();
    for number in 1.. {
        let line = format!("{pid} {number}\n");
        io::stdout().write_all(line.as_bytes()).expect("somebody reads");
        pass(Duration::from_millis(interval));
    }
}

/// Runs until SIGKILL.
fn ignore_term() {
    // A blocked signal waits for ever. Ignoring it would need a handler table and unsafe code.
    SigSet::from_iter([Signal::SIGTERM]).thread_block().expect("SIGTERM can be blocked");
    println("ready");
    loop {
        std::thread::park();
    }
}

/// Accepts on a listening socket that it was given and answers with its pid, as an HTTP server does.
fn serve(listener: RawFd) {
    loop {
        let client = accept(listener).expect("a listening socket");
        let mut request = Vec::new();
        let mut buffer = [0; 1024];
        while !request.windows(4).any(|window| window == b"\r\n\r\n") {
            match recv(client, &mut buffer, MsgFlags::empty()) {
                Ok(0) | Err(_) => break,
                Ok(count) => request.extend_from_slice(&buffer[..count]),
            }
        }
        let body = format!("{}\n", std::process::id());
        let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        // A client that has gone is no concern of ours.
        let _ = send(client, (head + &body).as_bytes(), MsgFlags::MSG_NOSIGNAL);
        let _ = shutdown(client, Shutdown::Both);
        let _ = nix::unistd::close(client);
    }
}

/// Ends at once and leaves a process behind that holds its output open.
#[expect(clippy::zombie_processes, reason = "the process it leaves behind is the point")]
fn leak_grandchild() {
    let own = std::env::current_exe().expect("a running program has a path");
    let child = Command::new(own).arg("ignore-term").spawn().expect("it starts");
    println(&format!("leaked {}", child.id()));
}

/// Prints as fast as anybody reads.
fn flood(bytes: u64) {
    let line = [b"x".repeat(99), vec![b'\n']].concat();
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left).map_or(line.len(), |left| left.min(line.len()));
        io::stdout().write_all(&line[..part]).expect("somebody reads");
        left = left.saturating_sub(line.len() as u64);
    }
}

fn println(text: &str) {
    io::stdout().write_all(format!("{text}\n").as_bytes()).expect("somebody reads");
}
