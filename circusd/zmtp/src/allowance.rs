//! What unfinished long messages of all clients of an endpoint may take together.
//!
//! Each client alone may send a long one; a thousand at once must not take all the memory of the machine.

use crate::frame::Violation;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted, in bytes. Less than that is everybody's own.
const UNIT: usize = 64 << 10;
/// All of them together: 128 MiB.
const UNITS: usize = 2048;

/// The allowance of one endpoint; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Allowance(Arc<Semaphore>);

/// A part of it, given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Share(Option<OwnedSemaphorePermit>);

impl Default for Allowance {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(UNITS)))
    }
}

impl Allowance {
    /// Makes `share` large enough for so many bytes.
    ///
    /// # Errors
    /// Others have the rest.
    pub(crate) fn cover(&self, share: &mut Share, bytes: usize) -> Result<(), Violation> {
        let held = share.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let lacking = u32::try_from((bytes / UNIT).saturating_sub(held));
        let lacking = lacking.map_err(|_| Violation::TooMuch)?;
        if lacking == 0 {
            return Ok(());
        }
        let more = Arc::clone(&self.0).try_acquire_many_owned(lacking);
        let more = more.map_err(|_| Violation::TooMuch)?;
        match &mut share.0 {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_free_and_the_rest_has_an_end_until_it_is_given_back() {
        let allowance = Allowance::default();
        let (mut first, mut second) = (Share::default(), Share::default());
        allowance.cover(&mut first, UNITS * UNIT - 1).unwrap();
        allowance.cover(&mut first, 5 * UNIT).unwrap();
        allowance.cover(&mut second, UNIT).unwrap();
        allowance.cover(&mut second, 2 * UNIT - 1).unwrap();
        let more = allowance.cover(&mut second, 2 * UNIT);
        assert_eq!(more, Err(Violation::TooMuch));
        allowance.cover(&mut Share::default(), UNIT - 1).unwrap();
        drop(first);
        allowance.cover(&mut second, UNITS * UNIT).unwrap();
    }
}
