//! How an upgrade stands: decided on, and how the last one ended. Shared by the commands that ask and the
//! daemon that carries it out.

use super::handover::{Message, Order};
use std::sync::{Arc, Mutex, PoisonError};

/// How an upgrade ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Names it.
    pub id: String,
    /// The version before.
    pub from: String,
    /// The version that took over, or was to.
    pub to: String,
    /// Why it was rolled back, if it was.
    pub failure: Option<String>,
}

#[derive(Default)]
struct State {
    order: Option<Order>,
    /// The upgrade that this program was started for, while it takes over.
    taking_over: Option<String>,
    last: Option<Outcome>,
}

/// A handle; clones share it.
#[derive(Clone, Default)]
pub struct Upgrades {
    state: Arc<Mutex<State>>,
}

impl Upgrades {
    /// At the start of a program, which may have been started for an upgrade.
    pub fn taking_over(message: Option<&Message>) -> Self {
        let upgrades = Self::default();
        upgrades.with(|state| state.taking_over = message.map(|message| message.id.clone()));
        upgrades
    }

    /// The upgrade of this name has not ended.
    pub fn is_pending(&self, id: &str) -> bool {
        self.with(|state| {
            state.taking_over.as_deref() == Some(id)
                || state.order.as_ref().is_some_and(|order| order.id == id)
        })
    }

    /// Decides on an upgrade, which begins when the daemon has let go of everything.
    pub fn decide(&self, order: Order) {
        self.with(|state| state.order = Some(order));
    }

    /// What was decided on.
    pub fn decided(&self) -> Option<Order> {
        self.with(|state| state.order.clone())
    }

    /// Notes that the upgrade, of which this is the message, has ended.
    pub fn ended(&self, message: Message) {
        let Message { id, from, to, failure, .. } = message;
        self.with(|state| {
            state.taking_over = None;
            state.last = Some(Outcome { id, from, to, failure });
        });
    }

    /// How the upgrade of this name ended; none when it was not one of the last program.
    pub fn outcome(&self, id: &str) -> Option<Outcome> {
        self.with(|state| state.last.clone()).filter(|outcome| outcome.id == id)
    }

    fn with<T>(&self, action: impl FnOnce(&mut State) -> T) -> T {
        // Every action is a single step, so a panic elsewhere leaves nothing half changed.
        action(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
