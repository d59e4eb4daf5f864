//! circusctl as a program: what runs and with which exit code it ends.

use crate::arguments::{self, CommandLine, Global};
use crate::colour::Colour;
use crate::command::{Command, CommandKind};
use crate::completion;
use crate::generate;
use crate::outcome::{self, Ending};
use crate::run;
use crate::session::Session;
use crate::shell;
use crate::ui;
use crate::usage;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs circusctl with these arguments, the first being the program's name.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    if let Some(code) = completion::asked() {
        return code;
    }
    let outcome = match arguments::parse(arguments) {
        Ok(CommandLine { global, command: Some(command) }) => run_command(&global, &command),
        Ok(CommandLine { global, command: None }) => shell::run(&global),
        // Help and version, which clap reports as errors.
        Err(error) if !error.use_stderr() => {
            // The terminal's width and colours are clap's business.
            let text = error.render();
            outcome::print(&match Colour::of_stdout() {
                Colour::On => text.ansi().to_string(),
                Colour::Off => text.to_string(),
            })
        }
        Err(error) => Err(usage::refusal(&error).into()),
    };
    match outcome {
        Ok(()) | Err(Ending::ReaderGone) => ExitCode::SUCCESS,
        Err(Ending::Told(kind)) => ExitCode::from(kind.code()),
        Err(Ending::Failed(error)) => {
            ui::err(&error.text(Colour::of_stderr()));
            ExitCode::from(error.kind.code())
        }
    }
}

fn run_command(global: &Global, command: &Command) -> Result<(), Ending> {
    if let CommandKind::Generate(wanted) = command.kind() {
        return Ok(generate::run(wanted)?);
    }
    let session = Session::open(global.place(), run::services(command))?;
    run::run(&session, global.output(), command)
}
