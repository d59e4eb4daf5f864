//! How much memory the buffers of all clients may take together, and whether the system has any left.
//!
//! Counts and sets limits; who holds memory acts on them.

/// Unread requests and unsent answers of all clients, in bytes.
const MOST_MEMORY: usize = 256 << 20;
/// A block ends after the record that reaches this size. Holds a full buffer of the default size.
const BLOCK_SIZE: usize = 4 << 20;
/// The same while memory is short: about what a connection takes at once anyway.
const SHORT_BLOCK_SIZE: usize = 64 << 10;

/// Whether a buffer of `bytes` can be had, with something left for what is small and cannot do without.
///
/// Memory runs out under a limit (RLIMIT_AS, strict overcommit), and a failed allocation ends the
/// process. So whatever may grow large asks before it does.
pub(crate) fn can_grow_to(bytes: usize) -> bool {
    const RESERVE: usize = 4 << 20;
    let mut trial = Vec::<u8>::new();
    let granted = trial.try_reserve_exact(bytes.saturating_add(RESERVE)).is_ok();
    // Or the compiler might do without asking.
    std::hint::black_box(trial);
    granted
}

/// What is in use.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    held: usize,
}

impl Budget {
    /// Notes that a client's share has changed.
    pub(crate) fn update(&mut self, share: &mut usize, now: usize) {
        self.held = self.held.saturating_sub(*share).saturating_add(now);
        *share = now;
    }

    /// Bytes in use.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Whether the largest holder must go, and nobody new may come.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.held > MOST_MEMORY
    }

    /// How much a watching client gets at once.
    pub(crate) fn block_size(&self) -> usize {
        if self.held > MOST_MEMORY / 2 { SHORT_BLOCK_SIZE } else { BLOCK_SIZE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_shrink_before_memory_is_gone() {
        let (mut budget, mut one, mut other) = (Budget::default(), 0, 0);
        assert_eq!(budget.block_size(), BLOCK_SIZE);
        budget.update(&mut one, MOST_MEMORY);
        assert!(!budget.is_exhausted());
        assert_eq!(budget.block_size(), SHORT_BLOCK_SIZE);
        budget.update(&mut other, 1);
        assert!(budget.is_exhausted());
        budget.update(&mut one, 0);
        assert_eq!((budget.held(), budget.block_size()), (1, BLOCK_SIZE));
    }
}
