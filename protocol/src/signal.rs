//! Signal names: `TERM`, `SIGTERM`, `term` and `15` are the same signal.

use std::fmt;

/// The signals that have a name of their own, with their numbers on Linux (signal(7), the generic
/// architecture numbers).
const NAMES: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", 34),
    ("RTMAX", 64),
];

/// The largest signal number of Linux.
const LAST: i32 = 64;

/// A signal number from 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

/// The text names no signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a signal; use a name such as TERM, SIGTERM or RTMIN+1, or a number from 1 to 64"
)]
pub struct UnknownSignal(pub String);

impl Signal {
    /// SIGHUP.
    pub const HUP: Self = Self(1);
    /// SIGKILL.
    pub const KILL: Self = Self(9);
    /// SIGINT.
    pub const INT: Self = Self(2);
    /// SIGTERM.
    pub const TERM: Self = Self(15);

    /// The signal with this number, if there is one.
    pub fn from_number(number: i64) -> Option<Self> {
        i32::try_from(number).ok().filter(|n| (1..=LAST).contains(n)).map(Self)
    }

    /// The names of all signals that have one, without `SIG`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// The number that kill(2) takes.
    pub fn number(self) -> i32 {
        self.0
    }

    /// Reads `[SIG]NAME[+OFFSET]` in any case, or a number, white space around it ignored.
    ///
    /// # Errors
    /// [`UnknownSignal`] when the text is neither, or the number is out of range.
    pub fn parse(text: &str) -> Result<Self, UnknownSignal> {
        let unknown = || UnknownSignal(text.to_owned());
        let word = text.trim();
        if let Ok(number) = word.parse::<i64>() {
            return Self::from_number(number).ok_or_else(unknown);
        }
        let upper = word.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let (name, offset) = match name.split_once('+') {
            Some((name, offset)) => (name, offset.parse::<u8>().map_err(|_| unknown())?),
            None => (name, 0),
        };
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .and_then(|(_, number)| Self::from_number(i64::from(*number) + i64::from(offset)))
            .ok_or_else(unknown)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None => write!(f, "SIGRTMIN+{}", self.0 - 34),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_mean_the_same() {
        for text in ["TERM", "SIGTERM", "sigterm", " term ", "15"] {
            assert_eq!(Signal::parse(text), Ok(Signal::TERM), "{text}");
        }
        assert_eq!(Signal::parse("RTMIN+1").map(Signal::number), Ok(35));
    }

    #[test]
    fn rubbish_is_refused_with_the_text_that_was_given() {
        for text in ["", "FOO", "INT garbage", "999", "0", "-1", "TERM+x", "RTMAX+1"] {
            assert_eq!(Signal::parse(text), Err(UnknownSignal(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn prints_a_name_that_parses_back() {
        for number in 1..=LAST {
            let signal = Signal(number);
            if number == 32 || number == 33 {
                continue; // Reserved by the C library, without a name.
            }
            assert_eq!(Signal::parse(&signal.to_string()), Ok(signal));
        }
    }
}
