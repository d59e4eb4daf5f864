//! What is told of a watcher to people who look for a cause. Changes nothing that the machine knows.

use super::super::handle::Explanation;
use super::super::history::{Exit, FailedStart};
use super::super::tally::{Cause, Counted};
use super::super::wid::Wid;
use super::{Task, Worker};
use crate::event_bus::epoch_seconds;
use crate::process::end::End;
use crate::stream::writer::Writer;
use protocol::circus::event::EventKind;
use std::time::Instant;
use tracing::{debug, info, warn};

/// Lines of a dead process that are remembered.
const LAST_LINES: usize = 5;

/// Characters of each of them.
const WIDTH: usize = 200;

impl Task {
    pub(super) fn explanation(&self) -> Explanation {
        Explanation {
            status: self.state.status(),
            desired: self.state.desired(),
            armed: self.armed,
            outlook: self.state.outlook(Instant::now()),
            history: self.history.clone(),
        }
    }

    /// What was counted so far.
    pub(super) fn counted(&self) -> Counted {
        let (output, dropped) = self.recent.totals();
        let writers = [&self.outputs.stdout, &self.outputs.stderr].into_iter().flatten();
        self.tally.counted(output, dropped + writers.map(Writer::lost).sum::<u64>())
    }

    /// Streams of direct processes that nobody configured: they inherit circusd's own.
    pub(super) fn unseen(&self) -> Vec<&'static str> {
        let config = &self.config;
        let inherited = |closed: bool, seen: bool| !config.use_papa && !closed && !seen;
        let mut unseen = Vec::new();
        if inherited(config.close_child_stdout, self.outputs.stdout.is_some()) {
            unseen.push("stdout");
        }
        if inherited(config.close_child_stderr, self.outputs.stderr.is_some()) {
            unseen.push("stderr");
        }
        unseen
    }

    /// Remembers the end of a process.
    pub(super) fn remember(&mut self, wid: Wid, end: End) {
        let Some(Worker { pid, started, .. }) = self.workers.get(&wid) else { return };
        let (pid, started) = (*pid, *started);
        let End::Exited(exit_code) = end else { return };
        self.tally.ended(wid, Cause::of(exit_code, self.state.has_asked(wid)));
        let lines = self.recent.last_lines(wid, pid, LAST_LINES, WIDTH);
        let time = epoch_seconds();
        self.history.note(Exit { wid, pid, started, time, exit_code, lines });
        let workers = &self.workers;
        self.recent.prune(|wid| workers.contains_key(&wid));
    }

    /// A process could not be started.
    pub(super) fn start_has_failed(&mut self, reason: String) {
        let name = &self.identity.name;
        match self.history.failing.again(&reason) {
            true => warn!("error in '{name}': {reason}"),
            false => debug!("error in '{name}' again: {reason}"),
        }
        self.remember_failure(reason);
    }

    /// A process was started.
    pub(super) fn start_has_succeeded(&mut self) {
        let failed = self.history.failing.over();
        if failed > 1 {
            info!("'{}' can be started again, after {failed} attempts in vain", self.identity.name);
        }
    }

    /// Publishes what the machine has done. A watcher that has stopped tries nothing any more.
    pub(super) fn tell(&mut self, kind: EventKind) {
        let failed = if kind == EventKind::Stop { self.history.failing.over() } else { 0 };
        if failed > 1 {
            warn!("'{}' could not be started in {failed} attempts", self.identity.name);
        }
        self.publish(kind);
    }

    /// Remembers a start that failed.
    pub(super) fn remember_failure(&mut self, reason: String) {
        self.history.failed_start = Some(FailedStart { time: epoch_seconds(), reason });
    }
}
