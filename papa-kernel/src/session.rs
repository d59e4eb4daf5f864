//! The conversation with one client: lines in, replies and blocks out.
//!
//! Moves a connection as far as its input allows; never waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use papa_handover::Refusal;
use protocol::papa::{Answer, PROMPT, Reply, parse_request};

use crate::client::{Client, Mode};
use crate::command::{Outcome, execute};
use crate::poller::{ClientId, Poller};
use crate::tables::Tables;
use crate::watch::Watch;

/// What the conversation means for the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing more to do until something happens.
    Waits,
    /// The client must be looked at again after this time.
    Later(Duration),
    /// The client asked the kernel to end.
    Exit,
    /// The client asked for an upgrade, perhaps to this program, and waits for its end.
    Upgrade(Option<Vec<u8>>),
}

/// Lines of one client that are handled before others get their turn.
const LINES_PER_TURN: usize = 64;

/// Serves `client` as far as possible. A block may hold about `block_size` bytes.
pub(crate) fn advance(
    client: &mut Client,
    tables: &mut Tables,
    poller: &Poller,
    block_size: usize,
) -> Progress {
    for _ in 0..LINES_PER_TURN {
        if client.is_congested() {
            return Progress::Waits;
        }
        if let Some(delay) = client.hold_back() {
            return Progress::Later(delay);
        }
        let may_answer = match &mut client.mode {
            Mode::Leaving | Mode::Upgrading => return Progress::Waits,
            Mode::Commands => true,
            Mode::Watching(watch) => {
                let (processes, output) = (&mut tables.processes, &mut client.output);
                watch.awaits_answer() || watch.send_block(client.id, processes, output, block_size)
            }
        };
        let is_watching = matches!(client.mode, Mode::Watching(_));
        match if may_answer { client.take_line() } else { Ok(None) } {
            Ok(Some(line)) if is_watching => take_answer(client, tables, &line),
            Ok(Some(line)) => match answer(client, tables, poller, &line) {
                Progress::Waits => {}
                other => return other,
            },
            // Lines that wait are answers to blocks that are still to come.
            Ok(None) if is_watching && client.ended && !client.has_line() => {
                stop_watching(client, tables);
                let text = "The connection ended before the answer".to_owned();
                Reply::Error(text).print(&mut client.output);
                return Progress::Waits;
            }
            Ok(None) => return Progress::Waits,
            Err(why) => refuse(client, tables, &why),
        }
    }
    // It is the turn of others.
    Progress::Later(Duration::ZERO)
}

/// Carries out one command and writes its reply.
fn answer(client: &mut Client, tables: &mut Tables, poller: &Poller, line: &[u8]) -> Progress {
    let (form, command) = parse_request(line);
    let result = match command {
        Ok(None) => {
            client.output.extend(PROMPT.bytes());
            return Progress::Waits;
        }
        Ok(Some(command)) => {
            tracing::trace!(client = client.id.0, ?form, "command");
            // A fault in one verb must cost one connection, not everything the kernel holds.
            let attempt = catch_unwind(AssertUnwindSafe(|| execute(tables, poller, form, command)));
            let Ok(result) = attempt else {
                tracing::error!(client = client.id.0, "a command panicked");
                client.refuse(&Refusal::new("The kernel failed to carry this out"));
                return Progress::Waits;
            };
            result
        }
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(Outcome::Reply(text)) => Reply::Text(text).print(&mut client.output),
        Err(error) => Reply::Error(error.to_string()).print(&mut client.output),
        Ok(Outcome::Watch(mut text, processes)) => {
            client.output.append(&mut text);
            client.output.push(b'\n');
            let watch = Watch::begin(client.id, form, processes, &mut tables.processes);
            client.watch(watch);
        }
        Ok(Outcome::Quit) => client.leave(b"ok\n"),
        Ok(Outcome::Upgrade(path)) => {
            client.mode = Mode::Upgrading;
            return Progress::Upgrade(path);
        }
        Ok(Outcome::Exit) => {
            client.leave(format!("Exiting papa!\n{PROMPT}").as_bytes());
            return Progress::Exit;
        }
    }
    Progress::Waits
}

/// Takes the answer to a block. A line that cannot be understood ends the stream and releases nothing.
fn take_answer(client: &mut Client, tables: &mut Tables, line: &[u8]) {
    let Mode::Watching(watch) = &mut client.mode else { return };
    let reply = match answered(client.id, watch, tables, line) {
        Ok(false) => return,
        Ok(true) if watch.is_over() => Reply::Text(b"Nothing left to watch".to_vec()),
        Ok(true) => Reply::Text(b"Stopped watching".to_vec()),
        Err(error) => Reply::Error(error.to_string()),
    };
    stop_watching(client, tables);
    reply.print(&mut client.output);
}

/// Whether the answer ends the stream.
fn answered(
    client: ClientId,
    watch: &mut Watch,
    tables: &mut Tables,
    line: &[u8],
) -> Result<bool, Refusal> {
    let answer = Answer::parse(watch.is_exact(), line)?;
    if let Answer::Note(note) | Answer::AcknowledgeUpTo(_, note) = &answer {
        let only = watch.only_process().and_then(|id| tables.processes.get_mut(id));
        let hosted = only.ok_or_else(|| Refusal::new("A note needs a stream of one process"))?;
        hosted.keep_note(Some(note.clone()))?;
    }
    let up_to = match answer {
        Answer::Note(_) => return Ok(false),
        Answer::AcknowledgeUpTo(offset, _) => Some(offset),
        Answer::Acknowledge | Answer::Stop => None,
    };
    watch.acknowledge(client, &mut tables.processes, up_to);
    Ok(answer == Answer::Stop || watch.is_over())
}

/// Ends the conversation, since what the client sends cannot be taken.
pub(crate) fn refuse(client: &mut Client, tables: &mut Tables, why: &Refusal) {
    stop_watching(client, tables);
    client.refuse(why);
}

/// Ends the stream, if there is one; lines are commands again.
pub(crate) fn stop_watching(client: &mut Client, tables: &mut Tables) {
    if matches!(client.mode, Mode::Watching(_))
        && let Mode::Watching(watch) = std::mem::replace(&mut client.mode, Mode::Commands)
    {
        watch.end(client.id, &mut tables.processes);
    }
}
