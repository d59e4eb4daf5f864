//! Circus' documentation, "Circus as a library", with `background=True`: an arbiter in a tokio program, which
//! watches what happens, adds a watcher while it runs and stops everything when it is told to end.
//!
//! `cargo run --example in_tokio`, and Ctrl-C to end it. Two more arguments are endpoints in place of the usual
//! ones.
#![expect(clippy::print_stdout, reason = "it shows what happens")]

use circusd::{Arbiter, Event, Watcher};
use std::error::Error;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Signals belong to the program; this one takes them over before there is anything to stop.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;

    let mut builder = Arbiter::builder().watcher(
        Watcher::new("ticker", "sh -c 'while :; do date; sleep 1; done'")
            .copy_env(true)
            .numprocesses(2)
            .graceful_timeout(Duration::from_secs(3)),
    );
    let mut endpoints = std::env::args().skip(1);
    if let (Some(commands), Some(events)) = (endpoints.next(), endpoints.next()) {
        builder = builder.endpoint(commands).pubsub_endpoint(events).multicast_endpoint("");
    }
    let arbiter = builder.start().await?;
    let mut events = arbiter.events();

    arbiter.add_watcher(Watcher::new("sleeper", "sleep 30")).await?;
    for watcher in arbiter.watchers().await? {
        println!("{}: {}, {:?}", watcher.name, watcher.status, watcher.pids);
    }
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => show(&event),
                // A client has sent `quit`.
                None => break,
            },
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    arbiter.stop().await?;
    println!("all workers have ended");
    Ok(())
}

fn show(event: &Event) {
    match event.pid() {
        Some(pid) => println!("{} {} {pid}", event.watcher(), event.action()),
        None => println!("{} {}", event.watcher(), event.action()),
    }
}
