//! Notes beside processes, and acknowledgements of a part of a block.
#![allow(clippy::unwrap_used, clippy::panic, reason = "only tests use it")]

mod harness;

use circus_e2e::Gate;
use harness::{Client, Kernel, exact, wait_until};

/// Follows the process, which has output. The stream must begin as expected; the first block is returned.
fn follow(kernel: &Kernel, expected: &str) -> (Client, String) {
    let mut client = kernel.client();
    client.send("%follow p\n");
    let text = client.block();
    let (head, block) = text.split_once('\n').unwrap();
    assert_eq!(head, format!("Following {expected}"));
    (client, block.to_owned())
}

/// Makes a process that prints `one` to stdout, `two` to stderr and `thr` without an end to stdout, each when the
/// kernel has read what is before it, and then waits.
fn printer(kernel: &Kernel) {
    let directory = tempfile::tempdir().unwrap();
    let gate = Gate::at(directory.path().join("go"));
    let wait = gate.wait();
    let script = format!("echo one; {wait}; echo two >&2; {wait}; printf thr; exec sleep 100");
    kernel.client().ask(&format!("%make process p /bin/sh -c {}", exact(&script)));
    for printed in [4, 8] {
        wait_until("it is read", || kernel.info("unread") == printed);
        gate.let_one_pass();
    }
    wait_until("everything is read", || kernel.info("unread") == 11);
}

#[test]
fn a_part_of_a_block_is_released_and_the_rest_comes_again() {
    let kernel = Kernel::start(&[]);
    printer(&kernel);
    let (mut one, block) = follow(&kernel, "0 %");
    assert!(block.contains(":4\none\n") && block.contains(":3\nthr"), "{block}");
    // A note alone answers nothing; the acknowledgement replaces it. Nine bytes are within the last record.
    one.send("%note before\n%ack 9 after%20all\n");
    wait_until("the first two records are released", || kernel.info("unread") == 3);
    // What was sent does not come again on this connection.
    drop(one);
    let (_two, block) = follow(&kernel, "8 after%20all");
    assert!(block.contains("thr") && !block.contains("two"), "{block}");
    let row = kernel.client().ask("%list processes p");
    assert!(row.contains(" note=after%20all "), "{row}");
    let row = kernel.client().ask("list processes p");
    assert!(!row.contains("note"), "a classic client does not see it: {row}");
}

#[test]
fn a_note_that_was_sent_before_the_end_of_its_sender_counts() {
    let kernel = Kernel::start(&[]);
    printer(&kernel);
    for round in 0..200 {
        let note = if round == 0 { "%".to_owned() } else { (round - 1).to_string() };
        let (mut client, _) = follow(&kernel, &format!("0 {note}"));
        client.send(format!("%note {round}\n"));
        drop(client);
    }
    assert_eq!(kernel.info("unread"), 11, "nothing was released");
}

#[test]
fn what_is_evicted_is_missing_for_whoever_follows_next() {
    let kernel = Kernel::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let gate = Gate::at(directory.path().join("go"));
    let wait = gate.wait();
    let script = format!("echo one; {wait}; seq 1000 1999; {wait}; seq 2000 2999; exec sleep 100");
    let path = "env.PATH=/usr/bin:/bin";
    let process = format!("bufsize=1000 {path} /bin/sh -c {}", exact(&script));
    kernel.client().ask(&format!("%make process p {process}"));
    wait_until("the first line is read", || kernel.info("unread") == 4);
    let read = |kernel: &Kernel| kernel.info("unread") + kernel.info("dropped");
    // One follows and does not answer.
    let (one, _) = follow(&kernel, "0 %");
    gate.let_one_pass();
    wait_until("more is read than can be held", || read(&kernel) == 5004);
    drop(one);
    let (mut two, block) = follow(&kernel, "0 %");
    let first = |block: &str| {
        let number = block.lines().next().unwrap().strip_prefix("dropped:p:").unwrap();
        number.rsplit_once(':').unwrap().1.parse::<u64>().unwrap()
    };
    let missing = 5004 - kernel.info("unread");
    assert_eq!(first(&block), missing);
    // This one answers when what it was sent has been evicted, too.
    gate.let_one_pass();
    wait_until("the rest is read", || read(&kernel) == 10_004);
    two.send("%ack 5004 %\n");
    two.block();
    drop(two);
    let (_three, block) = follow(&kernel, "5004 %");
    assert_eq!(first(&block), 5000 - kernel.info("unread"));
}

#[test]
fn what_is_no_answer_ends_the_stream_and_releases_nothing() {
    let kernel = Kernel::start(&[]);
    printer(&kernel);
    let long = format!("%note {}", "x".repeat(5000));
    for line in ["%ack x y", "%ack 3", "%release", long.as_str()] {
        let (mut client, _) = follow(&kernel, "0 %");
        client.send(format!("{line}\n"));
        assert!(client.read_to("> ").starts_with("Error: "), "{line}");
        assert_eq!(client.ask("get x"), "", "it goes on with commands");
    }
    assert_eq!(kernel.info("unread"), 11);
}

#[test]
fn notes_are_kept_changed_and_cleared_by_command() {
    let kernel = Kernel::start(&[]);
    let mut client = kernel.client();
    client.ask("%make process p note=a%0Ab sleep 100");
    assert!(client.ask("%list processes p").contains(" note=a%0Ab "));
    // The same process with another note is the same process.
    assert!(client.ask("%make process p note=c sleep 100").contains(" note=a%0Ab "));
    assert_eq!(client.ask("%note p d"), "");
    assert!(client.ask("%list processes p").contains(" note=d "));
    assert_eq!(client.ask("%note p"), "");
    assert!(!client.ask("%list processes p").contains("note"));
    assert_eq!(client.ask("%note q d"), "Error: q not found");
    assert_eq!(client.ask("%follow q"), "Error: q not found");
    assert_eq!(client.ask("note p d"), "Error: Unknown command \"note\"");
    assert!(client.ask("make process r note=x true").starts_with("Error: Unknown option"));
}
