//! Operations: what is asked of the watcher, as an input of its machine.

use super::super::handle::{Ended, Operation};
use super::super::intent::Runs;
use super::super::vocabulary::{Changes, Input, Renewal, Token};
use super::Task;
use crate::arbiter::gate::Permit;
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
                let desired = i64::from(self.state.desired()).saturating_add(change).max(0);
                Input::Resize(token, u32::try_from(desired).unwrap_or(u32::MAX))
            }
        })
    }
}
