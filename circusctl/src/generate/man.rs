//! The man pages: what the trees of arguments know, and the sections that they do not know.

use super::manual::{self, Manual};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io::{self, Write};

/// The man pages by file name.
pub(super) fn pages() -> Vec<(String, Vec<u8>)> {
    let page = |manual: Manual| {
        let mut page = Vec::new();
        let file = format!("{}.1", manual.tree.get_name());
        // Writing to a Vec cannot fail.
        let _ = write_page(manual, &mut page);
        (file, page)
    };
    manual::all().into_iter().map(page).collect()
}

fn write_page(manual: Manual, out: &mut dyn Write) -> io::Result<()> {
    let Manual { mut tree, synopsis: arguments, sections } = manual;
    tree.build();
    let man = Man::new(tree.clone()).date("").manual("Circus");
    man.render_title(out)?;
    man.render_name_section(out)?;
    let mut synopsis = Roff::new();
    synopsis.control("SH", ["SYNOPSIS"]);
    synopsis.text([bold(tree.get_name()), roman(format!(" {arguments}"))]);
    synopsis.to_writer(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    let mut roff = Roff::new();
    if tree.has_subcommands() {
        roff.control("SH", ["COMMANDS"]);
    }
    for command in tree.get_subcommands() {
        if !command.is_hide_set() && command.get_name() != "help" {
            describe(&mut roff, tree.get_name(), command);
        }
    }
    for (heading, entries) in sections {
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
fn describe(roff: &mut Roff, program: &str, command: &Command) {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let usage = usage.strip_prefix(&format!("{program} ")).unwrap_or(usage).to_owned();
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
