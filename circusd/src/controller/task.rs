//! The controller: takes requests from the wire, has each carried out beside the others and sends the
//! replies. It knows JSON and the arbiter's handle, no process and no socket.

use super::dispatch::Dispatcher;
use super::outbox::{Outbox, ToWire};
use crate::event_bus::epoch_seconds;
use protocol::circus::command::Command;
use protocol::circus::errno::Errno;
use protocol::circus::request::Request;
use protocol::circus::response::{self, Failure};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{self, JoinSet};
use tokio::time;
use tokio_util::sync::CancellationToken;
use zmtp::{Client, Incoming};

/// Requests that wait for their end at the same time; more are refused.
const MAX_IN_FLIGHT: usize = 1024;

/// How long replies may take after the daemon has ended everything else. They only have to be put together.
const LAST_REPLIES: Duration = Duration::from_secs(1);

/// Serves requests until told to stop; those in flight then get their replies.
pub async fn serve(
    dispatcher: Dispatcher,
    outbox: Outbox,
    mut requests: mpsc::Receiver<Incoming>,
    stop: CancellationToken,
) {
    let mut in_flight = JoinSet::new();
    let late = CancellationToken::new();
    loop {
        let incoming = tokio::select! {
            incoming = requests.recv() => match incoming {
                Some(incoming) => incoming,
                None => break,
            },
            () = stop.cancelled() => break,
            Some(_) = in_flight.join_next() => continue,
        };
        let Incoming { client, body } = incoming;
        let request = match Request::parse(&body) {
            Ok(request) => request,
            Err(bad) => {
                if !bad.cast {
                    reply(&outbox, client, &bad.id, &Err(bad.failure));
                }
                continue;
            }
        };
        if in_flight.len() >= MAX_IN_FLIGHT {
            let busy = Failure::new(Errno::Command, "too many commands are waiting for their end");
            reply(&outbox, client, &request.id, &Err(busy));
            continue;
        }
        let (dispatcher, outbox, late) = (dispatcher.clone(), outbox.clone(), late.clone());
        in_flight.spawn(async move {
            let outcome = tokio::select! {
                outcome = dispatcher.carry_out(&request) => outcome,
                // Who follows something waits for circusd to come back anyway.
                () = late.cancelled() => {
                    if follows(&request) {
                        return;
                    }
                    Err(ending())
                }
            };
            if request.cast {
                return;
            }
            if request.command.eq_ignore_ascii_case("stats") {
                // That of many workers takes longer to print than anybody else should wait.
                let print = move || reply(&outbox, client, &request.id, &outcome);
                let _ = task::spawn_blocking(print).await;
            } else {
                reply(&outbox, client, &request.id, &outcome);
            }
        });
    }
    let patience = time::sleep(LAST_REPLIES);
    tokio::pin!(patience);
    // Whoever asks now is told at once that it has to ask again; what takes too long ends the same way.
    while !in_flight.is_empty() {
        tokio::select! {
            biased;
            _ = in_flight.join_next() => {}
            Some(incoming) = requests.recv() => answer_late(&dispatcher, &outbox, incoming).await,
            () = &mut patience, if !late.is_cancelled() => late.cancel(),
        }
    }
    while let Ok(incoming) = requests.try_recv() {
        answer_late(&dispatcher, &outbox, incoming).await;
    }
}

/// A request that waits for news, and is sent again when it gets no answer.
fn follows(request: &Request) -> bool {
    ["tail", "events"].iter().any(|command| request.command.eq_ignore_ascii_case(command))
}

/// What a command is told that cannot be carried out any more. It has had no effect, or only a part of it.
fn ending() -> Failure {
    Failure::new(Errno::Command, "circusd is ending or going on as another program; try again")
}

/// Refuses, but for the question how an upgrade stands: whoever asks that waits for what comes now.
async fn answer_late(dispatcher: &Dispatcher, outbox: &Outbox, incoming: Incoming) {
    let Ok(request) = Request::parse(&incoming.body) else { return };
    if request.cast {
        return;
    }
    let outcome = match Command::parse(&request) {
        // Needs nothing of what has ended already.
        Ok(Command::UpgradeResult(_)) => dispatcher.carry_out(&request).await,
        _ => Err(ending()),
    };
    reply(outbox, incoming.client, &request.id, &outcome);
}

fn reply(outbox: &Outbox, client: Client, id: &Value, outcome: &response::Outcome) {
    let body = response::to_bytes(id, epoch_seconds(), outcome);
    outbox.send(ToWire::Reply { client, body });
}
