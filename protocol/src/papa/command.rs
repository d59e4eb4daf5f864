//! The verbs: a request line to a [`Command`] and back.
//!
//! Verbs and the word after them fold case and may be cut short; where a cut fits several, the
//! first in alphabetical order is meant. The texts of [`CommandError`] go to the client after
//! `Error: ` and follow papa 1.0.6.

use super::line::{Form, LineError, Word, split_line};
use super::pattern::Pattern;
use super::socket_spec::SocketSpec;
use super::spec::{ProcessSpec, SpecError};

/// The first word of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is the verb of its name")]
pub enum Verb {
    ExitIfIdle,
    Follow,
    Get,
    Help,
    Info,
    List,
    Make,
    Note,
    Quit,
    Remove,
    Set,
    Upgrade,
    Watch,
}

/// What the kernel keeps, as the second word of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is the table of its name")]
pub enum Noun {
    Processes,
    Sockets,
    Values,
}

/// What `help` is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HelpTopic {
    /// All verbs.
    Overview,
    /// One verb, with its second word where that was given.
    Verb(Verb, Option<Noun>),
    /// The words name nothing; the text says so.
    Unknown(String),
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Rows of one table; no patterns: all.
    List(Noun, Vec<Pattern>),
    /// Forgets what the patterns name; no patterns: all sockets or processes.
    Remove(Noun, Vec<Pattern>),
    /// Starts a process, or returns the one that is there.
    MakeProcess {
        /// What to start.
        spec: Box<ProcessSpec>,
        /// The stream follows the reply.
        watch: bool,
    },
    /// Binds a socket, or returns the one that is there.
    MakeSocket(Box<SocketSpec>),
    /// Follows the output of processes; no patterns: all.
    Watch(Vec<Pattern>),
    /// Follows one process and says from where (an extension, exact form only).
    Follow(String),
    /// Keeps a note beside a process; `None` removes it (an extension, exact form only).
    Note(String, Option<Vec<u8>>),
    /// Stores a value; `None` removes it.
    Set(String, Option<Vec<u8>>),
    /// Reads a value.
    Get(String),
    /// Asks for a text.
    Help(HelpTopic),
    /// Asks for facts about the kernel. Papa 1.0.6 does not know it.
    Info,
    /// Ends the connection.
    Quit,
    /// Ends the kernel if it holds nothing.
    ExitIfIdle,
    /// Goes on as the program at this absolute path; as the file the kernel was started from if
    /// absent (an extension).
    Upgrade(Option<Vec<u8>>),
}

/// The request cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No verb begins like this.
    #[error("Unknown command \"{0}\"")]
    UnknownVerb(String),
    /// The verb must be written out.
    #[error("You cannot abbreviate \"{0}\"")]
    Abbreviated(&'static str),
    /// The second word is missing.
    #[error("\"{verb}\" must be followed by one of: {nouns}")]
    NounMissing {
        /// The verb in full.
        verb: &'static str,
        /// What may follow it.
        nouns: String,
    },
    /// The second word does not fit the verb.
    #[error("Bad \"{verb}\" command. The following word must be one of: {nouns}")]
    BadNoun {
        /// The verb in full.
        verb: &'static str,
        /// What may follow it.
        nouns: String,
    },
    /// `get` or `set` without a name.
    #[error("Value requires a name")]
    NoValueName,
    /// `follow` or `note` without a name.
    #[error("\"{0}\" must be followed by the name of a process")]
    NoProcessName(&'static str),
    /// Control characters in a name would break the rows of other clients.
    #[error("Bad name \"{0}\" - control characters are refused")]
    BadName(String),
    /// `make` cannot use an option.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A word is not properly written.
    #[error(transparent)]
    Line(#[from] LineError),
}

/// A verb and the words that may follow it.
struct Entry {
    name: &'static str,
    verb: Verb,
    nouns: &'static [(&'static str, Noun)],
    /// A classic line does not know it, and it must be written out.
    extension: bool,
}

const ALL_NOUNS: &[(&str, Noun)] =
    &[("processes", Noun::Processes), ("sockets", Noun::Sockets), ("values", Noun::Values)];

/// In alphabetical order, which decides between abbreviations.
const VERBS: &[Entry] = &[
    Entry::new("exit-if-idle", Verb::ExitIfIdle, &[]),
    Entry::extension("follow", Verb::Follow),
    Entry::new("get", Verb::Get, &[]),
    Entry::new("help", Verb::Help, &[]),
    Entry::new("info", Verb::Info, &[]),
    Entry::new("list", Verb::List, ALL_NOUNS),
    Entry::new("make", Verb::Make, &[("process", Noun::Processes), ("socket", Noun::Sockets)]),
    Entry::extension("note", Verb::Note),
    Entry::new("quit", Verb::Quit, &[]),
    Entry::new("remove", Verb::Remove, ALL_NOUNS),
    Entry::new("set", Verb::Set, &[]),
    Entry::new("upgrade", Verb::Upgrade, &[]),
    Entry::new("watch", Verb::Watch, &[("processes", Noun::Processes)]),
];

impl Entry {
    const fn new(name: &'static str, verb: Verb, nouns: &'static [(&'static str, Noun)]) -> Self {
        Self { name, verb, nouns, extension: false }
    }

    const fn extension(name: &'static str, verb: Verb) -> Self {
        Self { name, verb, nouns: &[], extension: true }
    }

    fn noun_names(&self) -> String {
        self.nouns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

/// Reads a request line without its line feed. The form is known even when the request is not
/// understood; a blank line is `Ok(None)`.
pub fn parse_request(line: &[u8]) -> (Form, Result<Option<Command>, CommandError>) {
    let (form, words) = split_line(line);
    let command = match words.split_first() {
        Some((verb, rest)) => parse(form, verb, rest).map(Some),
        None => Ok(None),
    };
    (form, command)
}

fn parse(form: Form, verb: &Word, words: &[Word]) -> Result<Command, CommandError> {
    let entry = find_verb(form, verb)?;
    let noun_and_rest = || -> Result<(Noun, &[Word]), CommandError> {
        let (word, rest) = words.split_first().ok_or_else(|| CommandError::NounMissing {
            verb: entry.name,
            nouns: entry.noun_names(),
        })?;
        Ok((find_noun(entry, word)?, rest))
    };
    Ok(match entry.verb {
        Verb::ExitIfIdle => Command::ExitIfIdle,
        Verb::Info => Command::Info,
        Verb::Quit => Command::Quit,
        Verb::Upgrade => Command::Upgrade(words.first().map(Word::bytes).transpose()?),
        Verb::Follow => Command::Follow(process_name(entry, words)?),
        Verb::Note => {
            let name = process_name(entry, words)?;
            Command::Note(name, words.get(1).map(Word::bytes).transpose()?)
        }
        Verb::Get => Command::Get(value_name(words)?),
        Verb::Set => {
            let name = value_name(words)?;
            Command::Set(name, joined(words.get(1..).unwrap_or_default())?)
        }
        Verb::Help => Command::Help(help_topic(form, words)),
        Verb::List => {
            let (noun, rest) = noun_and_rest()?;
            Command::List(noun, patterns(rest)?)
        }
        Verb::Remove => {
            let (noun, rest) = noun_and_rest()?;
            Command::Remove(noun, patterns(rest)?)
        }
        Verb::Watch => Command::Watch(patterns(noun_and_rest()?.1)?),
        Verb::Make => match noun_and_rest()? {
            (Noun::Sockets, rest) => Command::MakeSocket(Box::new(SocketSpec::parse(rest)?)),
            (_, rest) => {
                let (spec, watch) = ProcessSpec::parse(form, rest)?;
                Command::MakeProcess { spec: Box::new(spec), watch }
            }
        },
    })
}

fn find_verb(form: Form, word: &Word) -> Result<&'static Entry, CommandError> {
    let text = word.text()?.to_lowercase();
    let known = VERBS.iter().filter(|entry| form == Form::Exact || !entry.extension);
    let entry = known.clone().find(|entry| !text.is_empty() && entry.name.starts_with(&text));
    let entry = entry.ok_or_else(|| {
        // The original shows the word as it came, which for an exact line begins with `%`.
        let mark = if form == Form::Exact { "%" } else { "" };
        CommandError::UnknownVerb(format!("{mark}{text}"))
    })?;
    let in_full = entry.extension || matches!(entry.verb, Verb::ExitIfIdle | Verb::Upgrade);
    if in_full && text != entry.name {
        return Err(CommandError::Abbreviated(entry.name));
    }
    Ok(entry)
}

fn find_noun(entry: &Entry, word: &Word) -> Result<Noun, CommandError> {
    let text = word.text()?.to_lowercase();
    let noun = entry.nouns.iter().find(|(name, _)| !text.is_empty() && name.starts_with(&text));
    noun.map(|(_, noun)| *noun)
        .ok_or_else(|| CommandError::BadNoun { verb: entry.name, nouns: entry.noun_names() })
}

fn process_name(entry: &Entry, words: &[Word]) -> Result<String, CommandError> {
    Ok(words.first().ok_or(CommandError::NoProcessName(entry.name))?.text()?)
}

fn value_name(words: &[Word]) -> Result<String, CommandError> {
    let name = words.first().ok_or(CommandError::NoValueName)?.text()?;
    if name.contains('\n') {
        return Err(CommandError::BadName(name.escape_debug().to_string()));
    }
    Ok(name)
}

/// The words of a stored value, joined by one space each. An exact line carries one word.
fn joined(words: &[Word]) -> Result<Option<Vec<u8>>, LineError> {
    if words.is_empty() {
        return Ok(None);
    }
    let words = words.iter().map(Word::bytes).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(words.join(&b' ')))
}

fn patterns(words: &[Word]) -> Result<Vec<Pattern>, LineError> {
    words.iter().map(|word| word.text().map(Pattern)).collect()
}

fn help_topic(form: Form, words: &[Word]) -> HelpTopic {
    let topic = || -> Result<HelpTopic, CommandError> {
        let Some((verb, rest)) = words.split_first() else { return Ok(HelpTopic::Overview) };
        let entry = find_verb(form, verb)?;
        let noun = match rest.first() {
            Some(word) if !entry.nouns.is_empty() => Some(find_noun(entry, word)?),
            _ => None,
        };
        Ok(HelpTopic::Verb(entry.verb, noun))
    };
    topic().unwrap_or_else(|error| HelpTopic::Unknown(error.to_string()))
}

impl Command {
    /// Appends the request line, without its line feed.
    pub fn print(&self, form: Form, out: &mut Vec<u8>) {
        let mut words: Vec<&[u8]> = Vec::new();
        match self {
            Self::MakeProcess { spec, watch } => return spec.print(form, *watch, out),
            Self::MakeSocket(spec) => return spec.print(form, out),
            Self::List(noun, patterns) => {
                words.extend([b"list", noun.name().as_bytes()]);
                words.extend(patterns.iter().map(|pattern| pattern.0.as_bytes()));
            }
            Self::Remove(noun, patterns) => {
                words.extend([b"remove".as_slice(), noun.name().as_bytes()]);
                words.extend(patterns.iter().map(|pattern| pattern.0.as_bytes()));
            }
            Self::Watch(patterns) => {
                words.extend([b"watch".as_slice(), b"processes"]);
                words.extend(patterns.iter().map(|pattern| pattern.0.as_bytes()));
            }
            Self::Follow(name) => words.extend([b"follow", name.as_bytes()]),
            Self::Note(name, text) => {
                words.extend([b"note", name.as_bytes()]);
                words.extend(text.as_deref());
            }
            Self::Set(name, value) => {
                words.extend([b"set", name.as_bytes()]);
                words.extend(value.as_deref());
            }
            Self::Get(name) => words.extend([b"get", name.as_bytes()]),
            Self::Info => words.push(b"info"),
            Self::Quit => words.push(b"quit"),
            Self::ExitIfIdle => words.push(b"exit-if-idle"),
            Self::Upgrade(path) => {
                words.push(b"upgrade");
                words.extend(path.as_deref());
            }
            Self::Help(topic) => {
                words.push(b"help");
                if let HelpTopic::Verb(verb, noun) = topic {
                    let entry = VERBS.iter().find(|entry| entry.verb == *verb);
                    words.extend(entry.map(|entry| entry.name.as_bytes()));
                    let noun = entry.and_then(|entry| {
                        entry.nouns.iter().find(|(_, known)| Some(*known) == *noun)
                    });
                    words.extend(noun.map(|(name, _)| name.as_bytes()));
                }
            }
        }
        if form == Form::Exact {
            out.push(b'%');
        }
        for (at, word) in words.into_iter().enumerate() {
            if at > 0 {
                out.push(b' ');
            }
            form.print_word(word, out);
        }
    }

    /// The request line with its line feed, ready to be sent.
    pub fn to_line(&self, form: Form) -> Vec<u8> {
        let mut out = Vec::new();
        self.print(form, &mut out);
        out.push(b'\n');
        out
    }
}

impl Noun {
    /// The word in requests, in full.
    pub fn name(self) -> &'static str {
        ALL_NOUNS.iter().find(|(_, noun)| *noun == self).map_or("", |(name, _)| name)
    }
}

#[cfg(test)]
#[path = "command/tests.rs"]
mod tests;
