//! The processes of a watcher from their start, or their adoption, to their end.

use super::{FOREVER, Task, Worker};
use crate::config::model::WatcherConfig;
use crate::event_bus::epoch_seconds;
use crate::papa::journal::Noted;
use crate::process::end::End;
use crate::watcher::launch::{LaunchError, Launched};
use crate::watcher::vocabulary::Input;
use crate::watcher::wid::Wid;
use std::time::Duration;
use tracing::info;

impl Task {
    pub(super) fn adopt(&mut self, process: Launched) {
        let (wid, pid, running) = (process.wid(), process.pid(), process.running());
        let age = Duration::try_from_secs_f64((epoch_seconds() - process.started()).max(0.0));
        let lifetime = lifetime(&self.config);
        let lifetime = lifetime.map(|all| all.saturating_sub(age.unwrap_or_default()));
        self.follow(process, Noted::already());
        self.feed(Input::Adopted { wid, pid, running, lifetime });
    }

    /// Follows a process to its end, beside this task, once it is noted.
    fn follow(&mut self, process: Launched, noted: Noted) {
        let wid = process.wid();
        let worker = Worker {
            pid: process.pid(),
            started: process.started(),
            pidfd: process.pidfd(),
            ended_before: !process.running(),
        };
        self.workers.insert(wid, worker);
        let (mut outputs, detach) = (self.outputs.clone(), self.detach.clone());
        outputs.recorder = Some(self.recent.recorder(wid, process.pid()));
        let turnstile = self.launcher.turnstile.clone();
        self.ends.spawn(async move {
            noted.wait().await;
            (wid, process.supervise(outputs, detach, turnstile).await)
        });
    }

    pub(super) fn launched(&mut self, wid: Wid, result: Result<Launched, LaunchError>) -> Input {
        match result {
            Ok(process) => {
                let pid = process.pid();
                self.tally.spawned(wid);
                let noted = self.note_spawn();
                self.follow(process, noted);
                self.is_fresh(wid);
                self.start_has_succeeded();
                Input::Spawned { wid, pid, lifetime: lifetime(&self.config) }
            }
            Err(error) => {
                self.start_has_failed(error.to_string());
                Input::SpawnFailed { wid, transient: error.is_transient() }
            }
        }
    }

    pub(super) fn ended(&mut self, wid: Wid, end: End) -> Option<Input> {
        self.remember(wid, end);
        if let Some(worker) = self.workers.get(&wid) {
            // Subscribers to events have hardly come back yet.
            if let (true, End::Exited(exit_code)) = (worker.ended_before, end) {
                let (name, code) = (&self.identity.name, exit_code.unwrap_or_default());
                let pid = worker.pid;
                info!("process {pid} of {name} ended while circusd was away, exit code {code}");
            }
        }
        if matches!(end, End::Exited(_)) {
            self.is_fresh(wid);
        }
        // It stays in the table until its hooks know, but gets no signals any more.
        if let Some(worker) = self.workers.get_mut(&wid) {
            worker.pidfd = None;
        }
        for dying in &mut self.dying {
            dying.wids.remove(&wid);
        }
        for dead in self.dying.extract_if(.., |dying| dying.wids.is_empty()) {
            // The asker may have gone.
            let _ = dead.reply.send(());
        }
        match end {
            End::Exited(exit_code) => Some(Input::Exited { wid, exit_code }),
            End::Detached => {
                self.workers.remove(&wid);
                None
            }
        }
    }
}

/// How long a new process may live: `max_age`, and up to `max_age_variance` more so that the processes of a
/// watcher do not all end together.
fn lifetime(config: &WatcherConfig) -> Option<Duration> {
    let age = u64::try_from(config.max_age).ok().filter(|age| *age > 0)?;
    let variance = fastrand::u64(0..=u64::try_from(config.max_age_variance).unwrap_or(0));
    Some(Duration::from_secs(age.saturating_add(variance)).min(FOREVER))
}
