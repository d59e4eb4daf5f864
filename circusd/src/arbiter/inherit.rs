//! Carrying out the plan of `recovery`: watchers take over what runs, and what has no place is ended.

use super::builder::{Beginning, WatcherBuilder};
use super::recovery::Leftover;
use crate::watcher::handle::{Operation, Retirement, WatcherHandle};
use crate::watcher::intent::{Origin, Runs};
use std::collections::BTreeSet;
use tokio::task;
use tracing::warn;

/// Lets watchers with processes from before go on with them, whatever their order: nothing that runs has to
/// wait for its turn. Returns when they have begun.
pub(super) async fn take_over(watchers: &[WatcherHandle]) {
    for watcher in watchers.iter().filter(|watcher| watcher.identity().taken_over) {
        let to_run = watcher.identity().runs;
        let operation = if to_run { Operation::Resume } else { Operation::Stop };
        // A watcher that is gone has nothing left to go on with.
        let _ = watcher.begin(operation, None).await;
    }
}

/// Ends what has no place any more. Gives the keys of watchers that start by themselves as soon as their old
/// processes in the kernel have ended.
pub(super) fn end(
    builder: &WatcherBuilder,
    leftovers: Vec<Leftover>,
    watchers: &[WatcherHandle],
) -> BTreeSet<String> {
    let mut waiting = BTreeSet::new();
    for Leftover { config, origin, section, moved, rows } in leftovers {
        let (name, key) = (config.name.clone(), config.name.to_lowercase());
        let nostop = matches!(origin, Origin::Removed { nostop: true, .. });
        let beginning = Beginning {
            origin: Origin::Removed { section, nostop },
            file: config.clone(),
            runs: Runs::No,
            rows,
            stale: BTreeSet::new(),
        };
        let leaving = if moved { builder.without_notes() } else { builder.clone() };
        let leaving = match leaving.build(config, beginning) {
            Ok(leaving) => leaving,
            Err(error) => {
                warn!("the processes of {name} in papa are left alone: {error}");
                continue;
            }
        };
        let next = watchers.iter().find(|watcher| moved && watcher.identity().key == key).cloned();
        let next = next.filter(|watcher| watcher.identity().runs);
        if next.is_some() {
            waiting.insert(key);
        }
        task::spawn(async move {
            let how = if nostop { Retirement::Forgotten } else { Retirement::Removed };
            if let Ok(ended) = leaving.retire(how, None).await {
                // A dropped sender means that it has ended, too.
                let _ = ended.await;
            }
            if let Some(next) = next {
                let _ = next.begin(Operation::Start, None).await;
            }
        });
    }
    waiting
}
