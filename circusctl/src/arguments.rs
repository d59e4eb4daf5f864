//! The command line as data: global options and the tree of commands.
//!
//! One tree serves the command line, the lines of the shell, completion and the man page.

use crate::command::Command;
use crate::outcome::Output;
use crate::session::Place;
use clap::{CommandFactory, Parser};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Seconds to wait for an answer when nothing else is said.
const DEFAULT_TIMEOUT: u32 = 5;

/// Control a running circusd
///
/// Without a command an interactive shell starts, with the same commands, history and completion.
#[derive(Debug, Parser)]
#[command(name = "circusctl", version, args_override_self = true, infer_long_args = true)]
pub struct CommandLine {
    /// Options that every command has.
    #[command(flatten)]
    pub global: Global,
    /// What to do; the interactive shell without it.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options that every command has, before or after its name.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Global {
    /// Where circusd answers [default: $CIRCUSCTL_ENDPOINT, else the configuration file, else
    /// tcp://127.0.0.1:5555; for listen where it publishes, tcp://127.0.0.1:5556]
    #[arg(long, global = true, value_name = "ENDPOINT")]
    endpoint: Option<String>,
    /// The ini file of circusd to take the endpoint from, if neither --endpoint nor
    /// $CIRCUSCTL_ENDPOINT says it [default: /etc/circus/circus.ini and the like]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Seconds to wait for the answer; 0 does not wait [default: 5]
    #[arg(long, global = true, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// Print the reply itself
    #[arg(long, global = true)]
    json: bool,
    /// With --json: one key per line, sorted
    #[arg(long, global = true)]
    prettify: bool,
    /// Reach circusd through ssh; endpoints are then those of that machine
    #[arg(long, global = true, value_name = "[USER@]HOST[:PORT]")]
    ssh: Option<String>,
    /// The key for ssh
    #[arg(long = "ssh_keyfile", alias = "ssh-keyfile", global = true, value_name = "FILE")]
    ssh_keyfile: Option<PathBuf>,
}

impl Global {
    /// Where circusd is.
    pub fn place(&self) -> Place<'_> {
        Place {
            endpoint: self.endpoint.as_deref(),
            config: self.config.as_deref(),
            ssh: self.ssh.as_deref(),
            ssh_keyfile: self.ssh_keyfile.as_deref(),
            timeout: Duration::from_secs(self.timeout.unwrap_or(DEFAULT_TIMEOUT).into()),
        }
    }

    /// How to show results.
    pub fn output(&self) -> Output {
        Output { json: self.json, prettify: self.prettify }
    }

    /// These options where they are given, else those of `base`: a line of the shell over the command
    /// line that started it.
    #[must_use]
    pub fn over(self, base: &Self) -> Self {
        Self {
            endpoint: self.endpoint.or_else(|| base.endpoint.clone()),
            config: self.config.or_else(|| base.config.clone()),
            timeout: self.timeout.or(base.timeout),
            json: self.json || base.json,
            prettify: self.prettify || base.prettify,
            ssh: self.ssh.or_else(|| base.ssh.clone()),
            ssh_keyfile: self.ssh_keyfile.or_else(|| base.ssh_keyfile.clone()),
        }
    }

    /// Nothing that changes where circusd is.
    pub fn same_place(&self) -> bool {
        self.endpoint.is_none()
            && self.config.is_none()
            && self.timeout.is_none()
            && self.ssh.is_none()
            && self.ssh_keyfile.is_none()
    }
}

/// Reads a command line; the first word is the program's name.
///
/// # Errors
/// What clap says, help and version included.
pub fn parse(words: impl Iterator<Item = OsString>) -> Result<CommandLine, clap::Error> {
    CommandLine::try_parse_from(help_last(words.collect()))
}

/// `--help COMMAND` means the help of the command, as in the original.
fn help_last(mut words: Vec<OsString>) -> Vec<OsString> {
    let asks = words.get(1).is_some_and(|word| word == "--help" || word == "-h");
    let command = words.get(2).is_some_and(|word| word.to_str().is_some_and(is_command));
    if asks && command {
        words.swap(1, 2);
    }
    words
}

/// Whether there is such a command.
pub fn is_command(word: &str) -> bool {
    commands().iter().any(|(name, _)| name == word)
}

/// The commands with what they do, in alphabetical order; hidden ones are left out.
pub fn commands() -> Vec<(String, String)> {
    let tree = CommandLine::command();
    let mut all: Vec<_> = tree
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            (command.get_name().to_owned(), about)
        })
        .collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_line_of_the_shell_goes_over_the_options_it_was_started_with() {
        let read = |line: &str| {
            let words = line.split(' ').map(OsString::from);
            parse(words).expect("understood").global
        };
        let base = read("circusctl --timeout 9 --endpoint tcp://a:1");
        let line = read("circusctl list --timeout 3 --json").over(&base);
        assert_eq!((line.timeout, line.json), (Some(3), true));
        assert_eq!(line.endpoint.as_deref(), Some("tcp://a:1"));
        assert!(!read("circusctl list --timeout 3").same_place());
        assert!(read("circusctl list --json").same_place());
    }
}
