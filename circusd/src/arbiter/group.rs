//! Operations on several watchers at once. Each runs as a task of its own that holds the permit, so the
//! arbiter goes on answering.

use super::gate::Permit;
use super::handle::GroupOperation;
use crate::watcher::handle::{Operation, WatcherGone, WatcherHandle};
use crate::watcher::vocabulary::Status;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Carries out an operation on watchers in the order given. `Start` leaves those without autostart stopped,
/// and so does `Restart` if they were.
pub async fn carry_out(
    watchers: Vec<WatcherHandle>,
    operation: GroupOperation,
    pause: Duration,
    cancelled: CancellationToken,
    permit: Permit,
) {
    let to_start: Vec<WatcherHandle> =
        watchers.iter().filter(|watcher| watcher.identity().autostart).cloned().collect();
    match operation {
        GroupOperation::Start => start(to_start, pause, cancelled, permit).await,
        GroupOperation::Stop => stop(watchers, Some(permit)).await,
        GroupOperation::Reload { graceful, sequential } => {
            let operation = Operation::Reload { graceful, sequential };
            reload(watchers, operation, cancelled, permit).await;
        }
        GroupOperation::Restart => {
            let mut to_start = to_start;
            for watcher in watchers.iter().filter(|watcher| !watcher.identity().autostart) {
                if runs(watcher).await {
                    to_start.push(watcher.clone());
                }
            }
            super::order::by_priority(&mut to_start, |watcher| watcher.identity().priority);
            stop(watchers, None).await;
            start(to_start, pause, cancelled, permit).await;
        }
    }
}

/// Those that are not stopped, or wait for a connection.
pub(super) async fn which_run(
    watchers: &[WatcherHandle],
) -> Result<Vec<WatcherHandle>, WatcherGone> {
    let mut running = Vec::new();
    for watcher in watchers {
        let now = watcher.inspect().await?;
        if now.status != Status::Stopped || now.waits_for_demand {
            running.push(watcher.clone());
        }
    }
    Ok(running)
}

/// Notes which watchers are to run when the operation has ended, so that a circusd that begins in the middle
/// of it knows.
pub(super) async fn intend(watchers: &[WatcherHandle], operation: GroupOperation) {
    let mut noting = JoinSet::new();
    for watcher in watchers {
        let runs = match operation {
            GroupOperation::Start if watcher.identity().autostart => true,
            GroupOperation::Restart => watcher.identity().autostart,
            GroupOperation::Stop => false,
            GroupOperation::Start | GroupOperation::Reload { .. } => continue,
        };
        let watcher = watcher.clone();
        noting.spawn(async move {
            // A watcher that is gone has nothing to run.
            let _ = watcher.intend(runs).await;
        });
    }
    while noting.join_next().await.is_some() {}
}

/// Starts watchers one after the other in the order given, with a pause after each. A watcher that has been
/// started is free for other operations. Ends early when cancelled, which is when the daemon shuts down.
pub async fn start(
    watchers: Vec<WatcherHandle>,
    pause: Duration,
    cancelled: CancellationToken,
    mut permit: Permit,
) {
    for watcher in watchers {
        let part = permit.part(&watcher.identity().key);
        let started = tokio::select! {
            () = cancelled.cancelled() => return,
            started = watcher.operate(Operation::Start, part) => started,
        };
        if started.is_err() {
            return;
        }
        if !pause.is_zero() {
            tokio::select! {
                () = cancelled.cancelled() => return,
                () = time::sleep(pause) => {}
            }
        }
    }
    drop(permit);
}

async fn runs(watcher: &WatcherHandle) -> bool {
    watcher.inspect().await.is_ok_and(|seen| seen.status != Status::Stopped)
}

/// Reloads watchers, each finished before the next; those that are stopped stay so. Ends early when cancelled.
async fn reload(
    watchers: Vec<WatcherHandle>,
    operation: Operation,
    cancelled: CancellationToken,
    permit: Permit,
) {
    for watcher in watchers {
        let one = async {
            // A watcher that is gone has nothing left to do.
            if runs(&watcher).await {
                let _ = watcher.operate(operation, None).await;
            }
        };
        tokio::select! {
            () = cancelled.cancelled() => break,
            () = one => {}
        }
    }
    drop(permit);
}

/// Stops watchers, all at once.
pub async fn stop(watchers: Vec<WatcherHandle>, permit: Option<Permit>) {
    let mut stopping = JoinSet::new();
    for watcher in watchers {
        stopping.spawn(async move {
            // A watcher that is gone has nothing left to stop.
            let _ = watcher.operate(Operation::Stop, None).await;
        });
    }
    while stopping.join_next().await.is_some() {}
    drop(permit);
}

/// Ends the watchers for a shutdown: hosted processes are left to the kernel, children are stopped. The
/// end of each watcher is awaited and logged if it takes long.
pub async fn shut_down(watchers: Vec<WatcherHandle>) {
    let mut ending = JoinSet::new();
    for watcher in watchers {
        ending.spawn(async move {
            let ended = async {
                if watcher.identity().use_papa {
                    let _ = watcher.detach().await;
                } else {
                    let _ = watcher.operate(Operation::Stop, None).await;
                }
            };
            let name = &watcher.identity().name;
            tokio::pin!(ended);
            if time::timeout(Duration::from_secs(5), &mut ended).await.is_err() {
                info!("waiting for the processes of {name} to end");
                ended.await;
            }
        });
    }
    while ending.join_next().await.is_some() {}
}
