//! Operations: what is asked of the watcher, as an input of its machine.

use super::super::handle::{Ended, Operation};
use super::super::intent::Runs;
use super::super::vocabulary::{Changes, Input, Renewal, Token};
use super::Task;
use crate::arbiter::gate::Permit;
use crate::config::model::MOST_PROCESSES;
use tokio::sync::oneshot;

impl Task {
    /// Begins an operation, and says so when it is noted.
    pub(super) fn operate(
        &mut self,
        operation: Operation,
        permit: Option<Permit>,
        begun: oneshot::Sender<Ended>,
    ) {
        let (reply, ended) = oneshot::channel();
        // Without a permit it is part of something bigger, and what the operator wants is known already.
        if permit.is_some() {
            self.keeping.runs = match operation {
                Operation::Start | Operation::Restart | Operation::Reload { .. } => Runs::Yes,
                Operation::Stop => Runs::No,
                Operation::Pause
                | Operation::Unpause
                | Operation::Resume
                | Operation::Resize(_) => self.keeping.runs,
            };
        }
        let was_paused = self.paused;
        self.paused = match operation {
            // One that the operator has stopped stays with him.
            Operation::Pause => self.keeping.runs != Runs::No,
            Operation::Resume | Operation::Resize(_) => was_paused,
            _ => false,
        };
        let token = self.expect(permit, reply);
        if operation == Operation::Unpause && !was_paused {
            self.answer(token, Changes::default());
            return self.say_when_noted(begun, ended);
        }
        if let Some(input) = self.input_for(operation, token) {
            self.feed(input);
        }
        self.say_when_noted(begun, ended);
    }

    fn input_for(&mut self, operation: Operation, token: Token) -> Option<Input> {
        Some(match operation {
            Operation::Start | Operation::Unpause => {
                self.arm();
                Input::Start(token)
            }
            Operation::Resume => {
                self.arm();
                Input::Resume(token)
            }
            Operation::Stop | Operation::Pause => {
                self.disarm();
                self.hooking.hurry(self.state.rules().graceful_timeout);
                Input::Stop(token)
            }
            Operation::Reload { graceful: false, .. } => Input::Restart(token),
            Operation::Reload { .. } if self.reloads_by_signal() => {
                let kept = self.hang_up();
                self.answer(token, Changes { kept, ..Changes::default() });
                return None;
            }
            Operation::Reload { sequential: true, .. } => Input::Reload(token, Renewal::OneByOne),
            Operation::Reload { .. } => Input::Reload(token, Renewal::Overlap),
            Operation::Restart => Input::Restart(token),
            Operation::Resize(change) => {
                Input::Resize(token, resized(self.state.desired(), change))
            }
        })
    }
}

/// So many processes more, or fewer.
fn resized(desired: u32, change: i64) -> u32 {
    let most = i64::from(MOST_PROCESSES);
    let wanted = i64::from(desired).saturating_add(change).clamp(0, most);
    u32::try_from(wanted).unwrap_or(MOST_PROCESSES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stays_among_those_that_linux_has_pids_for() {
        assert_eq!((resized(2, 3), resized(2, -3), resized(2, i64::MIN)), (5, 0, 0));
        assert_eq!(resized(2, 99_999_999_999), MOST_PROCESSES);
        assert_eq!(resized(MOST_PROCESSES, i64::MAX), MOST_PROCESSES);
    }
}
