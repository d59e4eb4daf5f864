//! What a line of the shell means. Pure.
//!
//! The rules are those of the original, which were measured: blanks around a line do not count, `?` is
//! `help`, the first word must be a command as it is written, quotes are those of a POSIX shell.

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// An empty one: the last command again, if it only looked.
    Empty,
    /// Leave the shell.
    Leave,
    /// The overview, or the help for a word.
    Help(Option<String>),
    /// The words of a command.
    Command(Vec<String>),
    /// The first word is no command.
    Unknown(String),
    /// A quote is not closed.
    Unbalanced,
}

/// Reads a line.
pub(super) fn read(text: &str, is_command: impl Fn(&str) -> bool) -> Line {
    let text = text.trim();
    if text.is_empty() {
        return Line::Empty;
    }
    let asked = match text.strip_prefix('?') {
        Some(rest) => Some(rest),
        None => text.strip_prefix("help").filter(|rest| rest.is_empty() || rest.starts_with(' ')),
    };
    if let Some(rest) = asked {
        let topic = rest.trim();
        return Line::Help((!topic.is_empty()).then(|| topic.to_owned()));
    }
    let first = text.split_whitespace().next().unwrap_or_default();
    if first == "EOF" {
        return Line::Leave;
    }
    if !is_command(first) {
        return Line::Unknown(text.to_owned());
    }
    match shlex::split(text) {
        Some(words) => Line::Command(words),
        None => Line::Unbalanced,
    }
}

/// Whether a command changes nothing, so that an empty line may repeat it.
pub(super) fn only_looks(words: &[String]) -> bool {
    const LOOKING: &[&str] = &[
        "discover",
        "dstats",
        "events",
        "get",
        "globaloptions",
        "list",
        "listen",
        "listsockets",
        "numprocesses",
        "numwatchers",
        "options",
        "stats",
        "status",
        "tail",
        "why",
    ];
    words.first().is_some_and(|first| LOOKING.contains(&first.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_the_original_reads_them() {
        let read = |text| read(text, |word| matches!(word, "list" | "set"));
        let command =
            |words: &[&str]| Line::Command(words.iter().map(ToString::to_string).collect());
        assert_eq!(read("  "), Line::Empty);
        assert_eq!(read("EOF"), Line::Leave);
        assert_eq!(read("help"), Line::Help(None));
        assert_eq!(read("? list"), Line::Help(Some("list".into())));
        assert_eq!(read("?list"), Line::Help(Some("list".into())));
        assert_eq!(read(" list \"my app\" "), command(&["list", "my app"]));
        assert_eq!(read("STATUS"), Line::Unknown("STATUS".into()));
        assert_eq!(read("!ls -l"), Line::Unknown("!ls -l".into()));
        assert_eq!(read("--json list"), Line::Unknown("--json list".into()));
        assert_eq!(read("list \"a"), Line::Unbalanced);
    }
}
