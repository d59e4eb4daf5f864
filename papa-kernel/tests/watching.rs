//! Several clients that follow the same processes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "only tests use it")]

mod harness;

use harness::{Client, Kernel, wait_until};

/// A process that echoes a line for each that `say` writes.
struct Speaker {
    pipe: std::fs::File,
    _directory: tempfile::TempDir,
}

impl Speaker {
    fn start(client: &mut Client, name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let command = format!("make process {name} /bin/sh -c exec\\ cat\\ <{}", path.display());
        assert!(client.ask(&command).contains(" pid="));
        let pipe = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        Self { pipe, _directory: directory }
    }

    fn say(&mut self, text: &str) {
        std::io::Write::write_all(&mut self.pipe, text.as_bytes()).unwrap();
    }
}

fn watcher(kernel: &Kernel, pattern: &str) -> Client {
    let mut client = kernel.client();
    client.send(format!("watch processes {pattern}\n"));
    client
}

#[test]
fn each_of_two_watchers_gets_everything_from_where_it_joined() {
    let kernel = Kernel::start(&[]);
    let mut client = kernel.client();
    let mut speaker = Speaker::start(&mut client, "p");
    let mut one = watcher(&kernel, "p");
    speaker.say("first\n");
    assert!(one.blocks_until(|text| text.contains("first")).contains("Watching 1\n"));
    one.acknowledge();
    // What the first one has acknowledged before the other came is gone.
    wait_until("it is released", || kernel.info("unread") == 0);
    let mut two = watcher(&kernel, "p");
    speaker.say("second\n");
    let text = two.blocks_until(|text| text.contains("second"));
    assert!(!text.contains("first"));
    // The first one acknowledges at once and goes on; the other still holds its block.
    assert!(one.blocks_until(|text| text.contains("second")).contains("second"));
    one.acknowledge();
    speaker.say("third\n");
    one.blocks_until(|text| text.contains("third"));
    one.acknowledge();
    two.acknowledge();
    two.blocks_until(|text| text.contains("third"));
    drop(speaker);
    two.acknowledge();
    assert!(one.blocks_until(|text| text.contains("closed:p:")).ends_with(":0\n"));
    one.acknowledge();
    assert_eq!(one.read_to("> "), "Nothing left to watch\n> ");
    // The end was acknowledged by one, which frees the name, but the other gets it too.
    assert_eq!(client.ask("list processes"), "");
    assert!(two.blocks_until(|text| text.contains("closed:p:")).ends_with(":0\n"));
    two.acknowledge();
    assert_eq!(two.read_to("> "), "Nothing left to watch\n> ");
}

#[test]
fn an_acknowledgement_does_not_take_records_from_a_watcher_that_waits() {
    let kernel = Kernel::start(&[]);
    let mut client = kernel.client();
    let mut speaker = Speaker::start(&mut client, "p");
    let (mut quick, mut slow) = (watcher(&kernel, "p"), watcher(&kernel, "p"));
    let mut heard = slow.read_to("Watching 1\n");
    for number in 0..50 {
        let line = format!("line {number}\n");
        speaker.say(&line);
        quick.blocks_until(|text| text.contains(&line));
        quick.acknowledge();
    }
    wait_until("all is read", || kernel.info("unread") > 0);
    heard += &slow.blocks_until(|text| text.contains("line 49\n"));
    for number in 0..50 {
        assert_eq!(heard.matches(&format!("line {number}\n")).count(), 1, "{heard}");
    }
}

#[test]
fn a_watcher_that_leaves_without_an_answer_leaves_its_block_to_the_next() {
    let kernel = Kernel::start(&[]);
    let mut client = kernel.client();
    let mut speaker = Speaker::start(&mut client, "p");
    speaker.say("once\n");
    for _ in 0..3 {
        let text = watcher(&kernel, "p").blocks_until(|text| text.contains("once"));
        assert_eq!(text.matches("once").count(), 1);
    }
}

#[test]
fn a_busy_process_does_not_keep_others_waiting() {
    let kernel = Kernel::start(&[]);
    let mut client = kernel.client();
    client.ask("make process busy bufsize=100k /bin/sh -c exec\\ yes");
    let mut speaker = Speaker::start(&mut client, "quiet");
    let mut one = watcher(&kernel, "*");
    one.block();
    speaker.say("hello\n");
    wait_until("it is heard", || {
        one.acknowledge();
        one.block().contains("hello")
    });
}

#[test]
fn answers_may_come_before_their_blocks_and_before_the_end_of_the_client() {
    let kernel = Kernel::start(&[]);
    let mut client = kernel.client();
    let mut speaker = Speaker::start(&mut client, "p");
    client.ask("set a mine");
    client.send("watch processes p\n\nq\nget a\n");
    client.stream.end_writing();
    client.read_to("Watching 1\n");
    speaker.say("first\n");
    assert!(client.block().ends_with("first\n\n] "));
    speaker.say("second\n");
    let rest = String::from_utf8(client.read_all()).unwrap();
    assert!(rest.ends_with("second\n\n] Stopped watching\n> mine\n> "), "{rest}");
}

/// papa's own client library reads what has come after the line, and then circus 0.17.2 waits for more.
#[test]
fn the_first_block_waits_until_the_line_before_it_has_been_read() {
    let kernel = Kernel::start(&[]);
    let mut client = kernel.client();
    let mut speaker = Speaker::start(&mut client, "p");
    speaker.say("at once\n");
    wait_until("it is there", || kernel.info("unread") > 0);
    client.send("watch processes p\n");
    let mut buffer = [0; 1000];
    for _ in 0..3 {
        // By then it would have been sent.
        assert!(kernel.info("unread") > 0);
    }
    let count = std::io::Read::read(&mut client.stream, &mut buffer).unwrap();
    assert_eq!(String::from_utf8_lossy(&buffer[..count]), "Watching 1\n");
    assert!(client.block().ends_with("at once\n\n] "));
    client.acknowledge();
    speaker.say("later\n");
    assert!(client.block().ends_with("later\n\n] "));
}
