//! The loop of the shell: greet, read a line, run it, show what came of it.

use super::line::{self, Line};
use super::{help, plain};
use crate::arguments::{self, Global};
use crate::colour::Colour;
use crate::command::{Command, CommandKind};
use crate::endpoint::Service;
use crate::interrupt;
use crate::outcome::{self, Ending};
use crate::run;
use crate::session::Session;
use crate::suggest;
use crate::ui;
use crate::usage;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::sync::Arc;

/// What stands before every line.
pub(super) const PROMPT: &str = "(circusctl) ";

/// What the user did at the prompt.
pub(super) enum Next {
    /// Entered a line.
    Line(String),
    /// Threw the line away.
    Cancelled,
    /// Left.
    End,
}

/// Where lines come from.
enum Input {
    Plain,
    #[cfg(feature = "shell")]
    Editor(Box<super::editor::Editor>),
}

impl Input {
    /// An editor for people, plain lines for everything else.
    fn choose(session: Option<&Arc<Session>>) -> Self {
        let person = io::stdin().is_terminal() && io::stdout().is_terminal();
        #[cfg(feature = "shell")]
        if person && let Some(editor) = super::editor::Editor::open(session.cloned()) {
            return Self::Editor(Box::new(editor));
        }
        let _ = (person, session);
        Self::Plain
    }

    fn next(&mut self) -> Result<Next, Ending> {
        match self {
            Self::Plain => plain::next(),
            #[cfg(feature = "shell")]
            Self::Editor(editor) => Ok(editor.next()),
        }
    }
}

/// Runs the shell until the user leaves.
///
/// # Errors
/// circusd's place makes no sense, or standard output cannot be written. What goes wrong in a line is
/// shown and is not the end.
pub fn run(global: &Global) -> Result<(), Ending> {
    let session = Arc::new(Session::open(global.place(), &[Service::Controller])?);
    let shell = Shell { session, global: global.clone() };
    outcome::print(&format!("circusctl {}\n", env!("CARGO_PKG_VERSION")))?;
    shell.execute(&["status".to_owned()])?;
    if io::stdin().is_terminal() {
        interrupt::note();
    }
    let mut input = Input::choose(Some(&shell.session));
    let mut last: Option<Line> = None;
    loop {
        let text = match input.next()? {
            Next::Line(text) => text,
            Next::Cancelled => continue,
            Next::End => return outcome::print("\n"),
        };
        let mut line = line::read(&text, arguments::is_command);
        if line == Line::Empty {
            let Some(again) = &last else { continue };
            line = again.clone();
        } else {
            last = Some(line.clone()).filter(repeatable);
        }
        match line {
            Line::Empty => {}
            Line::Leave => return outcome::print("\n"),
            Line::Help(None) => outcome::print(&help::overview())?,
            Line::Help(Some(topic)) => outcome::print(&help::topic(&topic))?,
            Line::Unknown(text) => unknown(&text)?,
            Line::Unbalanced => ui::err("error: a quote is not closed\n"),
            Line::Command(words) => shell.execute(&words)?,
        }
    }
}

/// The words of the original, and a guess at what was meant.
fn unknown(text: &str) -> Result<(), Ending> {
    outcome::print(&format!("*** Unknown syntax: {text}\n"))?;
    let first = text.split_whitespace().next().unwrap_or_default();
    let commands = arguments::commands();
    if let Some(near) = suggest::nearest(first, commands.iter().map(|(name, _)| name.as_str())) {
        ui::err(&format!("{} did you mean `{near}`?\n", Colour::of_stderr().note("hint:")));
    }
    Ok(())
}

/// Only what changes nothing is done again by an empty line.
fn repeatable(line: &Line) -> bool {
    match line {
        Line::Command(words) => line::only_looks(words),
        Line::Help(_) | Line::Unknown(_) => true,
        Line::Empty | Line::Leave | Line::Unbalanced => false,
    }
}

struct Shell {
    session: Arc<Session>,
    global: Global,
}

impl Shell {
    /// Runs a command line. Only a reader that has gone is an end.
    fn execute(&self, words: &[String]) -> Result<(), Ending> {
        interrupt::forget();
        match self.attempt(words) {
            Err(Ending::ReaderGone) => Err(Ending::ReaderGone),
            Err(Ending::Failed(error)) => {
                ui::err(&error.text(Colour::of_stderr()));
                Ok(())
            }
            Err(Ending::Told(_)) | Ok(()) => Ok(()),
        }
    }

    fn attempt(&self, words: &[String]) -> Result<(), Ending> {
        let words = ["circusctl"].into_iter().chain(words.iter().map(String::as_str));
        let line = match arguments::parse(words.map(OsString::from)) {
            Ok(line) => line,
            Err(error) if !error.use_stderr() => {
                return outcome::print(&error.render().to_string());
            }
            Err(error) => return Err(usage::refusal(&error).into()),
        };
        let Some(command) = line.command else { return Ok(()) };
        let here = line.global.same_place();
        let global = line.global.over(&self.global);
        match &command {
            command if here && self.serves(command) => {
                run::run(&self.session, global.output(), command)
            }
            command => {
                let session = Session::open(global.place(), run::services(command))?;
                run::run(&session, global.output(), command)
            }
        }
    }

    /// Whether the shell's own way to circusd is the one that a command needs.
    fn serves(&self, command: &Command) -> bool {
        matches!(
            command.kind(),
            CommandKind::Call(..) | CommandKind::Tail(_) | CommandKind::Events(_)
        )
    }
}
