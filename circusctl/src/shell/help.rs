//! The help of the shell, laid out as that of the original. Pure.

use crate::arguments::{CommandLine, commands};
use clap::CommandFactory;

/// Columns that the overview may take.
const WIDTH: usize = 80;

/// All commands.
pub(super) fn overview() -> String {
    let mut names: Vec<_> = commands().into_iter().map(|(name, _)| name).collect();
    names.push("help".into());
    names.sort();
    names.dedup();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    section("Documented commands (type help <topic>):", &names)
        + &section("Undocumented commands:", &["EOF"])
}

/// One command.
pub(super) fn topic(word: &str) -> String {
    match word {
        "help" => "Show the commands, or what one of them does: help COMMAND\n".into(),
        "EOF" => "*** No help on EOF\n".into(),
        _ => command(word).unwrap_or_else(|| format!("*** No help on {word}\n")),
    }
}

fn command(word: &str) -> Option<String> {
    let (_, about) = commands().into_iter().find(|(name, _)| name == word)?;
    let mut tree = CommandLine::command();
    tree.build();
    let help = tree.find_subcommand_mut(word)?.render_long_help().to_string();
    // The first paragraph is what has just been said.
    let rest = help.split_once("\n\n").map_or("", |(_, rest)| rest);
    Some(format!("{about}\n{}\n\n{rest}", "=".repeat(about.chars().count())))
}

fn section(heading: &str, words: &[&str]) -> String {
    format!("\n{heading}\n{}\n{}", "=".repeat(heading.len()), columns(words)) + "\n"
}

/// Words down, then across, in as few rows as fit.
fn columns(words: &[&str]) -> String {
    for rows in 1..=words.len() {
        let widths: Vec<usize> = words
            .chunks(rows)
            .map(|column| column.iter().map(|word| word.len()).max().unwrap_or(0))
            .collect();
        let total = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        if total > WIDTH && rows < words.len() {
            continue;
        }
        let line = |row: usize| {
            let cells: Vec<String> = words
                .chunks(rows)
                .zip(&widths)
                .map(|(column, width)| (column.get(row).copied().unwrap_or_default(), width))
                .map(|(word, width)| format!("{word:width$}"))
                .collect();
            // The original keeps the padding of full rows and drops cells that are empty.
            let full = words.chunks(rows).filter(|column| row < column.len()).count();
            cells.get(..full).unwrap_or_default().join("  ") + "\n"
        };
        return (0..rows).map(line).collect();
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_of_the_original() {
        let words = [
            "add",
            "decr",
            "dstats",
            "get",
            "globaloptions",
            "help",
            "incr",
            "ipython",
            "kill",
            "list",
            "listen",
            "listsockets",
            "numprocesses",
            "numwatchers",
            "options",
            "quit",
            "reload",
            "reloadconfig",
            "restart",
            "rm",
            "set",
            "signal",
            "start",
            "stats",
            "status",
            "stop",
        ];
        let expected = "\
add     globaloptions  kill         numprocesses  reload        set     status
decr    help           list         numwatchers   reloadconfig  signal  stop  
dstats  incr           listen       options       restart       start \n\
get     ipython        listsockets  quit          rm            stats \n";
        assert_eq!(columns(&words), expected);
    }

    #[test]
    fn every_command_has_help_and_other_words_have_none() {
        for (name, about) in commands() {
            let text = topic(&name);
            assert!(text.starts_with(&format!("{about}\n===")), "{text}");
            assert!(text.contains("Usage: circusctl"), "{text}");
        }
        assert_eq!(topic("nosuch"), "*** No help on nosuch\n");
    }
}
