//! Starts of processes that fail one after the other. Each reason is said once and not at every attempt, which would
//! fill the log of whoever looks for it. Pure.

/// What has failed since the last start that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failing {
    reason: String,
    attempts: u32,
}

impl Failing {
    /// One more start has failed. True when this is news: the first, or for another reason than the one before.
    pub fn again(&mut self, reason: &str) -> bool {
        let is_news = self.attempts == 0 || self.reason != reason;
        self.attempts = self.attempts.saturating_add(1);
        if is_news {
            reason.clone_into(&mut self.reason);
        }
        is_news
    }

    /// One has succeeded, or no more are tried. Returns how many have failed before.
    pub fn over(&mut self) -> u32 {
        std::mem::take(self).attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_news_when_it_changes_and_after_a_success() {
        let mut failing = Failing::default();
        let news: Vec<bool> = ["a", "a", "b", "a", "a"].map(|text| failing.again(text)).into();
        assert_eq!(news, [true, false, true, true, false]);
        assert_eq!((failing.over(), failing.over()), (5, 0));
        assert!(failing.again("a"));
    }
}
