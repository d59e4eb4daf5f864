//! One function per verb: checks first, then the change, so that a command applies wholly or not
//! at all.
//!
//! Knows the tables but no connection; what must happen to the connection is the [`Outcome`].

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{SystemTime, UNIX_EPOCH};

use papa_handover::Refusal;
use papa_spawn::child::{self, ChildSpec, Credentials};
use protocol::papa::{
    Command, Form, Noun, OfSocket, Pattern, ProcessSpec, ValueRow, first_missing, following_line,
    selected,
};

use crate::budget::can_grow_to;
use crate::poller::{Poller, ProcessId};
use crate::process_table::check_note;
use crate::tables::Tables;
use crate::{info, socket_table};

/// What a verb leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A text, sent with a line feed and the prompt.
    Reply(Vec<u8>),
    /// A line, and then the streams of these processes.
    Watch(Vec<u8>, Vec<ProcessId>),
    /// The connection ends.
    Quit,
    /// Another program is asked to take over.
    Upgrade(Option<Vec<u8>>),
    /// The kernel ends when the other clients have gone.
    Exit,
}

/// Seconds since 1970, as the protocol shows times.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Carries out one request.
pub(crate) fn execute(
    tables: &mut Tables,
    poller: &Poller,
    form: Form,
    command: Command,
) -> Result<Outcome, Refusal> {
    /// An answer that finds room in any case.
    const SMALL_ANSWER: usize = 64 << 10;
    let answer = match &command {
        Command::List(Noun::Values, _) => tables.value_bytes(),
        Command::List(Noun::Processes, patterns) => {
            let named = tables.processes.iter().filter(|(name, ..)| selected(patterns, name));
            named.map(|(.., hosted)| hosted.words()).sum()
        }
        Command::Get(name) => tables.values.get(name).map_or(0, Vec::len),
        _ => 0,
    };
    // Each byte may be escaped, and the buffer is moved to where it grows.
    if answer > SMALL_ANSWER && !can_grow_to(6 * answer) {
        return Err(Refusal::new("The kernel has no memory for this answer"));
    }
    let text = match command {
        Command::Quit => return Ok(Outcome::Quit),
        Command::Upgrade(path) => return Ok(Outcome::Upgrade(path)),
        Command::ExitIfIdle if tables.is_idle() => return Ok(Outcome::Exit),
        Command::Watch(patterns) => return watch(tables, &patterns),
        Command::Follow(name) => return follow(tables, &name),
        Command::MakeProcess { spec, watch } => {
            return make_process(tables, poller, form, *spec, watch);
        }
        Command::MakeSocket(spec) => {
            socket_table::make(&mut tables.sockets, form, *spec)?.to_text(form)
        }
        Command::List(noun, patterns) => list(tables, form, noun, &patterns),
        Command::Remove(noun, patterns) => remove(tables, noun, &patterns)?,
        Command::Note(name, note) => {
            let id = tables.processes.find(&name).map(|(id, _)| id);
            let hosted = id.and_then(|id| tables.processes.get_mut(id));
            hosted.ok_or_else(|| not_found(&name))?.keep_note(note)?;
            Vec::new()
        }
        Command::Set(name, value) => {
            match value {
                Some(value) => drop(tables.values.insert(name, value)),
                None => drop(tables.values.remove(&name)),
            }
            Vec::new()
        }
        Command::Get(name) => {
            tables.values.get(&name).map(|value| form.value_text(value)).unwrap_or_default()
        }
        Command::Help(topic) => topic.text().into_bytes(),
        Command::Info => info::text(tables).into_bytes(),
        Command::ExitIfIdle => b"not idle".to_vec(),
    };
    Ok(Outcome::Reply(text))
}

fn not_found(name: &str) -> Refusal {
    Refusal::new(format!("{name} not found"))
}

fn list(tables: &Tables, form: Form, noun: Noun, patterns: &[Pattern]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut row = |name: &str, print: &dyn Fn(&mut Vec<u8>)| {
        if selected(patterns, name) {
            print(&mut text);
            text.push(b'\n');
        }
    };
    match noun {
        Noun::Sockets => tables.sockets.values().for_each(|socket| {
            row(&socket.spec.name, &|out| socket.row().print(form, out));
        }),
        Noun::Processes => tables.processes.iter().for_each(|(name, _, hosted)| {
            row(name, &|out| hosted.row().print(form, out));
        }),
        Noun::Values => tables.values.iter().for_each(|(name, value)| {
            let entry = ValueRow { name: name.clone(), value: value.clone() };
            row(name, &|out| entry.print(form, out));
        }),
    }
    text.pop();
    text
}

fn remove(tables: &mut Tables, noun: Noun, patterns: &[Pattern]) -> Result<Vec<u8>, Refusal> {
    match noun {
        Noun::Sockets => {
            check_names(patterns, |name| tables.sockets.contains_key(name))?;
            tables.sockets.retain(|name, _| !selected(patterns, name));
        }
        Noun::Values if patterns.is_empty() || matches!(patterns, [only] if only.0 == "*") => {
            return Err(Refusal::new("You cannot remove all variables"));
        }
        Noun::Values => tables.values.retain(|name, _| !selected(patterns, name)),
        Noun::Processes => {
            for id in select_processes(tables, patterns)? {
                tables.processes.remove(id);
            }
        }
    }
    Ok(Vec::new())
}

/// Whether everything exists that is named in full.
fn check_names(patterns: &[Pattern], exists: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    first_missing(patterns, exists).map_or(Ok(()), |name| Err(not_found(name)))
}

fn select_processes(tables: &Tables, patterns: &[Pattern]) -> Result<Vec<ProcessId>, Refusal> {
    check_names(patterns, |name| tables.processes.find(name).is_some())?;
    let named = tables.processes.iter().filter(|(name, ..)| selected(patterns, name));
    Ok(named.map(|(_, id, _)| id).collect())
}

fn watch(tables: &Tables, patterns: &[Pattern]) -> Result<Outcome, Refusal> {
    let processes = select_processes(tables, patterns)?;
    if processes.is_empty() {
        return Err(Refusal::new("Nothing to watch"));
    }
    Ok(Outcome::Watch(format!("Watching {}", processes.len()).into_bytes(), processes))
}

fn follow(tables: &Tables, name: &str) -> Result<Outcome, Refusal> {
    let found = tables.processes.find(name);
    let (id, hosted) = found.ok_or_else(|| not_found(name))?;
    let (offset, note) = hosted.beginning();
    Ok(Outcome::Watch(following_line(offset, note), vec![id]))
}

fn make_process(
    tables: &mut Tables,
    poller: &Poller,
    form: Form,
    spec: ProcessSpec,
    watch: bool,
) -> Result<Outcome, Refusal> {
    check_note(spec.note.as_deref())?;
    let credentials = Credentials::resolve(spec.uid.as_deref(), spec.gid.as_deref())?;
    let name = spec.name.clone();
    match tables.processes.find(&name) {
        None => start(tables, poller, spec, credentials)?,
        Some((_, hosted)) if hosted.matches(&spec, credentials) => {}
        Some((_, hosted)) => {
            let row = hosted.row().to_text(form);
            let row = String::from_utf8_lossy(&row);
            let text = format!("Process for {name} has already been created - {row}");
            return Err(Refusal::new(text));
        }
    }
    let (id, hosted) = tables.processes.find(&name).ok_or_else(|| not_found(&name))?;
    let row = hosted.row().to_text(form);
    Ok(if watch { Outcome::Watch(row, vec![id]) } else { Outcome::Reply(row) })
}

fn start(
    tables: &mut Tables,
    poller: &Poller,
    spec: ProcessSpec,
    credentials: Option<Credentials>,
) -> Result<(), Refusal> {
    let mut passed = PassedSockets::default();
    let mut argv = if spec.shell { vec![b"/bin/sh".to_vec(), b"-c".to_vec()] } else { Vec::new() };
    for argument in &spec.argv {
        argv.push(argument.expand(&spec.name, |name, what| passed.look_up(tables, name, what))?);
    }
    let child_spec = ChildSpec {
        argv,
        credentials: credentials.clone(),
        keep_fds: passed.numbers.iter().copied().collect(),
        ..ChildSpec::requested(&spec)?
    };
    let started = now();
    let spawned = child::spawn(&child_spec)?;
    tracing::debug!(name = spec.name, pid = spawned.pid, "process started");
    tables
        .processes
        .insert(spec, credentials, spawned, started, poller)
        .map_err(Refusal::to("watch the new process"))
}

/// The sockets that one process refers to.
#[derive(Default)]
struct PassedSockets {
    numbers: BTreeSet<RawFd>,
    /// Made for this process; closed here once it has them.
    clones: BTreeMap<String, OwnedFd>,
}

impl PassedSockets {
    /// What stands for a reference to a socket in an argument.
    fn look_up(&mut self, tables: &Tables, name: &str, what: OfSocket) -> Result<String, Refusal> {
        let unknown = || Refusal::new(format!("Socket {name} not found"));
        let socket = tables.sockets.get(name).ok_or_else(unknown)?;
        if what == OfSocket::Port {
            return Ok(socket.port.map_or_else(|| "None".to_owned(), |port| port.to_string()));
        }
        let number = match socket.fileno() {
            Some(number) => number,
            None => match self.clones.entry(name.to_owned()) {
                Entry::Occupied(clone) => clone.get().as_raw_fd(),
                Entry::Vacant(place) => place.insert(socket.clone_for_process()?).as_raw_fd(),
            },
        };
        self.numbers.insert(number);
        Ok(number.to_string())
    }
}
