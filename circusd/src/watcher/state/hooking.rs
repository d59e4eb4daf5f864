//! Hooks in the machine: a transition is a list of steps, and a hook may stop it at each.
//!
//! What follows a hook is named by [`Then`] and done when the answer is there, before the rest of the
//! list. Without a hook at that point it is done at once, as if the answer were yes.

use super::super::vocabulary::{Action, Input, Status};
use super::super::wid::Wid;
use super::super::worker::Fate;
use super::State;
use crate::hook::call::HookCall;
use crate::hook::outcome::Outcome;
use crate::hook::point::HookPoint;
use protocol::circus::event::EventKind;
use protocol::signal::Signal;
use std::mem;
use std::time::Instant;

/// One step of a transition.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Act(Action),
    Hook(HookCall, Then),
    Go(Then),
}

/// A hook that runs, and what it decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Asked {
    point: HookPoint,
    then: Then,
}

/// What is done after a hook.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Then {
    /// The answer does not matter.
    Nothing,
    /// Go on with the start; otherwise stay stopped.
    Loaded,
    /// Begin to spawn; otherwise stay stopped.
    Start,
    /// Spawn for this slot; otherwise give up.
    Spawn(Wid),
    /// The new process of this slot is one of ours; otherwise it goes, and the watcher stops.
    Spawned(Wid),
    /// The same for a process of an earlier circusd.
    Adopt(Wid),
    /// The watcher is active; otherwise it stops.
    Started,
    /// Ask every process to end.
    AskAll,
    /// Send the signal that asks; not sent otherwise.
    Deliver { wid: Wid, signal: Signal },
    /// Send SIGKILL, whatever the answer.
    Insist(Wid),
    /// Take the process out of the table.
    Reap { wid: Wid, exit_code: Option<i32> },
    /// The watcher has stopped.
    Stopped,
}

impl State {
    pub(super) fn act(&mut self, action: Action) {
        self.agenda.push_back(Step::Act(action));
    }

    pub(super) fn hook(&mut self, call: HookCall, then: Then) {
        self.agenda.push_back(Step::Hook(call, then));
    }

    pub(super) fn go(&mut self, then: Then) {
        self.agenda.push_back(Step::Go(then));
    }

    /// Keeps what happens while a hook runs. What would only say the same again is dropped, so the backlog
    /// is bounded by the number of processes and of operations, which the gate lets in one at a time.
    pub(super) fn postpone(&mut self, input: Input) {
        let known = |other: &Input| match (&input, other) {
            (Input::Kill { wid, .. }, Input::Kill { wid: other, .. }) => wid == other,
            _ => *other == input,
        };
        match &input {
            Input::Tick | Input::Demand => {}
            _ if self.backlog.iter().any(known) => {}
            _ => self.backlog.push_back(input),
        }
    }

    /// The hook that runs.
    pub(super) fn asked_hook(&self) -> Option<&'static str> {
        self.asked.as_ref().map(|asked| asked.point.as_str())
    }

    /// Goes on until a hook has to be asked or nothing is left to do.
    pub(super) fn advance(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while self.asked.is_none() {
            match self.agenda.pop_front() {
                Some(Step::Act(action)) => actions.push(action),
                Some(Step::Hook(call, then)) if self.rules.hooks.contains(call.point()) => {
                    self.asked = Some(Asked { point: call.point(), then });
                    actions.push(Action::RunHook(call));
                }
                Some(Step::Hook(_, then) | Step::Go(then)) => self.first(now, then, true),
                None => {
                    self.settle(now);
                    if self.agenda.is_empty() {
                        let Some(input) = self.backlog.pop_front() else { return };
                        self.take(now, input);
                    }
                }
            }
        }
    }

    /// Takes the answer of a hook.
    pub(super) fn hook_done(&mut self, now: Instant, asked: Asked, outcome: Outcome) {
        let Asked { point, then } = asked;
        let name = point.as_str().to_owned();
        let yes = self.is_yes(asked, &outcome);
        let event = match outcome {
            Outcome::Returned(_) => EventKind::HookSuccess { name },
            Outcome::Failed { error } => EventKind::HookFailure { name, error },
        };
        self.first(now, then, yes);
        // Imports and streams are nobody's hook.
        if point.is_public() {
            self.agenda.push_front(Step::Act(Action::Publish(event)));
        }
    }

    fn is_yes(&self, Asked { point, then }: Asked, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Returned(yes) => *yes,
            // A process that has lived through a circusd must not die of a broken import.
            Outcome::Failed { .. } => {
                matches!(then, Then::Adopt(_)) || self.rules.hooks.ignores_failure(point)
            }
        }
    }

    /// Why the hook that runs will keep something from starting, if this outcome does.
    pub fn objection(&self, outcome: &Outcome) -> Option<String> {
        let asked = self.asked?;
        let starts = matches!(
            asked.then,
            Then::Loaded
                | Then::Start
                | Then::Spawn(_)
                | Then::Spawned(_)
                | Then::Adopt(_)
                | Then::Started
        );
        if !starts || self.is_yes(asked, outcome) {
            return None;
        }
        let name = asked.point.as_str();
        Some(match outcome {
            Outcome::Returned(_) => format!("the hook {name} said no"),
            Outcome::Failed { error } if asked.point == HookPoint::Load => {
                format!("its Python cannot be loaded: {error}")
            }
            Outcome::Failed { error } => format!("the hook {name} failed: {error}"),
        })
    }

    /// Does this before the rest of the agenda.
    fn first(&mut self, now: Instant, then: Then, yes: bool) {
        let rest = mem::take(&mut self.agenda);
        self.decided(now, then, yes);
        self.agenda.extend(rest);
    }

    fn decided(&mut self, now: Instant, then: Then, yes: bool) {
        match then {
            Then::Nothing => {}
            Then::Loaded if yes => {
                self.hook(HookCall::Plain(HookPoint::BeforeStart), Then::Start);
            }
            Then::Start if yes => self.go_starting(),
            Then::Loaded | Then::Start => {
                self.refused_until = Some(now + self.rules.check_delay);
                self.close_streams();
            }
            Then::Spawn(wid) if yes => {
                self.cleared = true;
                self.act(Action::Spawn(wid));
            }
            Then::Spawn(_) => {
                self.spawning = None;
                self.give_up(now);
            }
            Then::Spawned(wid) => self.spawned(now, wid, yes),
            Then::Adopt(wid) if yes => self.announce(wid),
            Then::Adopt(wid) => {
                if let Some(worker) = self.workers.get_mut(&wid) {
                    worker.refused = true;
                }
                self.wind_down();
            }
            Then::Started if yes => {
                self.status = Status::Active;
                self.act(Action::Publish(EventKind::Start));
            }
            Then::Started => self.give_up(now),
            Then::AskAll => {
                for wid in self.oldest_first() {
                    self.ask_to_end(now, wid, Fate::Dismissed);
                }
            }
            Then::Deliver { wid, signal } => {
                self.deliver(now, wid, signal, yes || signal == Signal::KILL);
            }
            Then::Insist(wid) => self.insist(wid),
            Then::Reap { wid, exit_code } => self.reap(now, wid, exit_code),
            Then::Stopped => self.stopped(),
        }
    }
}
