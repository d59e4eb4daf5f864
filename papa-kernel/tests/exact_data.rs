//! Every byte goes into a process and comes back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "only tests use it")]

mod harness;

use harness::{Kernel, wait_until};
use protocol::papa::{
    Argument, BlockDecoder, Command, Form, Pattern, ProcessSpec, Record, Reply, ReplyDecoder,
};

/// What a process with these arguments and this environment writes, and how it ended.
fn run(kernel: &Kernel, spec: ProcessSpec) -> (Vec<u8>, i32) {
    let mut client = kernel.client();
    let name = spec.name.clone();
    client.send(Command::MakeProcess { spec: Box::new(spec), watch: false }.to_line(Form::Exact));
    let reply = client.read_to("> ");
    assert!(reply.contains(" pid="), "{reply}");
    client.send(Command::Watch(vec![Pattern(name)]).to_line(Form::Exact));
    let mut decoder = BlockDecoder::new(Form::Exact, 1 << 20);
    let mut output = Vec::new();
    loop {
        decoder.feed(&client.read_bytes_to(b"] "));
        while let Some(record) = decoder.next_record().unwrap() {
            match record {
                Record::Out(part) => output.extend(part.data),
                Record::Closed { code, .. } => return (output, code.unwrap()),
                _ => {}
            }
        }
        client.acknowledge();
    }
}

#[test]
fn arguments_and_environment_keep_every_byte() {
    let kernel = Kernel::start(&[]);
    let all: Vec<u8> = (1..=255).collect();
    let words: [&[u8]; 6] =
        [&all, b"", b" blanks \n", b"a\\", b"\"quoted\"", b"$(socket.x.fileno)"];
    let mut argv = vec![Argument::literal("/bin/sh"), Argument::literal("-c")];
    // The shell shows its arguments and its environment, whatever is in them.
    argv.push(Argument::literal("printf '%s\\0' \"$@\"; exec cat /proc/self/environ"));
    argv.push(Argument::literal("sh"));
    argv.extend(words.map(Argument::literal));
    let env: Vec<(Vec<u8>, Vec<u8>)> = vec![
        (b"ALL".to_vec(), all.clone()),
        (b"EMPTY".to_vec(), vec![]),
        (b"LINE".to_vec(), b"a\nb ".to_vec()),
    ];
    let spec =
        ProcessSpec { name: "echo".to_owned(), argv, env: env.clone(), ..ProcessSpec::default() };
    let (output, code) = run(&kernel, spec);
    assert_eq!(code, 0);
    let parts: Vec<&[u8]> = output.split(|&byte| byte == 0).collect();
    assert_eq!(parts[..words.len()], words);
    for (key, value) in env {
        let entry = [key, value].join(&b'=');
        assert!(parts.contains(&entry.as_slice()), "{:?}", String::from_utf8_lossy(&entry));
    }
}

#[test]
fn stored_values_keep_every_byte() {
    let kernel = Kernel::start(&[]);
    let all: Vec<u8> = (0..=255).collect();
    for value in [all.as_slice(), b"", b" ", b"> ", b"Error: no"] {
        let mut client = kernel.client();
        client.send(Command::Set("v".to_owned(), Some(value.to_vec())).to_line(Form::Exact));
        client.read_to("> ");
        client.send(Command::Get("v".to_owned()).to_line(Form::Exact));
        let mut decoder = ReplyDecoder::new(Form::Exact, 1 << 20);
        decoder.feed(&client.read_bytes_to(b"> ")).unwrap();
        let Some(Reply::Text(text)) = decoder.take_reply() else { panic!("an error") };
        assert_eq!(protocol::papa::decode(&text).unwrap(), value);
    }
}

#[test]
fn a_watcher_that_keeps_up_loses_nothing_of_a_fast_process() {
    let kernel = Kernel::start(&[]);
    for (name, size) in [("small", "10k"), ("usual", "2m")] {
        let mut client = kernel.client();
        let line = format!(
            "%make process {name} bufsize={size} watch=1 env.PATH=/usr/bin:/bin /bin/sh -c \
             seq%201%20400000;seq%201%20400000%20>%262"
        );
        client.send(format!("{line}\n"));
        let mut decoder = BlockDecoder::new(Form::Exact, 1 << 20);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        'stream: loop {
            let mut buffer = vec![0; 64 << 10];
            let count = client.stream.read(&mut buffer).unwrap();
            decoder.feed(&buffer[..count]);
            while let Some(record) = decoder.next_record().unwrap() {
                match record {
                    Record::Out(part) => out.extend(part.data),
                    Record::Err(part) => err.extend(part.data),
                    Record::Dropped { bytes, .. } => panic!("{bytes} bytes dropped"),
                    Record::EndOfBlock => client.acknowledge(),
                    Record::Closed { .. } => break 'stream,
                    _ => {}
                }
            }
        }
        let expected: Vec<u8> = (1..=400_000).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        assert!(out == expected && err == expected, "{name}: {} {}", out.len(), err.len());
    }
    assert_eq!(kernel.info("dropped"), 0);
}

#[test]
fn a_watcher_that_does_not_answer_does_not_stop_a_process() {
    let kernel = Kernel::start(&[]);
    let mut client = kernel.client();
    client.ask("make process p bufsize=100k env.PATH=/usr/bin:/bin /bin/sh -c head\\ -c\\ 5000000\\ /dev/zero");
    let mut deaf = kernel.client();
    deaf.send("watch processes p\n");
    wait_until("it has ended", || client.ask("list processes").contains("running=False"));
    assert!(kernel.info("dropped") > 4_000_000);
}

#[test]
fn a_stream_that_has_ended_waits_no_longer_for_a_watcher_that_does_not_answer() {
    let kernel = Kernel::start(&[]);
    let mut deaf = kernel.client();
    // More than may be held and less than a pipe holds, so its writer is gone while the kernel still waits.
    deaf.send(
        "%make process p bufsize=10000 watch=1 env.PATH=/usr/bin:/bin /bin/sh -c \
         head%20-c%2030000%20/dev/zero;exec%20sleep%20100%20>%26-\n",
    );
    wait_until("all of it is read", || kernel.info("unread") + kernel.info("dropped") == 30_000);
}
