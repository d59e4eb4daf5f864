//! The conversation with one client: lines in, replies and blocks out.
//!
//! Moves a connection as far as its input allows; never waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use protocol::papa::{Answer, PROMPT, parse_request};

use crate::client::{Client, Mode};
use crate::command::{Outcome, execute, keep_note};
use crate::poller::{ClientId, Poller};
use crate::tables::Tables;
use crate::watch::Watch;

/// What the conversation means for the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing more to do until something happens.
    Waits,
    /// More lines wait, but it is the turn of others.
    HasMore,
    /// The client must be looked at again after this time.
    Later(Duration),
    /// The client asked the kernel to end.
    Exit,
    /// The client asked for an upgrade, perhaps to this program, and waits for its end.
    Upgrade(Option<Vec<u8>>),
}

/// Lines of one client that are handled before others get their turn.
const LINES_PER_TURN: usize = 64;

/// Serves `client` as far as possible.
pub(crate) fn advance(client: &mut Client, tables: &mut Tables, poller: &Poller) -> Progress {
    for _ in 0..LINES_PER_TURN {
        if client.is_congested() {
            return Progress::Waits;
        }
        if let Some(delay) = client.hold_back() {
            return Progress::Later(delay);
        }
        match &mut client.mode {
            Mode::Leaving | Mode::Upgrading => return Progress::Waits,
            Mode::Commands => match client.take_line() {
                Ok(Some(line)) => match answer(client, tables, poller, &line) {
                    Progress::Waits => {}
                    other => return other,
                },
                Ok(None) => return Progress::Waits,
                Err(why) => client.refuse(&why),
            },
            Mode::Watching(watch) => {
                let sent = watch.awaits_answer()
                    || watch.send_block(
                        client.id,
                        &mut tables.processes,
                        &mut client.output,
                        client.block_size,
                    );
                let line = if sent { client.take_line() } else { Ok(None) };
                match line {
                    Ok(Some(line)) => take_answer(client, tables, &line),
                    // Lines that wait are answers to blocks that are still to come.
                    Ok(None) if client.ended && !client.has_line() => {
                        stop_watching(client, tables);
                        client.output.extend(b"Error: The connection ended before the answer\n> ");
                        return Progress::Waits;
                    }
                    Ok(None) => return Progress::Waits,
                    Err(why) => {
                        stop_watching(client, tables);
                        client.refuse(&why);
                    }
                }
            }
        }
    }
    Progress::HasMore
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
            match attempt {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(_) => {
                    tracing::error!(client = client.id.0, "a command panicked");
                    client.leave(b"Error: The kernel failed to carry this out\n> ");
                    return Progress::Waits;
                }
            }
        }
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(Outcome::Reply(mut text)) => {
            client.output.append(&mut text);
            client.output.extend(format!("\n{PROMPT}").bytes());
        }
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
        Err(text) => {
            let text = text.replace('\n', " ");
            client.output.extend(format!("Error: {text}\n{PROMPT}").bytes());
        }
    }
    Progress::Waits
}

/// Takes the answer to a block. A line that cannot be understood ends the stream and releases nothing.
fn take_answer(client: &mut Client, tables: &mut Tables, line: &[u8]) {
    let Mode::Watching(watch) = &mut client.mode else { return };
    let text = match answered(client.id, watch, tables, line) {
        Ok(false) => return,
        Ok(true) if watch.is_over() => "Nothing left to watch".to_owned(),
        Ok(true) => "Stopped watching".to_owned(),
        Err(error) => format!("Error: {error}"),
    };
    stop_watching(client, tables);
    client.output.extend(format!("{text}\n{PROMPT}").bytes());
}

/// Whether the answer ends the stream.
fn answered(
    client: ClientId,
    watch: &mut Watch,
    tables: &mut Tables,
    line: &[u8],
) -> Result<bool, String> {
    let answer = Answer::parse(watch.is_exact(), line).map_err(|error| error.to_string())?;
    let (up_to, note) = match answer {
        Answer::Acknowledge | Answer::Stop => (None, None),
        Answer::Note(ref note) => (None, Some(note)),
        Answer::AcknowledgeUpTo(offset, ref note) => (Some(offset), Some(note)),
    };
    if let Some(note) = note {
        let only = watch.only_process().and_then(|id| tables.processes.get_mut(id));
        let hosted = only.ok_or("A note needs a stream of one process")?;
        keep_note(hosted, Some(note.clone())).map_err(|error| error.to_string())?;
    }
    if !matches!(answer, Answer::Note(_)) {
        watch.acknowledge(client, &mut tables.processes, up_to);
    }
    Ok(answer == Answer::Stop || watch.is_over())
}

/// Ends the stream, if there is one; lines are commands again.
pub(crate) fn stop_watching(client: &mut Client, tables: &mut Tables) {
    if matches!(client.mode, Mode::Watching(_))
        && let Mode::Watching(watch) = std::mem::replace(&mut client.mode, Mode::Commands)
    {
        watch.end(client.id, &mut tables.processes);
    }
}
