//! An arbiter that cannot be had says why, and leaves nothing behind.

use crate::arbiter_in;
use circusd::{ArbiterError, Socket, Watcher, block_on};
use std::net::TcpListener;
use std::path::Path;

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).expect("readable").next().is_none()
}

#[test]
fn wrong_options_are_all_named_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = arbiter_in(folder.path())
        .option("check_delay", "soon")
        .watcher(Watcher::new("web", "x").option("shell", "perhaps").stop_signal("FOO"))
        .start();
    let Err(ArbiterError::Options(errors)) = block_on(wrong) else { panic!("refused") };
    let starts =
        ["[circus] check_delay = soon: not a number", "[watcher:web] shell = perhaps: not a"];
    for (sentence, start) in errors.sentences().iter().zip(starts) {
        assert!(sentence.starts_with(start), "{sentence}");
    }
    assert_eq!(errors.sentences().len(), 3, "{errors}");
    assert!(is_empty(folder.path()));
}

#[test]
fn a_log_file_that_cannot_be_opened_is_an_error_and_nothing_is_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("socket");
    let good = Watcher::new("good", "sleep 300");
    let bad = Watcher::new("bad", "sleep 300").stdout_file("/no/such/folder/log");
    let start = arbiter_in(folder.path())
        .socket(Socket::unix("s", &socket))
        .watcher(good)
        .watcher(bad)
        .start();
    let error = block_on(start).map(drop).expect_err("refused");
    assert_eq!(error.to_string(), "failed to create watcher bad");
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(cause.contains("/no/such/folder"), "{cause}");
    assert!(is_empty(folder.path()), "neither endpoints nor socket");
}

#[test]
fn a_place_that_is_taken_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = taken.local_addr().expect("an address").port();
    let endpoint = format!("tcp://127.0.0.1:{port}");
    let error = block_on(arbiter_in(folder.path()).endpoint(&endpoint).start()).map(drop);
    let text = error.expect_err("refused").to_string();
    assert!(
        text.starts_with(&format!("cannot listen on {endpoint} ([circus] endpoint): ")),
        "{text}"
    );
    let socket = Socket::tcp("web", "127.0.0.1", port);
    let error = block_on(arbiter_in(folder.path()).socket(socket).start()).map(drop);
    let text = error.expect_err("refused").to_string();
    assert!(text.contains("web") && text.contains(&port.to_string()), "{text}");
    assert!(is_empty(folder.path()));
}

#[test]
fn what_cannot_be_added_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    block_on(async {
        let arbiter = arbiter_in(folder.path()).start().await.expect("started");
        let wrong = arbiter.add_watcher(Watcher::new("a", "x").option("max_retry", "often")).await;
        let text = wrong.expect_err("refused").to_string();
        assert_eq!(text, "[watcher:a] max_retry = often: not a whole number");
        let nobody = arbiter.add_watcher(Watcher::new("a", "x").uid("nobody-of-this-name")).await;
        assert!(nobody.expect_err("refused").to_string().contains("nobody-of-this-name"));
        assert_eq!(arbiter.watchers().await, Ok(vec![]));
        arbiter.stop().await.expect("stopped");
    });
}
