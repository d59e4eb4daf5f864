//! The task that reads /proc for `stats` and `dstats`, on the blocking pool, one request at a time.

use super::info::Processes;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::task;

/// Requests that may wait.
const QUEUE: usize = 64;

/// The info object of each process, in the order asked for; none where it is gone.
pub type Reading = Vec<Option<Map<String, Value>>>;

struct Ask {
    pids: Vec<i32>,
    with_children: bool,
    reply: oneshot::Sender<Reading>,
}

/// A handle on the task; clones share it.
#[derive(Clone)]
pub struct Sampler {
    asks: mpsc::Sender<Ask>,
}

impl Sampler {
    /// Starts the task.
    pub fn start() -> Self {
        let (asks, inbox) = mpsc::channel(QUEUE);
        task::spawn(run(inbox));
        Self { asks }
    }

    /// Reads these processes now.
    pub async fn read(&self, pids: Vec<i32>, with_children: bool) -> Reading {
        let count = pids.len();
        let (reply, answer) = oneshot::channel();
        if self.asks.send(Ask { pids, with_children, reply }).await.is_err() {
            return vec![None; count];
        }
        answer.await.unwrap_or_else(|_| vec![None; count])
    }
}

async fn run(mut inbox: mpsc::Receiver<Ask>) {
    let mut processes = Processes::default();
    while let Some(ask) = inbox.recv().await {
        let work = task::spawn_blocking(move || {
            let reading: Reading =
                ask.pids.iter().map(|pid| processes.info(*pid, ask.with_children)).collect();
            processes.forget_gone();
            (processes, reading)
        });
        match work.await {
            Ok((back, reading)) => {
                processes = back;
                // The asker may have given up.
                let _ = ask.reply.send(reading);
            }
            Err(_) => processes = Processes::default(),
        }
    }
}
