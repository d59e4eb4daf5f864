//! The last values of a figure, and their picture in one line of text.

use std::collections::VecDeque;

/// Values that are kept, which is as many as the widest picture shows.
const KEPT: usize = 32;

/// The last values of a figure, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History(VecDeque<f64>);

impl History {
    /// Adds a value.
    pub fn push(&mut self, value: f64) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(value.max(0.0));
    }

    /// The last `width` values as bars, the newest at the right. The tallest is the largest of them, or
    /// `least` if all are smaller, so that noise does not look like load.
    pub fn bars(&self, width: usize, least: f64, symbols: Symbols) -> String {
        let shown = self.0.iter().skip(self.0.len().saturating_sub(width));
        let top = shown.clone().copied().fold(least, f64::max);
        let bar = |value: &f64| {
            let levels = symbols.bars();
            let share = if top > 0.0 { value / top } else { 0.0 };
            let last = levels.len() - 1;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a share of 0 to 1 of a few levels"
            )]
            let level = (share * last as f64).round() as usize;
            levels[level.min(last)]
        };
        let text: String = shown.map(bar).collect();
        let missing = width.saturating_sub(text.chars().count());
        " ".repeat(missing) + &text
    }
}

/// What pictures are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbols {
    /// Block elements.
    Blocks,
    /// For terminals that do not know more.
    Ascii,
}

impl Symbols {
    /// Blocks if the locale says that the terminal takes UTF-8. `variable` looks up the environment.
    pub fn for_locale(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).unwrap_or_default();
        let locale = locale.to_lowercase().replace('-', "");
        if locale.contains("utf8") { Self::Blocks } else { Self::Ascii }
    }

    fn bars(self) -> &'static [char] {
        match self {
            Self::Blocks => &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
            Self::Ascii => &['_', '.', '-', '=', '+', '*', '#'],
        }
    }

    /// What leads to a child.
    pub fn branch(self) -> &'static str {
        match self {
            Self::Blocks => "└ ",
            Self::Ascii => "`-",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_grow_from_the_right_and_are_measured_by_the_largest() {
        let mut history = History::default();
        assert_eq!(history.bars(3, 1.0, Symbols::Blocks), "   ");
        for value in [0.0, 50.0, 100.0] {
            history.push(value);
        }
        assert_eq!(history.bars(4, 1.0, Symbols::Blocks), " ▁▅█");
        assert_eq!(history.bars(2, 1.0, Symbols::Ascii), "=#");
        assert_eq!(history.bars(3, 1000.0, Symbols::Blocks), "▁▁▂", "small ones stay small");
        for _ in 0..100 {
            history.push(7.0);
        }
        assert_eq!(history.bars(100, 1.0, Symbols::Blocks).trim_start().chars().count(), KEPT);
    }

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        let with = |pairs: &'static [(&str, &str)]| {
            Symbols::for_locale(|name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(with(&[("LANG", "de_DE.UTF-8")]), Symbols::Blocks);
        assert_eq!(with(&[("LC_ALL", "C"), ("LANG", "de_DE.utf8")]), Symbols::Ascii);
        assert_eq!(with(&[("LC_ALL", ""), ("LC_CTYPE", "C.UTF-8")]), Symbols::Blocks);
        assert_eq!(with(&[]), Symbols::Ascii);
    }
}
