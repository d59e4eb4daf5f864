//! The controller: takes requests from the wire, has each carried out beside the others and sends the
//! replies. It knows JSON and the arbiter's handle, no process and no socket.

use super::dispatch::Dispatcher;
use super::outbox::{Outbox, ToWire};
use super::wire::Incoming;
use crate::event_bus::epoch_seconds;
use protocol::circus::errno::Errno;
use protocol::circus::request::Request;
use protocol::circus::response::{self, Failure};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{self, JoinSet};
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::warn;

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
    loop {
        let incoming = tokio::select! {
            incoming = requests.recv() => match incoming {
                Some(incoming) => incoming,
                None => break,
            },
            () = stop.cancelled() => break,
            Some(_) = in_flight.join_next() => continue,
        };
        // The wire may have stopped reading when the queue was full.
        outbox.send(ToWire::ReadOn);
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
        let (dispatcher, outbox) = (dispatcher.clone(), outbox.clone());
        in_flight.spawn(async move {
            let outcome = dispatcher.carry_out(&request).await;
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
    finish(in_flight).await;
}

async fn finish(mut in_flight: JoinSet<()>) {
    let all = async { while in_flight.join_next().await.is_some() {} };
    if time::timeout(LAST_REPLIES, all).await.is_err() {
        warn!("some commands were not answered");
    }
}

fn reply(outbox: &Outbox, client: Vec<u8>, id: &Value, outcome: &response::Outcome) {
    let body = response::to_bytes(id, epoch_seconds(), outcome);
    outbox.send(ToWire::Reply { client, body });
}
