//! Commands that the original does not have, for people who look for a cause: `why`, `tail` and `events`.
//!
//! `tail` and `events` answer at once when there is something after the number that the client knows, and
//! else wait for it as long as the client wants. So following needs no poll and no second socket, and costs
//! nothing while nobody follows.

use super::dispatch::gone;
use crate::arbiter::handle::Roster;
use crate::event_bus::EventBus;
use crate::stream::recent::{Piece, RecentOutput};
use crate::watcher::handle::{Explanation, WatcherHandle};
use crate::watcher::history::Exit;
use crate::watcher::state::outlook::WaitsFor;
use crate::watcher::vocabulary::Status;
use crate::watcher::wid::Wid;
use protocol::circus::command::{Follow, TailTarget};
use protocol::circus::response::{Failure, Outcome};
use protocol::signal::Signal;
use serde_json::{Map, Value, json};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time;

/// Output in one reply at most, in bytes.
const TAIL_BYTES: usize = 1024 * 1024;

fn find<'a>(roster: &'a Roster, name: &str) -> Result<&'a WatcherHandle, Failure> {
    roster.meant(name).ok_or_else(|| Failure::not_found(name))
}

/// `why`: what a watcher does, what it waits for, and how its processes ended.
///
/// # Errors
/// No such watcher.
pub async fn why(roster: &Roster, name: &str) -> Outcome {
    let watcher = find(roster, name)?;
    let told = watcher.explain().await.map_err(gone)?;
    let Value::Object(reply) = explanation(&watcher.identity().name, &told) else {
        return Ok(Map::new());
    };
    Ok(reply)
}

fn explanation(name: &str, told: &Explanation) -> Value {
    let outlook = &told.outlook;
    let (waits_for, next_try) = match outlook.waits_for {
        WaitsFor::Start if told.armed => ("demand", Value::Null),
        WaitsFor::Start => ("start", Value::Null),
        WaitsFor::Exits => ("exits", Value::Null),
        WaitsFor::Spawn => ("spawn", Value::Null),
        WaitsFor::WarmUp(left) => ("warmup", json!({"in": left.as_secs_f64()})),
        WaitsFor::Retry(wid, left) => ("retry", json!({"wid": wid.0, "in": left.as_secs_f64()})),
        WaitsFor::Hook(_) => ("hook", Value::Null),
        WaitsFor::Nothing => ("", Value::Null),
    };
    let hook = match outlook.waits_for {
        WaitsFor::Hook(name) => Some(name),
        _ => None,
    };
    let stopping = outlook.stopping.map(|stopping| {
        json!({"left": stopping.left, "of": stopping.of,
            "waited": stopping.waited.as_secs_f64(), "limit": stopping.limit.as_secs_f64()})
    });
    let failed = told.history.failed_start.as_ref();
    let wanted = if told.status == Status::Stopped { 0 } else { told.desired };
    json!({
        "name": name,
        "state": told.status.as_str(),
        "wanted": wanted,
        "numprocesses": told.desired,
        "running": outlook.running,
        "stopping": stopping,
        "waits_for": waits_for,
        "hook": hook,
        "next_try": next_try,
        "attempts": {"failed": outlook.failures, "limit": outlook.max_retry},
        "last_error": failed.map(|failed| json!({"time": failed.time, "reason": failed.reason})),
        "exits": told.history.exits.iter().map(exit).collect::<Vec<_>>(),
    })
}

fn exit(exit: &Exit) -> Value {
    let number = exit.exit_code.filter(|code| *code < 0).map(|code| i64::from(code).abs());
    let signal = number.and_then(Signal::from_number).map(|signal| signal.to_string());
    json!({
        "wid": exit.wid.0,
        "pid": exit.pid,
        "started": exit.started,
        "time": exit.time,
        "exit_code": exit.exit_code,
        "signal": signal,
        "lines": exit.lines,
    })
}

/// What `tail` reads of one watcher.
struct Followed {
    name: String,
    wids: Vec<Wid>,
    after: Option<u64>,
    output: RecentOutput,
    unseen: Vec<&'static str>,
}

/// `tail`: what processes have printed lately, or since a number that the client knows.
///
/// # Errors
/// No such watcher.
pub async fn tail(roster: &Roster, targets: Vec<TailTarget>, wait: Duration) -> Outcome {
    let mut followed = Vec::new();
    for target in targets {
        let watcher = find(roster, &target.name)?;
        let (output, unseen) = watcher.output().await.map_err(gone)?;
        followed.push(Followed {
            name: watcher.identity().name.clone(),
            wids: target.wids.into_iter().map(Wid).collect(),
            after: target.after,
            output,
            unseen,
        });
    }
    // Whoever asks for what there is does not wait; whoever follows has a number for everything.
    if followed.iter().all(|target| target.after.is_some()) {
        let news = followed.iter().map(|target| {
            let beyond = target.output.beyond(&target.wids, target.after.unwrap_or_default());
            Box::pin(beyond) as Pin<Box<dyn Future<Output = ()> + Send + '_>>
        });
        // Running out of time is an answer, too: an empty one.
        let _ = time::timeout(wait, first_of(news.collect())).await;
    }
    let share = TAIL_BYTES / followed.len().max(1);
    let tails = followed.iter().map(|target| {
        let reading = target.output.read(&target.wids, target.after, share);
        json!({
            "name": target.name,
            "records": reading.pieces.iter().map(record).collect::<Vec<_>>(),
            "next": reading.next,
            "unseen": target.unseen,
        })
    });
    let mut reply = Map::new();
    reply.insert("tails".into(), tails.collect());
    Ok(reply)
}

/// Ends with the first of these that ends.
async fn first_of(mut all: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>>) {
    poll_fn(|context| {
        let mut ready = all.iter_mut().map(|one| one.as_mut().poll(context));
        if ready.any(|poll| poll.is_ready()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Bytes that are no text come with each byte as one character, so that nothing is lost.
fn record(piece: &Piece) -> Value {
    let mut record = json!({
        "sequence": piece.sequence,
        "time": piece.time,
        "wid": piece.wid.0,
        "pid": piece.pid,
        "stream": if piece.is_stderr { "stderr" } else { "stdout" },
    });
    let (key, text) = match std::str::from_utf8(&piece.data) {
        Ok(text) => ("text", text.to_owned()),
        Err(_) => ("latin1", piece.data.iter().map(|byte| char::from(*byte)).collect()),
    };
    if let Some(record) = record.as_object_mut() {
        record.insert(key.to_owned(), json!(text));
        if piece.cut {
            record.insert("cut".to_owned(), json!(true));
        }
    }
    record
}

/// `events`: what has been published lately, or since a number that the client knows.
pub async fn events(bus: &EventBus, follow: Follow) -> Map<String, Value> {
    if let Some(after) = follow.after {
        // Running out of time is an answer, too: an empty one.
        let _ = time::timeout(follow.wait, bus.beyond(after)).await;
    }
    let (events, next) = bus.since(follow.after);
    let mut reply = Map::new();
    let shown = events.into_iter().map(
        |event| json!({"sequence": event.sequence, "topic": event.topic, "payload": event.payload}),
    );
    reply.insert("events".into(), shown.collect());
    reply.insert("next".into(), json!(next));
    reply
}
