//! The interactive shell of circusctl: what starts when no command is given.
//!
//! Every line is a command line without the program's name. A mistake in a line never ends the shell,
//! and Ctrl-C ends the command that runs, not the shell.

#[cfg(feature = "shell")]
mod editor;
mod help;
mod line;
mod plain;
mod prompt;

pub use prompt::run;
