//! The man page: what the tree knows, and the sections that it does not know.

use crate::arguments::CommandLine;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io::{self, Write};

/// Sections beside those of the tree: a heading and its paragraphs, each with an optional tag.
const SECTIONS: &[(&str, &[(&str, &str)])] = &[
    (
        "EXIT STATUS",
        &[
            ("0", "Done. Also when nobody reads the output any more, and when the shell was left."),
            (
                "1",
                "Nothing came of it on this side: an argument cannot be right, nobody answered in time, \
                 the answer made no sense, ssh failed, or a file could not be read or written.",
            ),
            ("2", "There is no such command or option."),
            ("3", "circusd refused; with --json, too."),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            ("CIRCUSCTL_ENDPOINT", "Where circusd answers, if --endpoint does not say it."),
            ("NO_COLOR", "If it is set there are no colours on a terminal, either."),
        ],
    ),
    (
        "FILES",
        &[
            (
                "/etc/circus/circus.ini, /etc/circus/circusd.ini, /etc/circus.ini",
                "The first of these that is there tells the endpoint, if nothing else does.",
            ),
            (
                "$XDG_STATE_HOME/circusctl/history",
                "What was typed in the interactive shell; ~/.local/state stands in for the variable. \
                 A line that begins with a blank is not kept.",
            ),
        ],
    ),
    (
        "EXAMPLES",
        &[
            ("circusctl status", "The state of every watcher."),
            ("circusctl incr web 2", "Two processes more."),
            ("circusctl why web", "What it does, what it waits for, and how its processes ended."),
            ("circusctl --ssh ops@host restart web", "The same on another machine."),
            ("circusctl --json list | jq -r '.watchers[]'", "For scripts."),
        ],
    ),
    ("SEE ALSO", &[("", "circusd(1), papa-kernel(1)")]),
];

/// The man pages by file name.
pub(super) fn pages() -> Vec<(&'static str, Vec<u8>)> {
    let mut page = Vec::new();
    // Writing to a Vec cannot fail.
    let _ = write_page(&mut page);
    vec![("circusctl.1", page)]
}

fn write_page(out: &mut dyn Write) -> io::Result<()> {
    let mut tree = CommandLine::command();
    tree.build();
    let man = Man::new(tree.clone()).date("").manual("Circus");
    man.render_title(out)?;
    man.render_name_section(out)?;
    let mut synopsis = Roff::new();
    synopsis.control("SH", ["SYNOPSIS"]);
    synopsis.text([bold("circusctl"), roman(" [OPTIONS] [COMMAND [ARGUMENTS]]")]);
    synopsis.to_writer(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    for command in tree.get_subcommands() {
        if !command.is_hide_set() && command.get_name() != "help" {
            describe(&mut roff, command);
        }
    }
    for (heading, entries) in SECTIONS {
        roff.control("SH", [*heading]);
        for (tag, text) in *entries {
            if !tag.is_empty() {
                roff.control("TP", []);
                roff.text([bold(*tag)]);
            }
            roff.text([roman(*text)]);
        }
    }
    roff.to_writer(out)
}

/// One command: how it is called, what it does, its own options.
fn describe(roff: &mut Roff, command: &Command) {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim_start_matches("circusctl ").to_owned();
    roff.control("SS", [usage.as_str()]);
    roff.text([roman(command.get_about().map(ToString::to_string).unwrap_or_default() + ".")]);
    let own = command
        .get_arguments()
        .filter(|arg| !arg.is_global_set() && !arg.is_hide_set() && arg.get_id() != "help");
    for arg in own {
        roff.control("TP", []);
        let mut tag = arg.to_string();
        if let Some(short) = arg.get_short() {
            tag = format!("-{short}, {tag}");
        }
        roff.text([bold(tag)]);
        roff.text([roman(arg.get_help().map(ToString::to_string).unwrap_or_default())]);
    }
}
