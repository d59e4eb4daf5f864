//! What a program can do with its arbiter.

use crate::{arbiter_in, ask};
use circusd::{CommandError, Socket, Status, Watcher, block_on};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

fn properties(value: Value) -> serde_json::Map<String, Value> {
    value.as_object().cloned().expect("an object")
}

#[test]
fn watchers_are_added_changed_and_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    block_on(async {
        let arbiter = arbiter_in(folder.path())
            .watcher(Watcher::new("first", "sleep 300").priority(-1))
            .start()
            .await
            .expect("started");
        let late = Watcher::new("Late", "sleep 300").numprocesses(2).option("a_free_key", "x");
        arbiter.add_watcher(late.clone()).await.expect("added");
        let names = arbiter.watchers().await.expect("watchers");
        let names: Vec<&str> = names.iter().map(|watcher| watcher.name.as_str()).collect();
        assert_eq!(names, ["Late", "first"], "by priority");
        let seen = arbiter.watcher("late").await.expect("found in any case");
        assert_eq!((seen.status, seen.pids.len()), (Status::Active, 2));
        let again = arbiter.add_watcher(late).await.expect_err("it is there");
        assert_eq!(again.to_string(), "'Late' already exist");

        assert_eq!(arbiter.incr("late", 2).await, Ok(4));
        assert_eq!(arbiter.decr("late", 1).await, Ok(3));
        arbiter.stop_watcher("late").await.expect("stopped");
        let stopped = arbiter.watcher("late").await.expect("there");
        assert_eq!((stopped.status, stopped.pids), (Status::Stopped, vec![]));
        arbiter.start_watcher("late").await.expect("started");
        let before = arbiter.watcher("late").await.expect("there").pids;
        assert_eq!(before.len(), 3);
        arbiter.restart_watcher("late").await.expect("restarted");
        let between = arbiter.watcher("late").await.expect("there").pids;
        arbiter.reload_watcher("late").await.expect("reloaded");
        let after = arbiter.watcher("late").await.expect("there").pids;
        for pids in [&between, &after] {
            assert!(pids.len() == 3 && !pids.iter().any(|pid| before.contains(pid)), "{pids:?}");
        }
        let set = json!({"name": "late", "options": {"max_age": 70}, "waiting": true});
        arbiter.command("set", properties(set)).await.expect("set");
        let get = json!({"name": "late", "keys": ["max_age", "a_free_key"]});
        let got = arbiter.command("get", properties(get)).await.expect("got");
        assert_eq!(got["options"], json!({"max_age": 70, "a_free_key": "x"}));
        arbiter.remove_watcher("late").await.expect("removed");
        let gone = arbiter.watcher("late").await.expect_err("gone");
        assert_eq!(gone.to_string(), "program late not found");
        assert!(matches!(gone, CommandError::Refused { errno: 3, .. }), "{gone:?}");
        arbiter.stop().await.expect("stopped");
    });
}

#[test]
fn a_watcher_that_is_added_uses_the_sockets_of_the_arbiter() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("serve.py");
    let text = "import os, socket, sys\ns = socket.socket(fileno=int(sys.argv[1]))\n\
        os.set_blocking(s.fileno(), True)\nc, _ = s.accept()\nc.sendall(os.environ['WORD'].encode())\n";
    std::fs::write(&script, text).expect("written");
    block_on(async {
        let arbiter = arbiter_in(folder.path())
            .socket(Socket::tcp("web", "127.0.0.1", 0))
            .env("WORD", "of the arbiter")
            .start()
            .await
            .expect("started");
        let python = format!("python3 {} $(circus.sockets.web)", script.display());
        let watcher = Watcher::new("web", python).use_sockets(true).env("PATH", "$PATH");
        arbiter.add_watcher(watcher).await.expect("added");
        let sockets = arbiter.command("listsockets", properties(json!({}))).await.expect("sockets");
        let port = sockets["sockets"][0]["port"].as_u64().expect("a port");
        let port = u16::try_from(port).expect("a port");
        let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        connection.flush().expect("flushed");
        let mut said = String::new();
        connection.read_to_string(&mut said).expect("read");
        assert_eq!(said, "of the arbiter");
        arbiter.stop().await.expect("stopped");
    });
}

#[test]
fn what_needs_a_file_or_another_program_is_refused_and_restart_restarts_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let sleeper = Watcher::new("sleeper", "sleep 300");
    let arbiter = block_on(arbiter_in(folder.path()).watcher(sleeper).start()).expect("started");
    let endpoint = arbiter.endpoint();
    let reply = ask(endpoint, "reloadconfig", &json!({"waiting": true}));
    let sentence = "there is no configuration file to reload: a program has set this arbiter up";
    assert_eq!(reply["reason"], sentence);
    let reply = ask(endpoint, "upgrade", &json!({"restart_direct": true}));
    let sentence = "not upgraded: this arbiter is a part of another program";
    assert_eq!(reply["reason"], sentence);
    let pids = || block_on(arbiter.watcher("sleeper")).expect("there").pids;
    let before = pids();
    assert_eq!(ask(endpoint, "restart", &json!({"waiting": true}))["status"], "ok");
    assert!(pids().len() == 1 && pids() != before);
    block_on(arbiter.stop()).expect("stopped");
}
