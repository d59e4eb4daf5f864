//! Shell patterns: `*`, `?`, `[abc]`, `[!a-z]`, as Python's fnmatch and glob have them.
//!
//! Used for the names in `[env:...]` and for include paths. No escape character, no braces, case
//! matters.

/// Whether the text holds a character that makes it a pattern.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether the whole of `text` fits the pattern.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where to go back to: after the last `*`, and the first character it has not swallowed.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match step(&pattern, p, text[t]) {
            Step::Star => {
                star = Some((p + 1, t));
                p += 1;
            }
            Step::Fits(next) => (p, t) = (next, t + 1),
            Step::Fails => match star {
                Some((after, swallowed)) => {
                    star = Some((after, swallowed + 1));
                    (p, t) = (after, swallowed + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

enum Step {
    Star,
    Fits(usize),
    Fails,
}

fn step(pattern: &[char], at: usize, c: char) -> Step {
    let fits = match pattern.get(at) {
        None => return Step::Fails,
        Some('*') => return Step::Star,
        Some('?') => true,
        Some('[') => match class_end(pattern, at) {
            Some(end) => {
                let fits = in_class(&pattern[at + 1..end], c);
                return if fits { Step::Fits(end + 1) } else { Step::Fails };
            }
            None => c == '[', // Never closed: an ordinary character.
        },
        Some(own) => *own == c,
    };
    if fits { Step::Fits(at + 1) } else { Step::Fails }
}

/// The index of the `]` that closes the class; one right after `[` or `[!` is a member.
fn class_end(pattern: &[char], at: usize) -> Option<usize> {
    let mut first = at + 1;
    if pattern.get(first) == Some(&'!') {
        first += 1;
    }
    let from = first + usize::from(pattern.get(first) == Some(&']'));
    let rest = pattern.get(from..)?;
    rest.iter().position(|c| *c == ']').map(|offset| from + offset)
}

fn in_class(class: &[char], c: char) -> bool {
    let (negated, members) = match class.split_first() {
        Some(('!', members)) => (true, members),
        _ => (false, class),
    };
    let mut found = false;
    let mut at = 0;
    while let Some(low) = members.get(at) {
        match (members.get(at + 1), members.get(at + 2)) {
            (Some('-'), Some(high)) => {
                found |= (*low..=*high).contains(&c);
                at += 3;
            }
            _ => {
                found |= *low == c;
                at += 1;
            }
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_names_with_case() {
        for (pattern, text) in [
            ("*", ""),
            ("worker?", "worker1"),
            ("*e*", "web1"),
            ("a*b*c", "aXbXbXc"),
            ("[ab]x", "bx"),
            ("[!a-c]", "d"),
            ("[]]", "]"),
            ("web[12", "web[12"),
            ("", ""),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("WEB*", "web"),
            ("worker?", "worker"),
            ("a*b", "abc"),
            ("[!a-c]", "b"),
            ("web[12", "web1"),
            ("", "x"),
            ("?", ""),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
