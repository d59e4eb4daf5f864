//! The controller: takes requests from the wire, has each carried out beside the others and sends the
//! replies. It knows JSON and the arbiter's handle, no process and no socket.
//!
//! A request is begun when it comes, in the order of their coming. Most are answered in the same breath; only one that
//! has to wait gets a task of its own. So on a busy event loop a request waits for its turn once, not once per step.

use super::dispatch::Dispatcher;
use crate::event_bus::epoch_seconds;
use bytes::Bytes;
use protocol::circus::command::Command;
use protocol::circus::errno::Errno;
use protocol::circus::request::Request;
use protocol::circus::response::{self, Failure};
use serde_json::Value;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{self, JoinSet};
use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;
use tracing::error;
use zmtp::Incoming;

/// How long requests are answered before others get their turn on the event loop. The shortest take some microseconds.
const TURN: Duration = Duration::from_micros(500);

/// Requests that wait for their end at the same time; more are refused.
const MAX_IN_FLIGHT: usize = 1024;

/// How long replies may take after the daemon has ended everything else. They only have to be put together.
const LAST_REPLIES: Duration = Duration::from_secs(1);

/// Serves requests until told to stop; those in flight then get their replies.
pub async fn serve(
    dispatcher: Dispatcher,
    mut requests: mpsc::Receiver<Incoming>,
    stop: CancellationToken,
) {
    let dispatcher = Arc::new(dispatcher);
    let mut in_flight = JoinSet::new();
    let late = CancellationToken::new();
    let mut turn = Turn::default();
    loop {
        if !requests.is_empty() {
            turn.share().await;
        }
        let incoming = tokio::select! {
            incoming = requests.recv() => match incoming {
                Some(incoming) => incoming,
                None => break,
            },
            () = stop.cancelled() => break,
            Some(_) = in_flight.join_next() => continue,
        };
        let Incoming { client, body, .. } = incoming;
        let request = match Request::parse(&body) {
            Ok(request) => request,
            Err(bad) => {
                if !bad.cast {
                    client.reply(text(&bad.id, &Err(bad.failure)));
                }
                continue;
            }
        };
        if in_flight.len() >= MAX_IN_FLIGHT {
            let busy = Failure::new(Errno::Command, "too many commands are waiting for their end");
            client.reply(text(&request.id, &Err(busy)));
            continue;
        }
        let given_up = gives_up(&request, &stop, &late).clone();
        let mut carrying_out = Box::pin(carry_out(Arc::clone(&dispatcher), request, given_up));
        let first = poll_fn(|context| Poll::Ready(carrying_out.as_mut().poll(context))).await;
        match first {
            Poll::Ready(Some(answer)) if requests.is_empty() => client.reply_now(answer),
            Poll::Ready(Some(answer)) => client.reply(answer),
            Poll::Ready(None) => {}
            Poll::Pending => {
                in_flight.spawn(async move {
                    if let Some(answer) = carrying_out.await {
                        client.reply_now(answer);
                    }
                });
                // It goes as far as it can before the next one is begun, which may ask what has come of it.
                task::yield_now().await;
            }
        }
    }
    let patience = time::sleep(LAST_REPLIES);
    tokio::pin!(patience);
    // Whoever asks now is told at once that it has to ask again; what takes too long ends the same way.
    while !in_flight.is_empty() {
        tokio::select! {
            biased;
            _ = in_flight.join_next() => {}
            Some(incoming) = requests.recv() => answer_late(&dispatcher, incoming).await,
            () = &mut patience, if !late.is_cancelled() => late.cancel(),
        }
    }
    while let Ok(incoming) = requests.try_recv() {
        answer_late(&dispatcher, incoming).await;
    }
}

/// Since when the controller has had the event loop.
struct Turn(Instant);

impl Default for Turn {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Turn {
    /// Lets everybody else who is ready do something, when it is time.
    async fn share(&mut self) {
        if self.0.elapsed() >= TURN {
            task::yield_now().await;
            *self = Self::default();
        }
    }
}

/// Carries out a request, until it is given up. None: it gets no reply.
async fn carry_out(
    dispatcher: Arc<Dispatcher>,
    request: Request,
    given_up: CancellationToken,
) -> Option<Bytes> {
    let outcome = tokio::select! {
        biased;
        outcome = or_fault(&request.command, dispatcher.carry_out(&request)) => outcome,
        () = given_up.cancelled() => {
            if follows(&request) {
                return None;
            }
            Err(ending())
        }
    };
    if request.cast {
        return None;
    }
    let print = move || text(&request.id, &outcome);
    if request.command.eq_ignore_ascii_case("stats") {
        // That of many workers takes longer to print than anybody else should wait.
        task::spawn_blocking(print).await.ok()
    } else {
        Some(print())
    }
}

/// The outcome. A fault of ours ends the request that meets it, not the controller, which begins all of them.
async fn or_fault(
    command: &str,
    carrying_out: impl Future<Output = response::Outcome>,
) -> response::Outcome {
    let mut carrying_out = pin!(carrying_out);
    poll_fn(|context| {
        // It is not polled again after a panic, and what it shares with others is whole between any two steps.
        let step = catch_unwind(AssertUnwindSafe(|| carrying_out.as_mut().poll(context)));
        step.unwrap_or_else(|_| {
            error!("`{command}` was given up: this is a fault of circusd, please report it");
            let reason = "given up: this is a fault of circusd, see its log";
            Poll::Ready(Err(Failure::new(Errno::Command, reason)))
        })
    })
    .await
}

/// What ends the patience with a request. Who follows something waits for circusd to come back anyway, so the end does
/// not wait for it.
fn gives_up<'a>(
    request: &Request,
    stop: &'a CancellationToken,
    late: &'a CancellationToken,
) -> &'a CancellationToken {
    if follows(request) { stop } else { late }
}

/// A request that waits for news, and is sent again when it gets no answer.
fn follows(request: &Request) -> bool {
    let command = |name: &&str| request.command.eq_ignore_ascii_case(name);
    ["tail", "events"].iter().any(command) && request.properties.contains_key("wait")
}

/// What a command is told that cannot be carried out any more. It has had no effect, or only a part of it.
fn ending() -> Failure {
    Failure::new(Errno::Command, "circusd is ending or going on as another program; try again")
}

/// Refuses, but for the question how an upgrade stands: whoever asks that waits for what comes now.
async fn answer_late(dispatcher: &Dispatcher, incoming: Incoming) {
    let Ok(request) = Request::parse(&incoming.body) else { return };
    if request.cast {
        return;
    }
    let outcome = match Command::parse(&request) {
        // Needs nothing of what has ended already.
        Ok(Command::UpgradeResult(_)) => dispatcher.carry_out(&request).await,
        _ => Err(ending()),
    };
    incoming.client.reply(text(&request.id, &outcome));
}

fn text(id: &Value, outcome: &response::Outcome) -> Bytes {
    response::to_bytes(id, epoch_seconds(), outcome).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    #[test]
    fn the_end_does_not_wait_for_who_follows_and_gives_others_time() {
        let (stop, late) = (CancellationToken::new(), CancellationToken::new());
        let given_up = |command: &str, properties: Value| {
            let Value::Object(properties) = properties else { return None };
            let request = Request::new("id", command, properties);
            Some(gives_up(&request, &stop, &late).is_cancelled())
        };
        stop.cancel();
        assert_eq!(given_up("tail", json!({"name": "web", "wait": 60})), Some(true));
        assert_eq!(given_up("Events", json!({"after": 7, "wait": 60})), Some(true));
        assert_eq!(given_up("tail", json!({"name": "web"})), Some(false));
        assert_eq!(given_up("restart", json!({"wait": 60})), Some(false));
        late.cancel();
        assert_eq!(given_up("restart", json!({})), Some(true));
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_take_a_while_leave_others_their_turn() {
        async fn lets_others_in(turn: &mut Turn) -> bool {
            let mut sharing = pin!(turn.share());
            let shares =
                poll_fn(|context| Poll::Ready(sharing.as_mut().poll(context).is_pending()));
            let shares = shares.await;
            if shares {
                sharing.await;
            }
            shares
        }
        let mut turn = Turn::default();
        assert!(!lets_others_in(&mut turn).await);
        time::advance(TURN).await;
        assert!(lets_others_in(&mut turn).await);
        assert!(!lets_others_in(&mut turn).await, "it has begun again");
    }

    #[tokio::test]
    async fn a_fault_ends_the_request_that_meets_it_and_is_told() {
        async fn fault(steps: usize) -> response::Outcome {
            for _ in 0..steps {
                task::yield_now().await;
            }
            panic!("a fault")
        }
        for steps in [0, 1] {
            let failure = or_fault("stats", fault(steps)).await.unwrap_err();
            assert_eq!(failure.errno, Errno::Command);
            assert!(failure.reason.contains("a fault of circusd"), "{}", failure.reason);
        }
        let well = or_fault("list", async { Ok(Map::new()) }).await;
        assert_eq!(well.unwrap(), Map::new());
    }
}
