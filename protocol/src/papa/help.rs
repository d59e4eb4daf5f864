//! The texts of `help`.

use super::command::{HelpTopic, Noun, Verb};

impl HelpTopic {
    /// The text, without a line feed at its end.
    pub fn text(&self) -> String {
        let text = match self {
            Self::Unknown(problem) => problem,
            Self::Overview => include_str!("help/overview.txt"),
            Self::Verb(verb, noun) => verb_text(*verb, *noun),
        };
        text.trim_end().to_owned()
    }
}

fn verb_text(verb: Verb, noun: Option<Noun>) -> &'static str {
    match (verb, noun) {
        (Verb::ExitIfIdle, _) => include_str!("help/exit_if_idle.txt"),
        (Verb::Follow, _) => include_str!("help/follow.txt"),
        (Verb::Get, _) => include_str!("help/get.txt"),
        (Verb::Help, _) => include_str!("help/help.txt"),
        (Verb::Info, _) => include_str!("help/info.txt"),
        (Verb::List, None) => include_str!("help/list.txt"),
        (Verb::List, Some(Noun::Processes)) => include_str!("help/list_processes.txt"),
        (Verb::List, Some(Noun::Sockets)) => include_str!("help/list_sockets.txt"),
        (Verb::List, Some(Noun::Values)) => include_str!("help/list_values.txt"),
        (Verb::Make, Some(Noun::Processes)) => include_str!("help/make_process.txt"),
        (Verb::Make, Some(Noun::Sockets)) => include_str!("help/make_socket.txt"),
        (Verb::Make, _) => include_str!("help/make.txt"),
        (Verb::Note, _) => include_str!("help/note.txt"),
        (Verb::Quit, _) => include_str!("help/quit.txt"),
        (Verb::Remove, None) => include_str!("help/remove.txt"),
        (Verb::Remove, Some(Noun::Processes)) => include_str!("help/remove_processes.txt"),
        (Verb::Remove, Some(Noun::Sockets)) => include_str!("help/remove_sockets.txt"),
        (Verb::Remove, Some(Noun::Values)) => include_str!("help/remove_values.txt"),
        (Verb::Set, _) => include_str!("help/set.txt"),
        (Verb::Upgrade, _) => include_str!("help/upgrade.txt"),
        (Verb::Watch, _) => include_str!("help/watch.txt"),
    }
}
