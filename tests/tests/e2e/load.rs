//! Clients that ask a web server again and again while a test does something to it.

use super::http;
use circus_e2e::waiting::eventually;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

/// Clients of a server whose answers are the pid of the process that gives them. Dropping it ends them.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    clients: Vec<JoinHandle<()>>,
}

/// What the clients have seen.
#[derive(Default)]
struct Seen {
    /// How often each process has answered.
    answers: BTreeMap<i32, usize>,
    failures: Vec<io::Error>,
}

impl Load {
    /// So many clients of this port.
    pub(crate) fn on(port: u16, clients: usize) -> Self {
        let (over, seen) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Seen>>::default());
        let client = || {
            let (over, seen) = (Arc::clone(&over), Arc::clone(&seen));
            move || {
                while !over.load(Ordering::Relaxed) {
                    let answer = pid(port);
                    let mut seen = seen.lock().expect("no client panics");
                    match answer {
                        Ok(pid) => *seen.answers.entry(pid).or_default() += 1,
                        Err(error) => seen.failures.push(error),
                    }
                }
            }
        };
        let clients = (0..clients).map(|_| thread::spawn(client())).collect();
        Self { over, seen, clients }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no client panics")
    }

    /// Whether all of these have answered.
    pub(crate) fn is_answered_by(&self, pids: &[i32]) -> bool {
        let seen = self.seen();
        pids.iter().all(|pid| seen.answers.contains_key(pid))
    }

    /// Waits for so many answers from now on, or for a failure.
    pub(crate) fn wait_for_answers(&self, count: usize) {
        let answers = |seen: &Seen| seen.answers.values().sum::<usize>();
        let before = answers(&self.seen());
        eventually("requests are answered", || {
            let seen = self.seen();
            (answers(&seen) >= before + count || !seen.failures.is_empty()).then_some(())
        });
    }

    /// Ends it; nobody may have failed.
    pub(crate) fn end(self) {
        let failures = self.failures();
        assert!(failures.is_empty(), "{failures:?}");
    }

    /// Ends it and gives what has failed.
    pub(crate) fn failures(mut self) -> Vec<io::Error> {
        self.over.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().expect("a client");
        }
        std::mem::take(&mut self.seen().failures)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Asks who answers.
fn pid(port: u16) -> io::Result<i32> {
    let body = http::get(port)?;
    body.trim().parse().map_err(|_| io::Error::other(format!("{body:?}")))
}
