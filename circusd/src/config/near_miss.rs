//! Finds the known word that a misspelt one was probably meant to be.

/// The known word that is closest to `word`, if it is close enough to be a slip.
///
/// Close are words that differ in one place per four characters, in at most two places; an exchange
/// of neighbours is one place.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let lower = word.to_lowercase();
    known
        .iter()
        .map(|candidate| (distance(&lower, candidate), *candidate))
        .filter(|(places, candidate)| *places <= (candidate.len() / 4).min(2))
        .min_by_key(|(places, _)| *places)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and exchanges of neighbours between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX; // Too far to matter, and long words would cost time.
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let mut best = (last[j + 1] + 1).min(row[j] + 1).min(last[j] + usize::from(from != to));
            if i > 0 && j > 0 && *from == b[j - 1] && a[i - 1] == *to {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let known = ["numprocesses", "cmd", "shell", "priority"];
        for (word, expected) in [
            ("numproceses", Some("numprocesses")),
            ("NumProcesses", Some("numprocesses")),
            ("shlel", Some("shell")),
            ("prioritty", Some("priority")),
            ("cm", None),
            ("threshold", None),
            ("flapping.window", None),
        ] {
            assert_eq!(nearest(word, &known), expected, "{word}");
        }
    }
}
