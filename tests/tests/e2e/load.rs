//! Clients that ask a web server again and again while a test does something to it.

use super::http;
use circus_e2e::PATIENCE;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

/// Clients of a server whose answers are the pid of the process that gives them. Dropping it ends them.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

/// What all clients have in common.
#[derive(Default)]
struct Shared {
    over: AtomicBool,
    seen: Mutex<Seen>,
    /// Something was seen.
    news: Condvar,
}

/// What the clients have seen.
#[derive(Default)]
struct Seen {
    /// How often each process has answered.
    answers: BTreeMap<i32, usize>,
    failures: Vec<io::Error>,
}

impl Seen {
    fn count(&self) -> usize {
        self.answers.values().sum()
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no client panics")
    }

    /// Asks until it is over.
    fn ask(&self, port: u16) {
        while !self.over.load(Ordering::Relaxed) {
            let answer = pid(port);
            let mut seen = self.seen();
            match answer {
                Ok(pid) => *seen.answers.entry(pid).or_default() += 1,
                Err(error) => seen.failures.push(error),
            }
            self.news.notify_all();
        }
    }
}

impl Load {
    /// So many clients of this port.
    pub(crate) fn on(port: u16, clients: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let client = |_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.ask(port))
        };
        let clients = (0..clients).map(client).collect();
        Self { shared, clients }
    }

    /// Waits for so many answers from now on, or for a failure.
    pub(crate) fn wait_for_answers(&self, count: usize) {
        let before = self.shared.seen().count();
        self.wait_until("requests are answered", |seen| seen.count() >= before + count);
    }

    /// Waits until all of these have answered, or for a failure.
    pub(crate) fn wait_for_answers_of(&self, pids: &[i32]) {
        self.wait_until(&format!("{pids:?} answer"), |seen| {
            pids.iter().all(|pid| seen.answers.contains_key(pid))
        });
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&Seen) -> bool) {
        let waits = |seen: &mut Seen| !is_so(seen) && seen.failures.is_empty();
        let waited = self.shared.news.wait_timeout_while(self.shared.seen(), PATIENCE, waits);
        assert!(!waited.expect("no client panics").1.timed_out(), "not in time: {what}");
    }

    /// Ends it; nobody may have failed.
    pub(crate) fn end(self) {
        let failures = self.failures();
        assert!(failures.is_empty(), "{failures:?}");
    }

    /// Ends it and gives what has failed.
    pub(crate) fn failures(mut self) -> Vec<io::Error> {
        self.shared.over.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().expect("a client");
        }
        std::mem::take(&mut self.shared.seen().failures)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

/// Asks who answers.
fn pid(port: u16) -> io::Result<i32> {
    let body = http::get(port)?;
    body.trim().parse().map_err(|_| io::Error::other(format!("{body:?}")))
}
