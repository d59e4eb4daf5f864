//! The verbs: a request line to a [`Command`] and back.
//!
//! Verbs and the word after them fold case and may be cut short; where a cut fits several, the
//! first in alphabetical order is meant. The texts of [`CommandError`] go to the client after
//! `Error: ` and follow papa 1.0.6.

use super::line::{Form, LineError, Word, split_line};
use super::socket_spec::SocketSpec;
use super::spec::{ProcessSpec, SpecError};

/// The first word of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is the verb of its name")]
pub enum Verb {
    ExitIfIdle,
    Get,
    Help,
    List,
    Make,
    Quit,
    Remove,
    Set,
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

/// A name, or the beginning of names with a `*` after it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(pub String);

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
    /// Stores a value; `None` removes it.
    Set(String, Option<Vec<u8>>),
    /// Reads a value.
    Get(String),
    /// Asks for a text.
    Help(HelpTopic),
    /// Ends the connection.
    Quit,
    /// Ends the kernel if it holds nothing.
    ExitIfIdle,
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
}

const ALL_NOUNS: &[(&str, Noun)] =
    &[("processes", Noun::Processes), ("sockets", Noun::Sockets), ("values", Noun::Values)];

/// In alphabetical order, which decides between abbreviations.
const VERBS: &[Entry] = &[
    Entry { name: "exit-if-idle", verb: Verb::ExitIfIdle, nouns: &[] },
    Entry { name: "get", verb: Verb::Get, nouns: &[] },
    Entry { name: "help", verb: Verb::Help, nouns: &[] },
    Entry { name: "list", verb: Verb::List, nouns: ALL_NOUNS },
    Entry {
        name: "make",
        verb: Verb::Make,
        nouns: &[("process", Noun::Processes), ("socket", Noun::Sockets)],
    },
    Entry { name: "quit", verb: Verb::Quit, nouns: &[] },
    Entry { name: "remove", verb: Verb::Remove, nouns: ALL_NOUNS },
    Entry { name: "set", verb: Verb::Set, nouns: &[] },
    Entry { name: "watch", verb: Verb::Watch, nouns: &[("processes", Noun::Processes)] },
];

impl Entry {
    fn noun_names(&self) -> String {
        self.nouns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

impl Pattern {
    /// Whether the pattern can name several things.
    pub fn is_wildcard(&self) -> bool {
        self.0.ends_with('*')
    }

    /// Whether `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == self.0,
        }
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
        Verb::Quit => Command::Quit,
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
    let entry = VERBS.iter().find(|entry| !text.is_empty() && entry.name.starts_with(&text));
    let entry = entry.ok_or_else(|| {
        // The original shows the word as it came, which for an exact line begins with `%`.
        let mark = if form == Form::Exact { "%" } else { "" };
        CommandError::UnknownVerb(format!("{mark}{text}"))
    })?;
    if entry.verb == Verb::ExitIfIdle && text != entry.name {
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
            Self::Set(name, value) => {
                words.extend([b"set", name.as_bytes()]);
                words.extend(value.as_deref());
            }
            Self::Get(name) => words.extend([b"get", name.as_bytes()]),
            Self::Quit => words.push(b"quit"),
            Self::ExitIfIdle => words.push(b"exit-if-idle"),
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
mod tests {
    use super::super::argument::Argument;
    use super::super::socket_spec::{Family, Kind};
    use super::super::spec::OutputMode;
    use super::*;
    use proptest::prelude::*;

    fn answer(line: &str) -> String {
        match parse_request(line.as_bytes()).1 {
            Ok(command) => format!("{command:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn verbs_and_nouns_may_be_cut_short() {
        for line in ["l v", "LIS val", "list values", "%l v"] {
            assert_eq!(answer(line), "Some(List(Values, []))", "{line}");
        }
        assert_eq!(answer("q now"), "Some(Quit)");
        assert_eq!(answer("Exit-If-Idle"), "Some(ExitIfIdle)");
        assert_eq!(answer("e"), "You cannot abbreviate \"exit-if-idle\"");
        assert_eq!(answer(" "), "None");
    }

    #[test]
    fn words_that_name_nothing_are_answered_as_papa_does() {
        assert_eq!(answer("FOO bar"), "Unknown command \"foo\"");
        assert_eq!(answer("%foo bar"), "Unknown command \"%foo\"");
        assert_eq!(answer("m"), "\"make\" must be followed by one of: process, socket");
        let bad = "Bad \"make\" command. The following word must be one of: process, socket";
        assert_eq!(answer("m sockets"), bad);
        assert_eq!(answer("m p"), "Process requires a name");
        assert_eq!(answer("m p x a=b"), "Unknown option \"a\"");
        assert_eq!(answer("m p x env.A=1"), "No command");
        assert_eq!(answer("get"), "Value requires a name");
    }

    #[test]
    fn names_that_would_break_the_stream_need_the_exact_form() {
        assert!(answer("m p a:b true").starts_with("Bad process name"));
        assert!(answer("m p a\\ b true").starts_with("Bad process name"));
        assert!(answer("%m p a%0Ab true").starts_with("Bad process name"));
        assert!(answer("%m p a:b%20c true").starts_with("Some(MakeProcess"));
    }

    #[test]
    fn an_exact_set_can_store_the_empty_value() {
        assert_eq!(answer("%set a"), "Some(Set(\"a\", None))");
        assert_eq!(answer("%set a %"), "Some(Set(\"a\", Some([])))");
    }

    fn process() -> impl Strategy<Value = Command> {
        let argument = prop_oneof![
            any::<Vec<u8>>().prop_map(Argument::from),
            any::<Vec<u8>>().prop_map(Argument::literal),
            "[a=$(]{0,3}\\$\\(socket\\.k\\.port\\)".prop_map(Argument::from),
            "[a=$(]{0,3}\\$\\(socket\\.k\\.port\\)".prop_map(Argument::literal),
        ];
        let output = prop_oneof![Just(OutputMode::Pipe), Just(OutputMode::Null)];
        let error =
            prop_oneof![Just(OutputMode::Pipe), Just(OutputMode::Null), Just(OutputMode::Stdout)];
        let env = prop::collection::btree_map("[A-Z_ é]{1,5}", any::<Vec<u8>>(), 0..3);
        (
            ("[^\0-\x1f\x7f-\u{9f}]{1,8}", prop::collection::vec(argument, 1..4), env),
            (any::<Option<String>>(), any::<Option<Vec<u8>>>(), output, error),
            (prop::option::of(0..1u64 << 30), prop::option::of(0..0o1000u32)),
            (any::<Option<u64>>(), any::<bool>(), any::<bool>()),
        )
            .prop_map(
                |((name, argv, env), (uid, working_dir, stdout, stderr), sizes, rest)| {
                    let env = env.into_iter().map(|(k, v)| (k.into_bytes(), v)).collect();
                    let spec = ProcessSpec {
                        name,
                        argv,
                        env,
                        working_dir,
                        gid: uid.clone(),
                        uid,
                        rlimits: vec![("nofile".to_owned(), rest.0)],
                        stdout,
                        stderr,
                        bufsize: sizes.0,
                        umask: sizes.1,
                        shell: rest.1,
                    };
                    Command::MakeProcess { spec: Box::new(spec), watch: rest.2 }
                },
            )
    }

    fn socket() -> impl Strategy<Value = Command> {
        (
            any::<Option<u16>>(),
            any::<Option<Vec<u8>>>(),
            prop::option::of("[^\0]{1,5}"),
            any::<bool>(),
        )
            .prop_map(|(port, path, host, reuseport)| {
                Command::MakeSocket(Box::new(SocketSpec {
                    name: "a b".to_owned(),
                    family: if path.is_some() { Family::Unix } else { Family::Inet6 },
                    kind: Kind::Seqpacket,
                    backlog: 2048,
                    interface: host.clone(),
                    host,
                    port,
                    path,
                    umask: port.map(|port| u32::from(port) & 0o777),
                    reuseport,
                }))
            })
    }

    proptest! {
        #[test]
        fn exact_requests_survive(command in prop_oneof![
            process(),
            socket(),
            any::<Vec<u8>>().prop_map(|value| Command::Set("a b".to_owned(), Some(value))),
            "[^\0-\x1f]{0,8}".prop_map(|name| Command::Watch(vec![Pattern(name)])),
            "[^\0-\x1f]{0,8}".prop_map(|name| Command::Remove(Noun::Values, vec![Pattern(name)])),
        ]) {
            let mut line = Vec::new();
            command.print(Form::Exact, &mut line);
            prop_assert!(!line.contains(&b'\n'));
            let (form, parsed) = parse_request(&line);
            prop_assert_eq!(form, Form::Exact);
            prop_assert_eq!(parsed, Ok(Some(command)));
        }

        #[test]
        fn no_request_is_too_strange(line: Vec<u8>) {
            let _ = parse_request(&line);
        }
    }

    #[test]
    fn classic_requests_survive_where_the_form_can_carry_them() {
        let line = "make process web.1 uid=nobody working_dir=/a\\ b bufsize=1048576 stderr=stdout \
                    env.A=\"x\\\" rlimit.nofile=77 /bin/sh -c echo\\ $HOME";
        let (form, command) = parse_request(line.as_bytes());
        let mut printed = Vec::new();
        command.clone().unwrap().unwrap().print(Form::Classic, &mut printed);
        assert_eq!(form, Form::Classic);
        assert_eq!(parse_request(&printed).1, command);
        assert_eq!(String::from_utf8(printed).unwrap(), line);
    }
}
