//! What the user may have meant: the nearest of some known words. Pure.

/// The known word that is nearest to a mistyped one, if any is near enough: at most a third of its
/// letters differ, or it begins with what was typed.
pub fn nearest<'w>(typed: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let typed = typed.to_lowercase();
    let rated = known.into_iter().filter_map(|word| {
        let lower = word.to_lowercase();
        let letters = typed.chars().count().max(lower.chars().count());
        let differ = distance(&typed, &lower);
        let begins = typed.chars().count() >= 2 && lower.starts_with(&typed);
        (begins || (differ > 0 && differ * 3 <= letters.max(3))).then_some((differ, word))
    });
    rated.min_by_key(|(differ, _)| *differ).map(|(_, word)| word)
}

/// How many letters must be added, removed, changed or swapped with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, opposite) in other.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let changed = at(&above, column) + usize::from(letter != opposite);
            let mut best = changed.min(at(&above, column + 1) + 1).min(at(&line, column) + 1);
            let swapped = row > 0
                && column > 0
                && one.get(row - 1) == Some(opposite)
                && other.get(column - 1) == Some(letter);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or(one.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        let known = ["web", "Worker", "mailer", "circusd-stats"];
        assert_eq!(nearest("webb", known), Some("web"));
        assert_eq!(nearest("wbe", known), Some("web"));
        assert_eq!(nearest("wroker", known), Some("Worker"));
        assert_eq!(nearest("circusd", known), Some("circusd-stats"));
        assert_eq!(nearest("database", known), None);
        assert_eq!(nearest("x", known), None);
    }
}
