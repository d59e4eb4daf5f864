//! Runs a plugin: one thread, one loop over circusd's events, the plugin's own files and its next deadline.
//!
//! Ends on SIGTERM and SIGINT, and with the circusd that started us. Knows no plugin by name.

use super::circus::{CallError, Circus};
use super::ending::Ending;
use super::event::{Event, PREFIX};
use super::interface::{Plugin, PluginError};
use crate::client;
use crate::endpoint::Endpoint;
use crate::parent;
use serde_json::{Value, json};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// Events that are taken before deadlines are looked at again, so that a flood does not delay them.
const AT_ONCE: usize = 256;

/// The plugin could not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The plugin says why.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// An endpoint is none.
    #[error(transparent)]
    Call(#[from] client::CallError),
    /// The process is out of fds.
    #[error("cannot wait for signals: {0}")]
    Signals(#[source] io::Error),
    /// ZeroMQ failed.
    #[error("ZeroMQ failed: {0}")]
    Zmq(#[from] zmq::Error),
}

/// Where circusd is, and under which name we run.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// circusd's endpoint.
    pub endpoint: Endpoint,
    /// Where circusd publishes.
    pub pubsub: Endpoint,
    /// The watcher, `plugin:NAME`.
    pub name: String,
}

/// Runs the plugin until it is told to end.
///
/// # Errors
/// [`RunError`].
pub fn run(plugin: &mut dyn Plugin, surroundings: &Surroundings) -> Result<(), RunError> {
    let ending = Ending::watch().map_err(RunError::Signals)?;
    let events = zmq::Context::new().socket(zmq::SUB)?;
    events.set_linger(0)?;
    events.set_subscribe(PREFIX.as_bytes())?;
    surroundings.pubsub.connect(&events).map_err(client::CallError::from)?;
    let mut circus = Circus::connect(surroundings.endpoint.clone(), &surroundings.name)?;
    let parent = find_parent(&mut circus);
    plugin.start(&mut circus)?;
    info!("the plugin runs");
    while let Some(ready) = wait(plugin, &events, &ending, parent.as_ref())? {
        if ready.files {
            plugin.readable(&mut circus);
        }
        if ready.events {
            hear(plugin, &mut circus, &events)?;
        }
        let now = Instant::now();
        if plugin.deadline().is_some_and(|deadline| deadline <= now) {
            plugin.tick(&mut circus, now);
        }
    }
    info!("the plugin ends");
    plugin.stop(&mut circus);
    Ok(())
}

/// The end of the circusd that started us, which is ours.
fn find_parent(circus: &mut Circus) -> Option<OwnedFd> {
    match circus.call("dstats", json!({})) {
        Ok(reply) => {
            let pid = reply.get("info").and_then(|info| info.get("pid")).and_then(Value::as_i64);
            pid.and_then(|pid| i32::try_from(pid).ok()).and_then(parent::end_of)
        }
        // On the way out already.
        Err(CallError::Unreached(client::CallError::Interrupted)) => None,
        Err(error) => {
            warn!("{error}; going on until it does");
            None
        }
    }
}

/// What there is to do.
struct Ready {
    events: bool,
    files: bool,
}

/// Waits for something to do; none is the end.
fn wait(
    plugin: &dyn Plugin,
    events: &zmq::Socket,
    ending: &Ending,
    parent: Option<&OwnedFd>,
) -> Result<Option<Ready>, zmq::Error> {
    let left = plugin.deadline().map(|at| at.saturating_duration_since(Instant::now()));
    let files = plugin.files();
    let mut items = vec![events.as_poll_item(zmq::POLLIN)];
    let item = |fd: i32| zmq::PollItem::from_fd(fd, zmq::POLLIN);
    items.push(item(ending.file().as_raw_fd()));
    items.extend(parent.map(|parent| item(parent.as_raw_fd())));
    let own = items.len();
    items.extend(files.iter().map(|file| item(file.as_raw_fd())));
    match zmq::poll(&mut items, milliseconds(left)) {
        Ok(_) => {}
        // Which signal it was, the next round says.
        Err(zmq::Error::EINTR) => return Ok(Some(Ready { events: false, files: false })),
        Err(error) => return Err(error),
    }
    // An error of a file is for its owner to find.
    let is_ready = |item: &zmq::PollItem<'_>| item.is_readable() || item.is_error();
    if items[1..own].iter().any(is_ready) {
        return Ok(None);
    }
    Ok(Some(Ready { events: items[0].is_readable(), files: items[own..].iter().any(is_ready) }))
}

fn milliseconds(left: Option<Duration>) -> i64 {
    left.map_or(-1, |left| i64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX))
}

fn hear(
    plugin: &mut dyn Plugin,
    circus: &mut Circus,
    events: &zmq::Socket,
) -> Result<(), zmq::Error> {
    for _ in 0..AT_ONCE {
        let frames = match events.recv_multipart(zmq::DONTWAIT) {
            Ok(frames) => frames,
            Err(zmq::Error::EAGAIN) => return Ok(()),
            Err(zmq::Error::EINTR) => continue,
            Err(error) => return Err(error),
        };
        let [topic, message] = frames.as_slice() else { continue };
        if let Some(event) = Event::parse(topic, message) {
            plugin.event(circus, &event);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_rounded_up_so_that_a_deadline_has_passed_afterwards() {
        assert_eq!(milliseconds(None), -1);
        assert_eq!(milliseconds(Some(Duration::ZERO)), 0);
        assert_eq!(milliseconds(Some(Duration::from_nanos(1))), 1);
        assert_eq!(milliseconds(Some(Duration::MAX)), i64::MAX);
    }
}
