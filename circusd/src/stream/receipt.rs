//! What the writer of a stream tells whoever gave it a batch: what is about to be written, and what has been.

use super::intent::Intent;
use tokio::sync::{mpsc, oneshot};

/// A message about a batch.
#[derive(Debug)]
pub enum Step {
    /// A part of the batch is about to be written, or is not any more. The write begins when `noted` is
    /// told, and never if it is dropped.
    Note {
        /// The offset up to which the output is written.
        done: u64,
        /// The write.
        intent: Option<Intent>,
        /// Told when it has been noted.
        noted: oneshot::Sender<()>,
    },
    /// The batch is dealt with up to this offset; what comes after is held back until its line ends.
    Written {
        /// The offset.
        done: u64,
    },
}

/// The writer's end. Dropped without [`Step::Written`]: the batch was not written and must be given again.
#[derive(Debug)]
pub struct Receipt {
    steps: mpsc::Sender<Step>,
}

impl Receipt {
    /// A receipt, and where its messages come out. Dropping that end withdraws what has not been noted.
    pub fn new() -> (Self, mpsc::Receiver<Step>) {
        let (steps, messages) = mpsc::channel(1);
        (Self { steps }, messages)
    }

    /// Lets a step be noted. False when nobody is there to do it.
    pub(super) async fn note(&self, done: u64, intent: Option<Intent>) -> bool {
        let (noted, answer) = oneshot::channel();
        self.steps.send(Step::Note { done, intent, noted }).await.is_ok() && answer.await.is_ok()
    }

    /// Says that the batch is dealt with.
    pub(super) async fn written(self, done: u64) {
        // Whoever gave the batch may have gone; then it comes again, and is known to be written.
        let _ = self.steps.send(Step::Written { done }).await;
    }

    /// Nobody waits for the batch any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.steps.is_closed()
    }
}
