//! Signals: those that the machine asks for, those of reloads, and those of the `signal` command.

use super::super::handle::{SignalError, SignalScope};
use super::super::signalling;
use super::super::vocabulary::Status;
use super::super::wid::Wid;
use super::Task;
use crate::hook::call::HookCall;
use crate::hook::outcome::Outcome;
use crate::hook::point::HookPoint;
use crate::process::tree;
use papa_spawn::child::PidFd;
use protocol::circus::event::EventKind;
use protocol::signal::Signal;
use std::sync::Arc;
use tokio::sync::oneshot;
use tracing::warn;

impl Task {
    pub(super) fn reloads_by_signal(&self) -> bool {
        self.config.send_hup && self.state.status() == Status::Active
    }

    /// Sends SIGHUP to every process and returns their pids, in ascending order.
    pub(super) fn hang_up(&mut self) -> Vec<i32> {
        let mut pids = Vec::new();
        for (wid, _) in self.state.processes() {
            if let Some((pid, pidfd)) = self.target(wid) {
                self.signal_all(pid, &pidfd, &[], Signal::HUP);
                pids.push(pid);
            }
        }
        pids.sort_unstable();
        self.publish(EventKind::Reload);
        pids
    }

    pub(super) fn ask_to_end(&self, wid: Wid, signal: Signal) {
        let Some((pid, pidfd)) = self.target(wid) else { return };
        // The children are looked up before their parent can be gone.
        let below = if self.config.stop_children { tree::children_of(pid) } else { Vec::new() };
        self.signal_all(pid, &pidfd, &below, signal);
    }

    pub(super) fn kill_tree(&self, wid: Wid) {
        let Some((pid, pidfd)) = self.target(wid) else { return };
        self.signal_all(pid, &pidfd, &tree::descendants_of(pid), Signal::KILL);
    }

    /// Signals a process and those below it, with a `kill` event for each of the latter.
    pub(super) fn signal_all(&self, pid: i32, pidfd: &PidFd, below: &[i32], signal: Signal) {
        match signalling::send_to_tree(pid, pidfd, below, signal) {
            Ok(reached) => {
                for pid in reached {
                    self.publish(EventKind::Kill { pid });
                }
            }
            Err(error) => {
                warn!("cannot send {signal} to a process of {}: {error}", self.identity.name);
            }
        }
    }

    pub(super) fn target(&self, wid: Wid) -> Option<(i32, Arc<PidFd>)> {
        let worker = self.workers.get(&wid)?;
        Some((worker.pid, worker.pidfd.clone()?))
    }

    /// Sends a signal as the `signal` command asks for. With hooks it is sent beside the loop: a hook may
    /// itself send signals, and the loop may be waiting for one.
    pub(super) fn signal(
        &mut self,
        signal: Signal,
        scope: SignalScope,
        reply: oneshot::Sender<Result<(), SignalError>>,
    ) {
        let processes = self.state.processes();
        let targets: Vec<(i32, Arc<PidFd>)> =
            processes.into_iter().filter_map(|(wid, _)| self.target(wid)).collect();
        let hooked = [HookPoint::BeforeSignal, HookPoint::AfterSignal];
        let hooked = hooked.into_iter().any(|point| self.state.rules().hooks.contains(point));
        // Hooks are about the processes of the watcher, not about their children.
        if !hooked || scope.children || scope.child.is_some() {
            // The asker may have gone.
            let _ = reply.send(signalling::send(&targets, signal, scope));
            return;
        }
        let asker = self.asker();
        self.hooking.beside(async move {
            let mut sent = Err(SignalError::NoProcess(scope.pid.unwrap_or_default()));
            if scope.pid.is_none() {
                sent = Ok(());
            }
            for (pid, pidfd) in targets {
                if scope.pid.is_some_and(|only| only != pid) {
                    continue;
                }
                let answer = asker.ask(HookCall::BeforeSignal { pid, signal }).await;
                sent = match answer.outcome {
                    Outcome::Returned(false) if signal != Signal::KILL => Ok(()),
                    Outcome::Returned(_) | Outcome::Failed { .. } => {
                        let only = SignalScope { pid: Some(pid), ..scope };
                        signalling::send(&[(pid, pidfd)], signal, only)
                    }
                };
                asker.ask(HookCall::AfterSignal { pid, signal }).await;
                if sent.is_err() {
                    break;
                }
            }
            // The asker may have gone.
            let _ = reply.send(sent);
        });
    }
}
