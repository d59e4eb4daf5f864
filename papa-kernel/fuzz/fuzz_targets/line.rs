//! Sends whatever it gets to a kernel that runs in this process, as one client, after the parsers of both
//! directions have seen it.
//!
//! Nothing is started or bound to a path for the input. Processes that print and end are there to be
//! listed, watched and removed.
//!
//! `cargo +nightly fuzz run line`, or with a stable compiler as `fuzz/README.md` says.
#![no_main]

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use protocol::papa::{BlockDecoder, Command, Form, Noun, Pattern, ReplyDecoder, parse_request};

fuzz_target!(|input: &[u8]| {
    let lines = || input.split(|byte| *byte == b'\n');
    lines().for_each(check_request);
    for form in [Form::Classic, Form::Exact] {
        check_decoders(form, input);
    }
    let harmless: Vec<&[u8]> = lines().filter(|line| is_harmless(line)).collect();
    KERNEL.with_borrow_mut(|kernel| kernel.get_or_insert_with(Kernel::start).converse(&harmless.join(&b'\n')));
});

thread_local! {
    static KERNEL: RefCell<Option<Kernel>> = const { RefCell::new(None) };
}

/// A request that is understood must mean the same after it was written in exact form.
fn check_request(line: &[u8]) {
    let Ok(Some(command)) = parse_request(line).1 else { return };
    if matches!(command, Command::Help(_)) {
        return; // A topic that does not exist is not written again.
    }
    let printed = command.to_line(Form::Exact);
    let again = parse_request(printed.strip_suffix(b"\n").unwrap()).1;
    assert_eq!(again, Ok(Some(command)));
}

/// A client must read the same, however the bytes were cut on their way.
fn check_decoders(form: Form, input: &[u8]) {
    const LIMIT: usize = 1 << 10;
    let records = |size: usize| {
        let mut decoder = BlockDecoder::new(form, LIMIT);
        let mut found = Vec::new();
        for piece in input.chunks(size) {
            decoder.feed(piece);
            loop {
                match decoder.next_record() {
                    // Times need not be numbers, which differ from themselves.
                    Ok(Some(record)) => found.push(format!("{record:?}")),
                    Ok(None) => break,
                    Err(_) => return found,
                }
            }
        }
        found
    };
    assert_eq!(records(1), records(input.len().max(1)));
    let mut replies = ReplyDecoder::new(form, LIMIT);
    for piece in input.chunks(7) {
        if replies.feed(piece).is_err() {
            break;
        }
        while replies.take_reply().is_some() {}
    }
}

/// Whether the kernel may get it: no program is started, and nothing outside is touched.
fn is_harmless(line: &[u8]) -> bool {
    match parse_request(line).1 {
        Ok(Some(Command::MakeProcess { .. } | Command::ExitIfIdle | Command::Upgrade(_))) => false,
        Ok(Some(Command::MakeSocket(spec))) => {
            spec.path.is_none() && spec.host.is_none() && spec.interface.is_none() && spec.port.is_none()
        }
        _ => true,
    }
}

struct Kernel {
    path: PathBuf,
    control: UnixStream,
    inputs: usize,
}

impl Kernel {
    fn start() -> Self {
        let path = std::env::temp_dir().join(format!("papa-fuzz-{}", std::process::id()));
        let arguments = ["-u".into(), path.clone().into_os_string()];
        std::thread::spawn(|| papa_kernel::run(arguments.into_iter()));
        let deadline = Instant::now() + Duration::from_secs(10);
        let control = loop {
            match UnixStream::connect(&path) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
        };
        let mut kernel = Self { path, control, inputs: 0 };
        kernel.reply();
        kernel
    }

    /// One client's whole life.
    fn converse(&mut self, input: &[u8]) {
        if self.inputs.is_multiple_of(100) {
            self.fill();
        }
        self.inputs += 1;
        let mut client = UnixStream::connect(&self.path).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.write_all(input).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        client.read_to_end(&mut Vec::new()).unwrap();
        self.empty();
    }

    /// Something to look at.
    fn fill(&mut self) {
        for number in 0..4 {
            self.ask(&format!("%remove processes t{number}"));
            self.ask(&format!("%make process t{number} /bin/sh -c echo%20one;echo%20two%20>%262;exit%20{number}"));
        }
    }

    /// Lets go of what an input has left, so that memory does not grow from one to the next.
    fn empty(&mut self) {
        self.ask("%remove sockets *");
        let values = self.ask("%list values");
        let names = values.split(|byte| *byte == b'\n').filter_map(|row| row.split(|byte| *byte == b' ').next());
        for name in names.filter(|name| !name.is_empty()) {
            let name = String::from_utf8(protocol::papa::decode(name).unwrap()).unwrap();
            let remove = Command::Remove(Noun::Values, vec![Pattern(name.clone())]);
            if name == "*" {
                self.ask("%set *"); // As a pattern it would be refused.
            } else {
                self.send(&remove.to_line(Form::Exact));
            }
        }
        assert_eq!(self.ask("%list values"), b"");
    }

    fn ask(&mut self, line: &str) -> Vec<u8> {
        self.send(format!("{line}\n").as_bytes())
    }

    fn send(&mut self, line: &[u8]) -> Vec<u8> {
        self.control.write_all(line).unwrap();
        self.reply()
    }

    fn reply(&mut self) -> Vec<u8> {
        let mut decoder = ReplyDecoder::new(Form::Exact, usize::MAX);
        let mut buffer = [0; 4 << 10];
        loop {
            match decoder.take_reply() {
                Some(protocol::papa::Reply::Text(text)) => return text,
                Some(protocol::papa::Reply::Error(_)) => return Vec::new(),
                None => {}
            }
            let count = match self.control.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue, // The fuzzer's alarm.
                count => count.unwrap(),
            };
            assert!(count > 0, "the kernel has hung up");
            decoder.feed(&buffer[..count]).unwrap();
        }
    }
}
