//! Lines from a terminal: editing, history and TAB completion, by rustyline.

use super::prompt::{Next, PROMPT};
use crate::completion;
use crate::session::Session;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Context, Editor as Rustyline, Helper};
use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Lines that are remembered.
const REMEMBERED: usize = 1000;

/// The line editor.
pub(super) struct Editor {
    lines: Rustyline<Completion, FileHistory>,
    history: Option<PathBuf>,
}

impl Editor {
    /// An editor on the terminal, or none when it cannot be used.
    pub(super) fn open(session: Option<Arc<Session>>) -> Option<Self> {
        let config = Config::builder()
            .max_history_size(REMEMBERED)
            .ok()?
            .history_ignore_space(true)
            .auto_add_history(true)
            .completion_type(CompletionType::List)
            .build();
        let mut lines = Rustyline::with_config(config).ok()?;
        lines.set_helper(Some(Completion { session }));
        let history = history_file();
        if let Some(path) = &history {
            // There is none before the first time.
            let _ = lines.load_history(path);
        }
        Some(Self { lines, history })
    }

    /// Asks for the next line.
    pub(super) fn next(&mut self) -> Next {
        match self.lines.readline(PROMPT) {
            Ok(line) => {
                self.keep();
                Next::Line(line)
            }
            Err(ReadlineError::Interrupted) => Next::Cancelled,
            // Ctrl-D, or a terminal that has gone.
            Err(_) => Next::End,
        }
    }

    /// Keeps the history after each line, because a shell may end in many ways.
    fn keep(&mut self) {
        if let Some(path) = &self.history {
            // A history that cannot be written is no reason to trouble the user. rustyline makes the
            // file readable for its owner only.
            let _ = self.lines.save_history(path);
        }
    }
}

/// `$XDG_STATE_HOME/circusctl/history`; its directory is made for the user alone.
fn history_file() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let state = match variable("XDG_STATE_HOME") {
        Some(state) => PathBuf::from(state),
        None => Path::new(&variable("HOME")?).join(".local/state"),
    };
    let directory = state.join("circusctl");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).ok()?;
    Some(directory.join("history"))
}

/// Completes commands, options, watchers and pids.
struct Completion {
    session: Option<Arc<Session>>,
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = line.get(..position).unwrap_or_default();
        let start = word_start(before);
        let typed = before.get(start..).unwrap_or_default();
        let mut words = vec![OsString::from("circusctl")];
        // A word that is quoted in a way we do not understand completes to nothing.
        words.extend(
            shlex::split(before.get(..start).unwrap_or_default())
                .unwrap_or_default()
                .into_iter()
                .filter(|word| word != "help")
                .map(OsString::from),
        );
        words.push(typed.trim_start_matches(['"', '\'']).into());
        let pair = |(word, help): (String, String)| {
            let quoted = shlex::try_quote(&word).unwrap_or(Cow::Borrowed(&word)).into_owned();
            let display = match help.is_empty() {
                true => word,
                false => format!("{word:16} {help}"),
            };
            Pair { display, replacement: quoted + " " }
        };
        let found = completion::candidates(words, self.session.clone());
        Ok((start, found.into_iter().map(pair).collect()))
    }
}

/// Where the word begins that is being typed: after the last blank outside quotes.
fn word_start(before: &str) -> usize {
    let mut quote = None;
    let mut start = 0;
    for (at, letter) in before.char_indices() {
        match (quote, letter) {
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            (None, ' ' | '\t') => start = at + 1,
            _ => {}
        }
    }
    start
}

impl rustyline::hint::Hinter for Completion {
    type Hint = String;
}
impl rustyline::highlight::Highlighter for Completion {}
impl rustyline::validate::Validator for Completion {}
impl Helper for Completion {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_begins_at_its_quote() {
        assert_eq!(word_start("list we"), 5);
        assert_eq!(word_start("list \"my a"), 5);
        assert_eq!(word_start("list 'a b' c"), 11);
        assert_eq!(word_start("li"), 0);
    }
}
