//! Noting in the kernel what has to outlive this circusd: when it changes, and before whoever asked for the
//! change is answered.

use super::super::handle::Ended;
use super::super::intent::{self, Runs};
use super::super::setting::SettingError;
use super::super::wid::Wid;
use super::Task;
use crate::config::model::WatcherConfig;
use crate::papa::journal::Noted;
use tokio::sync::oneshot::Sender;
use tokio::task;

impl Task {
    /// Notes what holds now.
    pub(super) fn note(&self) -> Noted {
        self.keeping.note(&self.config, self.state.desired())
    }

    /// Tells that an operation has begun once it is noted.
    pub(super) fn say_when_noted(&self, begun: Sender<Ended>, ended: Ended) {
        let noted = self.note();
        task::spawn(async move {
            noted.wait().await;
            // The asker may have gone.
            let _ = begun.send(ended);
        });
    }

    /// Answers a `set` once what it changed is noted.
    pub(super) fn answer_when_noted(
        &self,
        begun: Sender<Result<Ended, SettingError>>,
        answer: Result<Ended, SettingError>,
    ) {
        let noted = self.note();
        task::spawn(async move {
            noted.wait().await;
            // The asker may have gone.
            let _ = begun.send(answer);
        });
    }

    /// The configuration is about to change: processes that it would start otherwise are stale.
    pub(super) fn redefine(&mut self, next: &WatcherConfig) {
        if intent::definition(&self.config) != intent::definition(next) {
            self.keeping.stale = self.workers.keys().copied().collect();
        }
    }

    /// The process of this slot is a new one, or gone.
    pub(super) fn is_fresh(&mut self, wid: Wid) {
        if self.keeping.stale.remove(&wid) {
            // Nobody waits for it: a note too old only means a reload too many.
            drop(self.note());
        }
    }

    /// A process of this slot has been started. What a watcher that does not respawn has begun must not be
    /// begun again by the next circusd; until that is noted, the end of the process is not acknowledged.
    pub(super) fn note_spawn(&mut self) -> Noted {
        let once = self.config.use_papa && !self.config.respawn && !self.config.on_demand;
        if !once || self.keeping.runs != Runs::Yes {
            return Noted::already();
        }
        self.keeping.runs = Runs::Begun;
        self.note()
    }
}
