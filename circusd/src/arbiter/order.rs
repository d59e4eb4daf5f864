//! The order in which watchers are started.

/// Sorts by priority, the biggest first. Ties keep their order, which is that of the names.
pub fn by_priority<T>(watchers: &mut [T], priority: impl Fn(&T) -> i64) {
    watchers.sort_by_key(|watcher| std::cmp::Reverse(priority(watcher)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_biggest_priority_is_first_and_ties_keep_their_order() {
        let mut watchers = [("a", 0), ("b", 5), ("c", 0), ("d", 5)];
        by_priority(&mut watchers, |(_, priority)| *priority);
        assert_eq!(watchers.map(|(name, _)| name), ["b", "d", "a", "c"]);
    }
}
